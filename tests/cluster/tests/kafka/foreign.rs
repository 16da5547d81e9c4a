//! What others do to topics: records that are not ours, records that go.

use std::time::Duration;

use millrace_cluster::Cluster;
use millrace_log::kafka::{Config, KafkaLog};
use millrace_log::{Bounds, Log, ReadError, Reader, Subscription};
use millrace_schema::Topic;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::fixture::{config, event, migrated, open, read_up_to, until};

async fn opened(what: &str) -> (Config, KafkaLog) {
    let config = config(Cluster::shared().expect("a broker"), what);
    migrated(&config).await;
    let log = open(&config).await;
    (config, log)
}

fn client(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap);
    client
}

async fn reader(log: &KafkaLog, partition: u32) -> (Box<dyn Subscription>, Box<dyn Reader>) {
    let mut member = log.subscribe("workers", Topic::Events).unwrap();
    loop {
        let reader = member.next().await.unwrap().unwrap();
        if reader.partition() == partition {
            return (member, reader);
        }
    }
}

async fn delete_below(config: &Config, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = client(config).create().unwrap();
    let mut list = TopicPartitionList::new();
    let name = format!("{}.events", config.prefix);
    list.add_partition_offset(&name, partition, Offset::Offset(offset)).unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_null_value_and_a_null_key_are_empty() {
    let (config, log) = opened("null").await;
    let name = format!("{}.events", config.prefix);
    let producer: BaseProducer = client(&config).create().unwrap();
    producer.send(BaseRecord::<(), ()>::to(&name).partition(2)).map_err(|(e, _)| e).unwrap();
    let flush = move || producer.flush(Duration::from_secs(10));
    tokio::task::spawn_blocking(flush).await.unwrap().unwrap();
    let (_member, mut reader) = reader(&log, 2).await;
    reader.seek(0).await.unwrap();
    let records = read_up_to(&mut *reader, 1).await;
    assert!(records[0].value.is_empty() && records[0].key.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_seek_below_the_start_continues_at_the_first_record_held() {
    let (config, log) = opened("expired").await;
    for n in 0..10 {
        log.append(event(0, &format!("{n}"))).await.unwrap();
    }
    delete_below(&config, 0, 4).await;
    assert_eq!(log.bounds(Topic::Events).await.unwrap()[0], Bounds { start: 4, end: 10 });
    let (_member, mut reader) = reader(&log, 0).await;
    reader.seek(1).await.unwrap();
    let records = read_up_to(&mut *reader, 10).await;
    assert!(records.iter().map(|record| record.offset).eq(4..10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_reader_that_retention_overtakes_begins_anew_at_the_first_record_held() {
    let (config, log) = opened("overtaken").await;
    for n in 0..10 {
        log.append(event(0, &format!("{n}"))).await.unwrap();
    }
    let config = Config { reader_bytes: 1, ..config };
    let slow = open(&config).await;
    let (mut member, mut held) = reader(&slow, 0).await;
    held.seek(0).await.unwrap();
    // Full with the first record: the rest was not fetched, or is thrown away.
    assert_eq!(held.read(1).await.unwrap()[0].offset, 0);
    delete_below(&config, 0, 10).await;
    log.append(event(0, "10")).await.unwrap();
    let mut offsets = Vec::new();
    loop {
        match held.read(1).await {
            Ok(records) => offsets.extend(records.iter().map(|record| record.offset)),
            // The consumer begins anew, and its readers with it.
            Err(ReadError::Revoked) => {
                held = member.next().await.unwrap().unwrap();
                if held.partition() == 0 {
                    held.seek(offsets.last().map_or(0, |last| last + 1)).await.unwrap();
                }
            }
            Err(other) => panic!("{other}"),
        }
        if offsets.last() == Some(&10) {
            break;
        }
    }
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_topic_that_was_made_anew_is_told_from_one_that_goes_on() {
    let (config, log) = opened("anew").await;
    for n in 0..10 {
        log.append(event(0, &format!("{n}"))).await.unwrap();
    }
    let (mut member, mut held) = reader(&log, 0).await;
    held.seek(0).await.unwrap();
    read_up_to(&mut *held, 10).await;
    let admin: AdminClient<DefaultClientContext> = client(&config).create().unwrap();
    let name = format!("{}.events", config.prefix);
    admin.delete_topics(&[&name], &AdminOptions::new()).await.unwrap();
    let gone = || {
        let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
        metadata.topics().iter().all(|topic| topic.name() != name)
    };
    until("the end of the topic", || tokio::task::block_in_place(gone)).await;
    migrated(&config).await;
    // Whichever comes first: the reader hears it, or the next one does.
    let error = loop {
        let error = match held.read(1_000).await {
            Ok(records) => panic!("{records:?}"),
            Err(ReadError::Revoked) => {
                held = member.next().await.unwrap().unwrap();
                match held.partition() {
                    0 => held.seek(10).await.err(),
                    _ => None,
                }
            }
            Err(other) => Some(other),
        };
        if let Some(error) = error {
            break error;
        }
    };
    assert!(matches!(error, ReadError::BeyondEnd { offset: 10, end: 0 }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn what_was_committed_is_seen_by_lag_tools() {
    let (config, log) = opened("lag").await;
    for n in 0..3 {
        log.append(event(3, &format!("{n}"))).await.unwrap();
    }
    let (member, mut held) = reader(&log, 3).await;
    held.seek(0).await.unwrap();
    held.commit(2);
    drop((held, member));
    let consumer: BaseConsumer = client(&config)
        .set("group.id", format!("{}.workers.events", config.prefix))
        .create()
        .unwrap();
    let committed = || {
        let mut list = TopicPartitionList::new();
        list.add_partition(&format!("{}.events", config.prefix), 3);
        let list = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
        list.elements()[0].offset() == Offset::Offset(2)
    };
    until("the offset", || tokio::task::block_in_place(committed)).await;
}
