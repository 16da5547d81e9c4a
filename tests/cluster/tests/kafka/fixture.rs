//! Logs with topics of their own.

use std::time::{Duration, Instant};

use millrace_cluster::Cluster;
use millrace_log::kafka::{Config, KafkaLog, TopicSpec, migrate};
use millrace_log::{Batch, Log, LogRecord, Reader};
use millrace_schema::Topic;
use millrace_schema::topic::partition_of;

/// Partitions of every topic.
pub(crate) const PARTITIONS: u32 = 4;

/// One broker has everything.
pub(crate) fn spec() -> TopicSpec {
    TopicSpec { replication_factor: 1, min_insync_replicas: 1, ..TopicSpec::default() }
}

/// A configuration with names that nobody else uses.
pub(crate) fn config(cluster: &Cluster, what: &str) -> Config {
    Config {
        bootstrap: cluster.bootstrap(),
        prefix: cluster.unique(what),
        partitions: PARTITIONS,
        ..Config::default()
    }
}

/// Creates the topics.
pub(crate) async fn migrated(config: &Config) {
    migrate(config, &spec()).await.expect("the topics are created");
}

/// Waits until the log is ready.
pub(crate) async fn healthy(log: &KafkaLog) {
    until("health", || log.health().is_ok()).await;
}

/// Shows what the log says where `RUST_LOG` asks for it and a test fails.
pub(crate) fn logging() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// Opens a log and waits until it is ready.
pub(crate) async fn open(config: &Config) -> KafkaLog {
    logging();
    let log = KafkaLog::open(config.clone()).expect("the configuration can work");
    healthy(&log).await;
    log
}

/// A key of a partition.
pub(crate) fn key_of(partition: u32) -> String {
    let mut keys = (0..).map(|n| format!("key-{n}"));
    keys.find(|key| partition_of(key.as_bytes(), PARTITIONS) == partition).expect("there is one")
}

/// One event for a partition.
pub(crate) fn event(partition: u32, value: &str) -> Batch {
    let mut batch = Batch::default();
    let key = key_of(partition);
    let (key, value) = (key.as_bytes(), value.as_bytes());
    batch.push(
        Topic::Events,
        PARTITIONS,
        |out| out.extend_from_slice(key),
        |out| out.extend_from_slice(value),
    );
    batch
}

/// Reads up to an offset.
pub(crate) async fn read_up_to(reader: &mut dyn Reader, end: u64) -> Vec<LogRecord> {
    let mut records: Vec<LogRecord> = Vec::new();
    while records.last().is_none_or(|record| record.offset + 1 < end) {
        records.extend(reader.read(100_000).await.expect("records"));
    }
    records
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what} does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
