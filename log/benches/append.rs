//! How fast the embedded log makes records durable: 1, 100 and 1,000 records to a request, one
//! caller (so one request to a sync), and 64 callers of single records (who share syncs).

#![expect(clippy::unwrap_used, reason = "a bench")]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_log::embedded::{Config, EmbeddedLog};
use millrace_log::{Batch, Log};
use millrace_schema::Topic;

const VALUE_BYTES: usize = 300;

fn batch(log: &EmbeddedLog, records: u64, first: u64) -> Batch {
    let mut batch = Batch::with_capacity(records as usize, records as usize * VALUE_BYTES);
    for n in first..first + records {
        let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        batch.push(
            Topic::Events,
            log.partitions(),
            |out| out.extend_from_slice(&key),
            |out| out.resize(out.len() + VALUE_BYTES, b'x'),
        );
    }
    batch
}

fn open(dir: &tempfile::TempDir) -> EmbeddedLog {
    let config = Config { disk_floor_bytes: 0, groups: Vec::new(), ..Config::default() };
    let config = Config { retention_bytes: 0, ..config };
    EmbeddedLog::open(dir.path(), config).unwrap()
}

/// `callers` tasks append `requests` requests of `records` records each.
async fn run(log: &EmbeddedLog, callers: u64, requests: u64, records: u64) -> Duration {
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let log = log.clone();
            tokio::spawn(async move {
                for n in (caller..requests).step_by(callers as usize) {
                    log.append(batch(&log, records, n * records)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    started.elapsed()
}

fn append(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let mut group = criterion.benchmark_group("append");
    group.sample_size(20);
    let cases = [(1, 1), (1, 100), (1, 1_000), (64, 1), (64, 100)];
    for (callers, records) in cases {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        group.throughput(Throughput::Elements(records));
        group.bench_function(format!("{callers} callers, {records} records"), |bencher| {
            bencher.iter_custom(|n| runtime.block_on(run(&log, callers, n, records)));
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
