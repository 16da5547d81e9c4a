//! The store on a real Cassandra: the suite that every engine must pass, and what is its own.

mod documents;
mod erasing;
mod faults;
mod forgetting;
mod keyspace;
mod migrations;
mod receipts;
mod refusals;
#[path = "../../../../store/tests/conformance/suite/mod.rs"]
mod suite;
mod tombstones;

macro_rules! on_cassandra {
    ($($room:ident: $($name:ident),+ $(,)?;)+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
        async fn $name() {
            let keyspace = keyspace::Keyspace::empty().await;
            suite::$room::$name(&keyspace.store).await;
        }
    )+)+};
}

suite::every_test!(on_cassandra);
