//! Erasures of many users at once.

use millrace_schema::{Topic, UserKey};
use millrace_store::scylla::Config;
use millrace_store::{Change, Store};

use crate::keyspace::{Keyspace, connected};
use crate::suite::{Worker, cells, put_device, put_profile, read_devices, read_profile, user};

/// More than fit in one batch, with ids of all lengths, the longest of which fill one alone.
fn users() -> Vec<UserKey> {
    let long = (0..3).map(|n| user(&format!("{n}{}", "x".repeat(5_000))));
    (0..200).map(|n| user(&format!("u{n}"))).chain(long).collect()
}

async fn are_erased_and_others_are_not(config: &Config) {
    let store = &connected(config).await;
    let users = users();
    let mut worker = Worker::claim(store, Topic::Profiles, 0).await;
    for all in users.chunks(50) {
        let rows = all.iter().flat_map(|u| {
            let profile = put_profile(u, 2, cells([]));
            [(1, profile), (1, put_device(u, "d", 3, cells([])))]
        });
        worker.commit(rows).await;
    }
    let (kept, erased) = users.split_last().unwrap();
    // Together with what is not an erasure, and with rows of the same partitions that stay.
    let erase = erased.iter().flat_map(|u| {
        let user = u.clone();
        [(5, Change::EraseProfile { user: user.clone() }), (5, Change::EraseDevices { user })]
    });
    let stays = erased.iter().step_by(10).map(|u| (6, put_device(u, "new", 4, cells([]))));
    worker.commit(erase.chain(stays)).await;
    for (n, u) in erased.iter().enumerate() {
        assert_eq!(store.profiles(vec![u.clone()]).await.unwrap(), [None]);
        let devices = read_devices(store, u).await;
        assert_eq!(devices.len(), usize::from(n % 10 == 0), "{devices:?}");
    }
    assert!(store.profiles(vec![kept.clone()]).await.unwrap()[0].is_some());
    assert!(read_profile(store, kept).await.is_empty());
    assert_eq!(read_devices(store, kept).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn users_erased_in_batches_are_gone_and_others_are_not() {
    let keyspace = Keyspace::empty().await;
    are_erased_and_others_are_not(&keyspace.config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn the_smallest_share_of_erasing_is_enough() {
    let keyspace = Keyspace::empty().await;
    // A batch is larger than the share; it waits for all of it and no more.
    let config = Config { in_flight_max: 2, erase_share_percent: 1, ..keyspace.config.clone() };
    are_erased_and_others_are_not(&config).await;
}
