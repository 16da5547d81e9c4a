//! What a store says when it cannot be used as it is configured, or not yet.

use std::time::Duration;

use futures::FutureExt;
use millrace_cluster::{Cluster, Proxy, Shape};
use millrace_store::scylla::{Config, CqlStore, Credentials, Tls, migrate};
use millrace_store::{AccountStore, Store, StoreError};

use crate::keyspace::{Keyspace, config, connected, healthy, session};

/// What a store says before it gives up for good.
async fn failure(config: Config) -> String {
    let store = CqlStore::open(config).unwrap();
    let reason = store.failed().await;
    assert_eq!(store.health(), Err(reason.clone()));
    let refused = store.projects().await;
    assert!(matches!(&refused, Err(StoreError::Stopped(text)) if *text == reason), "{refused:?}");
    reason
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_keyspace_that_is_missing_or_has_no_tables_says_what_to_do() {
    let cluster = Cluster::shared().unwrap();
    let config = config(cluster, cluster.unique("missing"));
    let reason = failure(config.clone()).await;
    assert!(reason.contains(&config.keyspace) && reason.contains("millrace migrate"), "{reason}");
    let text = format!(
        "CREATE KEYSPACE {} WITH replication = {{'class': 'SimpleStrategy', \
         'replication_factor': 1}}",
        config.keyspace
    );
    session(&config).await.query_unpaged(text, &[]).await.unwrap();
    let reason = failure(config).await;
    assert!(reason.contains("no tables") && reason.contains("millrace migrate"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn tables_of_another_version_are_refused() {
    let cluster = Cluster::shared().unwrap();
    let config = config(cluster, cluster.unique("version"));
    migrate(&config, None, 1).await.unwrap();
    let session = session(&config).await;
    let write = async |text: &str| {
        let text = text.replace("{ks}", &config.keyspace);
        session.query_unpaged(text, &[]).await.unwrap();
    };
    write("INSERT INTO {ks}.schema_version (name, version) VALUES ('tables', 99)").await;
    let reason = failure(config.clone()).await;
    assert!(reason.contains("99") && reason.contains("later"), "{reason}");
    let refused = migrate(&config, None, 1).await;
    assert!(matches!(&refused, Err(StoreError::Invalid(text)) if text.contains("99")));
    write("DELETE FROM {ks}.schema_version WHERE name = 'tables'").await;
    let reason = failure(config.clone()).await;
    assert!(reason.contains("version 0") && reason.contains("millrace migrate"), "{reason}");
    migrate(&config, None, 1).await.unwrap();
    connected(&config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_database_that_is_away_at_the_start_is_waited_for() {
    let keyspace = Keyspace::empty().await;
    let proxy = Proxy::start(Cluster::shared().unwrap().contact_points()[0]).unwrap();
    proxy.cut().unwrap();
    let contact_points = vec![proxy.address().to_string()];
    let store = CqlStore::open(Config { contact_points, ..keyspace.config.clone() }).unwrap();
    let refused = store.generation().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    while store.health() == Err("not connected yet".to_owned()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(store.health().is_err());
    assert!(store.failed().now_or_never().is_none());
    proxy.restore().unwrap();
    healthy(&store).await;
    store.generation().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_password_or_a_certificate_that_does_not_fit_is_told_apart_from_a_database_that_is_away()
{
    let shape = Shape { brokers: 0, passwords: true, tls: true, ..Shape::default() };
    let cluster = Cluster::start(shape).unwrap();
    let credentials = |password: &str| {
        Some(Credentials { user: "cassandra".to_owned(), password: password.to_owned() })
    };
    let tls = Some(Tls { ca: cluster.ca_pem().unwrap(), identity: None });
    let right = Config {
        credentials: credentials("cassandra"),
        tls: tls.clone(),
        ..config(&cluster, "secured".to_owned())
    };
    migrate(&right, None, 1).await.unwrap();
    connected(&right).await;

    let wrong = Config { credentials: credentials("wrong"), ..right.clone() };
    let refused = migrate(&wrong, None, 1).await.unwrap_err().to_string();
    assert!(refused.contains("password") && !refused.contains("wrong"), "{refused}");
    let reason = failure(wrong).await;
    assert!(reason.contains("refuses the user or the password"), "{reason}");
    let reason = failure(Config { credentials: None, ..right.clone() }).await;
    assert!(reason.contains("asks for a user and a password"), "{reason}");

    let shared = config(Cluster::shared().unwrap(), "plain".to_owned());
    let reason = failure(Config { tls, ..shared }).await;
    assert!(reason.contains("does not speak TLS"), "{reason}");
    let other = Cluster::start(Shape { brokers: 0, nodes: 0, tls: true, ..Shape::default() });
    if let Some(ca) = other.ok().and_then(|other| other.ca_pem()) {
        let tls = Some(Tls { ca, identity: None });
        let reason = failure(Config { tls, ..right.clone() }).await;
        assert!(reason.contains("not one that is trusted"), "{reason}");
    }
    let plain = CqlStore::open(Config { tls: None, ..right }).unwrap();
    while plain.health() == Err("not connected yet".to_owned()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let reason = plain.health().unwrap_err();
    assert!(reason.contains("TLS"), "{reason}");
}
