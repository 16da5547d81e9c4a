//! Members of a group share the partitions, and hand them over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_cluster::Cluster;
use millrace_log::kafka::{Config, KafkaLog};
use millrace_log::{Log, ReadError, Reader, Subscription};
use millrace_schema::Topic;
use tokio::task::JoinHandle;

use crate::fixture::{PARTITIONS, config, event, migrated, open, read_up_to, until};

async fn prepared(what: &str) -> Config {
    let config = config(Cluster::shared().expect("a broker"), what);
    migrated(&config).await;
    config
}

async fn next(member: &mut Box<dyn Subscription>) -> Box<dyn Reader> {
    member.next().await.unwrap().expect("the log is open")
}

async fn all_readers(member: &mut Box<dyn Subscription>) -> Vec<Box<dyn Reader>> {
    let mut readers = Vec::new();
    while readers.len() < PARTITIONS as usize {
        readers.push(next(member).await);
    }
    readers
}

/// Who reads which partition; nobody may begin before the one before has let go.
#[derive(Clone, Default)]
struct Owners(Arc<Mutex<BTreeSet<(u32, &'static str)>>>);

impl Owners {
    fn of(&self, who: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, owner)| *owner == who).count()
    }

    /// Reads all partitions that are assigned until they are revoked.
    fn member(&self, log: &KafkaLog, who: &'static str) -> JoinHandle<()> {
        let mut member = log.subscribe("workers", Topic::Events).unwrap();
        let owners = self.clone();
        tokio::spawn(async move {
            let mut readers = Vec::new();
            while let Some(reader) = member.next().await.unwrap() {
                readers.push(tokio::spawn(owners.clone().read(reader, who)));
            }
            for reader in readers {
                reader.await.unwrap();
            }
        })
    }

    async fn read(self, mut reader: Box<dyn Reader>, who: &'static str) {
        let partition = reader.partition();
        {
            let mut owners = self.0.lock().unwrap();
            assert!(owners.iter().all(|(taken, _)| *taken != partition), "two readers");
            owners.insert((partition, who));
        }
        match reader.seek(0).await {
            Ok(()) => while reader.read(1_000).await.is_ok() {},
            Err(error) => assert!(matches!(error, ReadError::Revoked), "{error}"),
        }
        assert!(!reader.is_held());
        assert!(self.0.lock().unwrap().remove(&(partition, who)));
        drop(reader);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn two_members_share_and_hand_over_without_two_readers_of_a_partition() {
    let config = prepared("share").await;
    let (first, second) = (open(&config).await, open(&config).await);
    let owners = Owners::default();
    let a = owners.member(&first, "a");
    until("all for the first", || owners.of("a") == 4).await;
    let b = owners.member(&second, "b");
    until("half for each", || owners.of("a") == 2 && owners.of("b") == 2).await;
    first.close().await.unwrap();
    a.await.unwrap();
    until("all for the second", || owners.of("b") == 4).await;
    second.close().await.unwrap();
    b.await.unwrap();
    assert_eq!(owners.of("a") + owners.of("b"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_revoked_partition_is_not_given_on_before_its_reader_is_dropped() {
    let config = prepared("revoke").await;
    let (first, second) = (open(&config).await, open(&config).await);
    let mut a = first.subscribe("workers", Topic::Events).unwrap();
    let mut readers = all_readers(&mut a).await;
    let mut b = second.subscribe("workers", Topic::Events).unwrap();
    until("a revocation", || readers.iter().any(|reader| !reader.is_held())).await;
    let early = tokio::time::timeout(Duration::from_secs(2), b.next()).await;
    assert!(early.is_err(), "given on under its reader");
    let revoked: BTreeSet<u32> =
        readers.iter().filter(|r| !r.is_held()).map(|r| r.partition()).collect();
    readers.retain(|reader| reader.is_held());
    for _ in 0..revoked.len() {
        assert!(revoked.contains(&next(&mut b).await.partition()));
    }
    // What was not revoked is read on, undisturbed.
    let kept = &mut readers[0];
    kept.seek(0).await.unwrap();
    first.append(event(kept.partition(), "x")).await.unwrap();
    assert_eq!(read_up_to(&mut **kept, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_reader_that_does_not_let_go_is_waited_for_only_so_long() {
    let config = Config { revoke_timeout: Duration::from_secs(1), ..prepared("stuck").await };
    let (first, second) = (open(&config).await, open(&config).await);
    let mut a = first.subscribe("workers", Topic::Events).unwrap();
    let stuck = all_readers(&mut a).await;
    let mut b = second.subscribe("workers", Topic::Events).unwrap();
    let taken = next(&mut b).await;
    let former = stuck.iter().find(|reader| reader.partition() == taken.partition()).unwrap();
    assert!(!former.is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn dropping_a_subscription_and_its_readers_leaves_the_group() {
    let config = prepared("leave").await;
    let (first, second) = (open(&config).await, open(&config).await);
    let mut a = first.subscribe("workers", Topic::Events).unwrap();
    let readers = all_readers(&mut a).await;
    drop((readers, a));
    let mut b = second.subscribe("workers", Topic::Events).unwrap();
    all_readers(&mut b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_reader_that_falls_behind_is_fed_in_order_and_completely() {
    let config = Config { reader_bytes: 2_000, ..prepared("behind").await };
    let log = open(&config).await;
    let mut appended = Vec::new();
    for n in 0..500 {
        appended.push(log.append(event(1, &format!("{n}-{}", "z".repeat(200)))));
    }
    for (n, append) in appended.into_iter().enumerate() {
        assert_eq!(append.await.unwrap().offsets, [n as u64]);
    }
    let mut member = log.subscribe("workers", Topic::Events).unwrap();
    let mut readers = all_readers(&mut member).await;
    let reader = readers.iter_mut().find(|reader| reader.partition() == 1).unwrap();
    for from in [0, 250, 499, 3] {
        reader.seek(from).await.unwrap();
        let mut expected = from;
        while expected < 500 {
            for record in reader.read(300).await.unwrap() {
                assert_eq!(record.offset, expected);
                assert!(record.value.starts_with(format!("{expected}-").as_bytes()));
                expected += 1;
            }
        }
    }
}
