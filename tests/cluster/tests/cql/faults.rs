//! Nodes that are killed, stopped and restarted under a store.

use std::time::Duration;

use futures::FutureExt;
use millrace_cluster::{Cluster, Shape};
use millrace_schema::Topic;
use millrace_store::scylla::{Config, CqlStore, migrate};
use millrace_store::{Store, StoreError};

use crate::keyspace::{config, connected, healthy};
use crate::suite::{Worker, put_event, read_events, user};

async fn start(nodes: usize) -> (Cluster, Config) {
    let cluster = Cluster::start(Shape { brokers: 0, nodes, ..Shape::default() }).unwrap();
    let config =
        Config { request_timeout: Duration::from_secs(1), ..config(&cluster, "faults".to_owned()) };
    let patient = Config { request_timeout: Duration::from_secs(20), ..config.clone() };
    migrate(&patient, None, u32::try_from(nodes).unwrap()).await.unwrap();
    (cluster, config)
}

/// Waits until all nodes that are there answer, and tells the generation.
async fn generation(store: &CqlStore) -> u64 {
    loop {
        match store.generation().await {
            Ok(generation) => return generation,
            Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn is_unavailable<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_node_that_was_killed_is_noticed_and_the_store_heals_by_itself() {
    let (cluster, config) = start(1).await;
    let node = &cluster.nodes()[0];
    let store = connected(&config).await;
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    worker.commit([(0, put_event(&user("u"), 1, "a", ""))]).await;
    let before = generation(&store).await;

    // Nobody asks while it is away.
    node.kill_9().unwrap();
    node.start().unwrap();
    healthy(&store).await;
    while store.ledger().await.is_err() {}
    let ledger = store.ledger().await.unwrap();
    let refused = worker.try_commit([(1, put_event(&user("u"), 2, "b", ""))]).await;
    assert!(matches!(refused, Err(StoreError::Restarted)), "{refused:?}");
    assert_eq!(store.ledger().await.unwrap(), ledger, "the ledger has not moved");
    assert_ne!(generation(&store).await, before);

    // Somebody does.
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    let before = generation(&store).await;
    node.kill_9().unwrap();
    let refused = worker.try_commit([(1, put_event(&user("u"), 2, "b", ""))]).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    assert!(is_unavailable(&store.events(user("u"), crate::suite::ALL).await));
    while store.health().is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.start().unwrap();
    assert_ne!(generation(&store).await, before);
    healthy(&store).await;
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    worker
        .commit([(0, put_event(&user("u"), 1, "a", "")), (1, put_event(&user("u"), 2, "b", ""))])
        .await;
    assert_eq!(read_events(&store, &user("u")).await.len(), 2);
    assert!(store.failed().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_node_that_stands_still_fails_every_call_until_it_goes_on() {
    let (cluster, config) = start(1).await;
    let node = &cluster.nodes()[0];
    let store = connected(&config).await;
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    let before = generation(&store).await;
    node.pause().unwrap();
    let refused = worker.try_commit([(0, put_event(&user("u"), 1, "a", ""))]).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    assert!(is_unavailable(&store.generation().await));
    assert!(is_unavailable(&store.newest_epoch(Topic::Events, 0).await));
    assert!(is_unavailable(&store.claim(Topic::Events, 0).await));
    node.resume().unwrap();
    assert_eq!(generation(&store).await, before + 1, "a missed poll counts, once");
    healthy(&store).await;
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    worker.commit([(0, put_event(&user("u"), 1, "a", ""))]).await;
    assert_eq!(read_events(&store, &user("u")).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn with_one_of_three_nodes_dead_the_others_go_on() {
    let (cluster, config) = start(3).await;
    let config = Config { request_timeout: Duration::from_secs(4), ..config };
    let store = connected(&config).await;
    let before = generation(&store).await;
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    worker.commit([(0, put_event(&user("u"), 1, "a", ""))]).await;
    let dead = &cluster.nodes()[2];
    dead.kill_9().unwrap();
    let without = loop {
        match store.generation().await {
            Ok(generation) if generation != before => break generation,
            _ => tokio::task::yield_now().await,
        }
    };
    // The others take a while to believe that it is dead; until then any call may wait for it.
    let writes =
        || [(0, put_event(&user("u"), 1, "a", "")), (1, put_event(&user("u"), 2, "b", ""))];
    loop {
        let Ok(mut worker) = Worker::try_claim(&store, Topic::Events, 0).await else { continue };
        if worker.try_commit(writes()).await.is_ok() {
            break;
        }
    }
    // A read that asks the dead one may still have to wait in vain.
    let found = loop {
        if let Ok(events) = store.events(user("u"), crate::suite::ALL).await {
            break events;
        }
    };
    assert_eq!(found.len(), 2);
    assert_ne!(generation(&store).await, before, "it is away");
    dead.start().unwrap();
    while store.generation().await.is_ok_and(|now| now == without) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
