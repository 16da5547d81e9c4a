//! Brokers that stop, die and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_cluster::{Cluster, Shape};
use millrace_log::kafka::{Config, KafkaLog};
use millrace_log::{AppendError, Log, LogRecord, ReadError};
use millrace_schema::Topic;
use tokio::task::{JoinHandle, block_in_place};

use crate::fixture::{config, event, healthy, migrated, open, read_up_to, until};

fn own_broker() -> Cluster {
    block_in_place(|| {
        Cluster::start(Shape { brokers: 1, nodes: 0, ..Shape::default() }).expect("a broker")
    })
}

/// What became of one append.
type Told = (String, Result<u64, AppendError>);

/// Appends one record after another to a partition, until told to stop.
fn appender(log: &KafkaLog, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<Told>> {
    let (log, stop) = (log.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut told = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let value = format!("value-{}", told.len());
            let answer = log.append(event(0, &value)).await;
            if answer.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            told.push((value, answer.map(|appended| appended.offsets[0])));
        }
        told
    })
}

/// Reads a partition from its beginning up to its end of now.
async fn all(log: &KafkaLog) -> Vec<LogRecord> {
    let end = log.bounds(Topic::Events).await.unwrap()[0].end;
    let mut member = log.subscribe("check", Topic::Events).unwrap();
    loop {
        let mut reader = member.next().await.unwrap().unwrap();
        if reader.partition() == 0 {
            reader.seek(0).await.unwrap();
            return read_up_to(&mut *reader, end).await;
        }
    }
}

/// Every acknowledged record stands at its offset, and nothing stands there twice.
fn check(told: &[Told], records: &[LogRecord]) {
    assert!(records.iter().map(|record| record.offset).eq(0..records.len() as u64));
    for (value, answer) in told {
        let places: Vec<u64> = records
            .iter()
            .filter(|record| record.value == value.as_bytes())
            .map(|record| record.offset)
            .collect();
        match answer {
            Ok(offset) => assert_eq!(places, [*offset], "{value}"),
            Err(_) => assert!(places.len() <= 1, "{value} is there {} times", places.len()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_log_that_is_opened_before_the_broker_listens_becomes_ready_later() {
    let cluster = own_broker();
    let config = config(&cluster, "early");
    migrated(&config).await;
    block_in_place(|| cluster.brokers()[0].stop()).unwrap();
    let log = KafkaLog::open(config).unwrap();
    until("a reason", || log.health().is_err_and(|reason| reason.contains("refused"))).await;
    let refused = log.append(event(0, "x")).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    // A member waits as well.
    let mut member = log.subscribe("workers", Topic::Events).unwrap();
    block_in_place(|| cluster.brokers()[0].start()).unwrap();
    healthy(&log).await;
    assert_eq!(log.append(event(0, "x")).await.unwrap().offsets, [0]);
    member.next().await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_broker_that_pauses_acknowledges_late_and_one_that_is_killed_loses_nothing() {
    let cluster = own_broker();
    let config = config(&cluster, "outage");
    migrated(&config).await;
    let log = open(&config).await;
    let broker = &cluster.brokers()[0];
    let stop = Arc::new(AtomicBool::new(false));
    let appending = appender(&log, &stop);
    // Reads along all the while.
    let mut member = log.subscribe("workers", Topic::Events).unwrap();
    let mut reader = loop {
        let reader = member.next().await.unwrap().unwrap();
        if reader.partition() == 0 {
            break reader;
        }
    };
    reader.seek(0).await.unwrap();

    block_in_place(|| broker.pause()).unwrap();
    let late = log.append(event(1, "late"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    block_in_place(|| broker.resume()).unwrap();
    late.await.unwrap();
    assert_eq!(log.health(), Ok(()));

    block_in_place(|| broker.kill_9()).unwrap();
    until("bad health", || log.health().is_err()).await;
    block_in_place(|| broker.start()).unwrap();
    healthy(&log).await;
    let last = log.append(event(0, "last")).await.unwrap().offsets[0];
    stop.store(true, Ordering::Relaxed);
    let told = appending.await.unwrap();

    // The reader waited. If the group has taken it for dead meanwhile, another one goes on.
    let mut next = 0;
    while next <= last {
        match reader.read(1 << 20).await {
            Ok(records) => {
                assert_eq!(records[0].offset, next);
                next += records.len() as u64;
            }
            Err(ReadError::Revoked) => {
                reader = member.next().await.unwrap().unwrap();
                if reader.partition() == 0 {
                    reader.seek(next).await.unwrap();
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    drop((reader, member));
    check(&told, &all(&log).await);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_log_whose_broker_is_gone_closes_and_drops_in_bounded_time() {
    let cluster = own_broker();
    let delivery_timeout = Duration::from_secs(2);
    let config = Config { delivery_timeout, ..config(&cluster, "gone") };
    migrated(&config).await;
    let (closed, dropped) = (open(&config).await, open(&config).await);
    let mut member = closed.subscribe("workers", Topic::Events).unwrap();
    let reader = member.next().await.unwrap().unwrap();
    let mut other = dropped.subscribe("others", Topic::Events).unwrap();
    other.next().await.unwrap().unwrap();
    block_in_place(|| cluster.brokers()[0].kill_9()).unwrap();
    let unanswered = closed.append(event(0, "x"));
    drop(reader);
    let within = Duration::from_secs(30);
    tokio::time::timeout(within, closed.close()).await.expect("close hangs").unwrap();
    assert!(unanswered.await.is_err());
    while member.next().await.unwrap().is_some() {}
    let drops = tokio::task::spawn_blocking(move || drop(dropped));
    tokio::time::timeout(within, drops).await.expect("drop hangs").unwrap();
    while other.next().await.unwrap().is_some() {}
}
