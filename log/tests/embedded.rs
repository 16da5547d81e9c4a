//! What only the embedded log promises: limits, retention, the disk.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_log::embedded::{Config, EmbeddedLog, inspect};
use millrace_log::{AppendError, Batch, Bounds, Log, LogRecord, Reader, Subscription};
use millrace_schema::Topic;
use proptest::prelude::*;

fn config() -> Config {
    Config { disk_floor_bytes: 0, ..Config::default() }
}

/// A batch of one record in partition 0.
fn one(topic: Topic, value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.push(topic, 1, |_| (), |out| out.extend_from_slice(value));
    batch
}

async fn reader(
    log: &EmbeddedLog,
    group: &str,
    topic: Topic,
) -> (Box<dyn Subscription>, Box<dyn Reader>) {
    let mut member = log.subscribe(group, topic).unwrap();
    let reader = member.next().await.unwrap().unwrap();
    assert_eq!((reader.topic(), reader.partition()), (topic, 0));
    (member, reader)
}

async fn read_up_to(reader: &mut dyn Reader, end: u64, max_bytes: usize) -> Vec<LogRecord> {
    let mut records: Vec<LogRecord> = Vec::new();
    while records.last().is_none_or(|record| record.offset + 1 < end) {
        records.extend(reader.read(max_bytes).await.unwrap());
    }
    records
}

#[tokio::test]
async fn a_request_that_the_queue_has_no_room_for_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), Config { queue_bytes: 1_000, ..config() }).unwrap();
    let refused = log.append(one(Topic::Events, &[b'x'; 1_000])).await;
    assert_eq!(refused, Err(AppendError::Full { limit_bytes: 1_000 }));
    log.append(one(Topic::Events, &[b'x'; 900])).await.unwrap();
    // The room is free again as soon as the answer is there.
    log.append(one(Topic::Events, &[b'x'; 900])).await.unwrap();
    assert_eq!(log.bounds(Topic::Events).await.unwrap()[0].end, 2);
}

#[tokio::test]
async fn too_little_free_disk_refuses_appends_and_shows_in_health() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { disk_floor_bytes: u64::MAX, ..config() };
    let log = EmbeddedLog::open(folder.path(), config).unwrap();
    let refused = log.append(one(Topic::Events, b"x")).await;
    assert!(matches!(refused, Err(AppendError::DiskLow { floor_bytes: u64::MAX, .. })));
    assert!(log.health().unwrap_err().contains("must stay so"));
}

#[tokio::test]
async fn a_record_for_a_partition_that_does_not_exist_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), Config { partitions: 1, ..config() }).unwrap();
    let mut batch = Batch::default();
    (0..20_u8).for_each(|key| batch.push(Topic::Events, 8, |out| out.push(key), |_| ()));
    let refused = log.append(batch).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn dropping_the_log_makes_durable_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    let answers: Vec<_> = (0..50).map(|_| log.append(one(Topic::Events, b"x"))).collect();
    drop((log, answers));
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    assert_eq!(log.bounds(Topic::Events).await.unwrap()[0].end, 50);
}

/// A log whose segments hold one record each and are kept no longer than needed.
fn forgetful(dir: &Path) -> EmbeddedLog {
    let config = Config { segment_bytes: 1, retention: Duration::ZERO, tail_bytes: 0, ..config() };
    EmbeddedLog::open(dir, config).unwrap()
}

async fn start(log: &EmbeddedLog, topic: Topic) -> u64 {
    log.bounds(topic).await.unwrap()[0].start
}

/// Waits for the log's own upkeep to get `start` there.
async fn until_start(log: &EmbeddedLog, topic: Topic, expected: u64) {
    while start(log, topic).await != expected {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn segments_go_when_every_reader_has_passed_them_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let log = forgetful(folder.path());
    for _ in 0..6 {
        log.append(one(Topic::Events, b"x")).await.unwrap();
    }
    let (_workers, mut worker) = reader(&log, "workers", Topic::Events).await;
    let (_tool, mut tool) = reader(&log, "tool", Topic::Events).await;
    worker.seek(0).await.unwrap();
    tool.seek(2).await.unwrap();
    tool.commit(2);
    worker.commit(4);
    until_start(&log, Topic::Events, 2).await;
    tool.commit(5);
    until_start(&log, Topic::Events, 4).await;
    // A group of workers holds its place when its reader has gone; another one does not.
    drop((worker, tool));
    let (_workers, mut worker) = reader(&log, "workers", Topic::Events).await;
    worker.seek(0).await.unwrap();
    let records = read_up_to(&mut *worker, 6, 1_000).await;
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test]
async fn after_a_restart_nothing_goes_until_the_workers_have_committed_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = forgetful(folder.path());
    for _ in 0..3 {
        log.append(one(Topic::Profiles, b"x")).await.unwrap();
    }
    log.close().await.unwrap();
    let log = forgetful(folder.path());
    // Dead letters have no reader that must come; their segments stay behind those of others.
    log.append(one(Topic::EventsDlq, b"x")).await.unwrap();
    log.append(one(Topic::EventsDlq, b"x")).await.unwrap();
    assert_eq!(start(&log, Topic::Profiles).await, 0);
    let (_member, mut worker) = reader(&log, "workers", Topic::Profiles).await;
    worker.seek(3).await.unwrap();
    worker.commit(3);
    until_start(&log, Topic::Profiles, 3).await;
    until_start(&log, Topic::EventsDlq, 1).await;
    let kept = inspect(folder.path()).unwrap();
    assert_eq!(kept.segments.len(), 1);
    // What is gone is gone after a restart too, and offsets go on.
    log.close().await.unwrap();
    let log = forgetful(folder.path());
    assert_eq!(log.bounds(Topic::Profiles).await.unwrap()[0], Bounds { start: 3, end: 3 });
    assert_eq!(log.append(one(Topic::Profiles, b"x")).await.unwrap().offsets, [3]);
}

