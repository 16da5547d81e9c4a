//! Making and repeating the tables.

use millrace_cluster::Cluster;
use millrace_schema::cql::VERSION;
use millrace_store::StoreError;
use millrace_store::scylla::{Dialect, migrate};

use crate::keyspace::{config, connected};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_migration_is_applied_once() {
    let cluster = Cluster::shared().unwrap();
    let config = config(cluster, cluster.unique("twice"));
    let first = migrate(&config, None, 1).await.unwrap();
    assert!(first.made_keyspace);
    assert_eq!((first.dialect, first.from, first.to), (Dialect::Portable, 0, VERSION));
    let second = migrate(&config, None, 1).await.unwrap();
    assert_eq!((second.made_keyspace, second.from, second.to), (false, VERSION, VERSION));
    connected(&config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn two_migrations_at_once_do_no_harm() {
    let cluster = Cluster::shared().unwrap();
    let config = config(cluster, cluster.unique("at_once"));
    let (one, two) = tokio::join!(migrate(&config, None, 1), migrate(&config, None, 1));
    let mut from = [one.unwrap().from, two.unwrap().from];
    from.sort_unstable();
    assert_eq!(from, [0, VERSION], "one waits for the other");
    connected(&config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn more_replicas_than_nodes_are_refused() {
    let cluster = Cluster::shared().unwrap();
    let config = config(cluster, cluster.unique("replicas"));
    for replication_factor in [0, 2] {
        let refused = migrate(&config, None, replication_factor).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
}
