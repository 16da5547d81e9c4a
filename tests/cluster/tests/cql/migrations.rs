//! Making and repeating the tables.

use millrace_cluster::Cluster;
use millrace_schema::cql::{self, VERSION};
use millrace_store::scylla::{CqlStore, Dialect, migrate};
use millrace_store::{AccountStore, Project, StoreError};

use crate::keyspace::{config, connected, session};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn tables_of_version_1_are_brought_to_this_one_with_what_is_in_them() {
    let cluster = Cluster::shared().unwrap();
    let config = config(cluster, cluster.unique("upgrade"));
    migrate(&config, None, 1).await.unwrap();
    let project = Project { id: "p".to_owned(), name: "n".to_owned(), created_us: 1 };
    connected(&config).await.create_project(project.clone()).await.unwrap();
    let session = session(&config).await;
    let run = async |text: String| session.query_unpaged(text, &[]).await.unwrap();
    for migration in cql::MIGRATIONS.iter().filter(|migration| migration.version > 1) {
        for statement in cql::statements(migration.portable) {
            let table = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ").unwrap();
            let table = table.split(' ').next().unwrap();
            run(format!("DROP TABLE {}.{table}", config.keyspace)).await;
        }
    }
    let later = "schema_version WHERE name = 'tables' AND version > 1";
    run(format!("DELETE FROM {}.{later}", config.keyspace)).await;

    let old = CqlStore::open(config.clone()).unwrap();
    let reason = old.failed().await;
    assert!(reason.contains("version 1") && reason.contains("`millrace migrate`"), "{reason}");
    let report = migrate(&config, None, 1).await.unwrap();
    assert_eq!((report.made_keyspace, report.from, report.to), (false, 1, VERSION));
    let store = connected(&config).await;
    assert_eq!(store.projects().await.unwrap(), [project]);
    assert_eq!(store.webhooks().await.unwrap(), []);
}