#[tokio::test]
async fn a_segment_that_is_old_makes_room_without_further_appends() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        retention: Duration::ZERO,
        segment_age: Duration::ZERO,
        groups: Vec::new(),
        ..config()
    };
    let log = EmbeddedLog::open(folder.path(), config).unwrap();
    log.append(one(Topic::Events, b"x")).await.unwrap();
    until_start(&log, Topic::Events, 1).await;
    assert_eq!(inspect(folder.path()).unwrap().segments[0].records, 0);
}

#[tokio::test]
async fn a_record_is_kept_no_longer_than_retention_and_the_age_of_its_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (retention, segment_age) = (Duration::from_secs(100), Duration::from_secs(20));
    let config = Config { retention, segment_age, ..config() };
    let log = EmbeddedLog::open(folder.path(), config).unwrap();
    let kept = log.retention(Topic::Events).await.unwrap().unwrap();
    // And the few seconds in which the writer looks.
    assert_eq!(kept.as_secs() / 10, 12);
    let config = Config { retention: Duration::MAX, ..Config::default() };
    let log = EmbeddedLog::open(&folder.path().join("long"), config).unwrap();
    assert_eq!(log.retention(Topic::Events).await.unwrap(), Some(Duration::MAX));
}

/// What a property test appends: the topic and partition, and the size, of each record of each
/// request.
fn requests() -> impl Strategy<Value = Vec<Vec<(usize, u8, usize)>>> {
    let size = prop_oneof![9 => 0..2_000_usize, 1 => 0..600_000_usize];
    let record = (0..3_usize, 0..8_u8, size);
    prop::collection::vec(prop::collection::vec(record, 1..20), 1..25)
}

const TOPICS: [Topic; 3] = [Topic::Events, Topic::Deletions, Topic::DevicesDlq];

async fn everything(log: &EmbeddedLog, max_bytes: usize) -> Vec<Vec<LogRecord>> {
    let mut found = Vec::new();
    for topic in TOPICS {
        let mut member = log.subscribe("test", topic).unwrap();
        for bounds in log.bounds(topic).await.unwrap() {
            let mut reader = member.next().await.unwrap().unwrap();
            found.push(all_of(&mut *reader, bounds.end, max_bytes).await);
        }
    }
    found
}

async fn all_of(reader: &mut dyn Reader, end: u64, max_bytes: usize) -> Vec<LogRecord> {
    if end == 0 {
        return Vec::new();
    }
    let records = read_up_to(reader, end, max_bytes).await;
    // From the middle, too.
    let middle = records.len() / 2;
    if middle > 0 {
        reader.seek(middle as u64).await.unwrap();
        let half = read_up_to(reader, end, max_bytes / 2 + 1).await;
        assert_eq!(half, records[middle..]);
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn memory_and_disk_yield_the_same_records(requests in requests(), max_bytes in 1..3_000_000_usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let config = Config { segment_bytes: 3 << 20, ..config() };
            let log = Arc::new(EmbeddedLog::open(folder.path(), config.clone()).unwrap());
            let mut sent = vec![Vec::new(); TOPICS.len() * 4];
            for (n, request) in requests.iter().enumerate() {
                let mut batch = Batch::default();
                for (topic, key, size) in request {
                    let value = vec![n as u8; *size];
                    batch.push(TOPICS[*topic], 4, |out| out.push(*key), |out| out.extend(&value));
                }
                for entry in batch.entries() {
                    let topic = TOPICS.iter().position(|topic| *topic == entry.topic).unwrap();
                    sent[topic * 4 + entry.partition as usize]
                        .push((entry.key.to_vec(), entry.value.to_vec()));
                }
                log.append(batch).await.unwrap();
            }
            let memory = everything(&log, max_bytes).await;
            for (sent, found) in sent.iter().zip(&memory) {
                assert!(sent.iter().map(|(k, v)| (&k[..], &v[..])).eq(
                    found.iter().map(|record| (&record.key[..], &record.value[..]))
                ));
                assert!(found.iter().map(|record| record.offset).eq(0..sent.len() as u64));
            }
            log.close().await.unwrap();
            drop(log);
            let log = EmbeddedLog::open(folder.path(), config).unwrap();
            assert_eq!(memory, everything(&log, max_bytes).await);
        });
    }
}
