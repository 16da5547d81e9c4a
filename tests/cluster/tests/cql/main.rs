//! The store on a real Cassandra, and accounts over it: the suites that every engine must pass,
//! and what is its own.

mod accounts;
#[path = "../../../../accounts/tests/conformance/suite/mod.rs"]
mod accounts_suite;
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

macro_rules! accounts_on_cassandra {
    ($($room:ident: $($name:ident),+ $(,)?;)+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
        async fn $name() {
            let keyspace = keyspace::Keyspace::empty().await;
            let world = accounts::world(&keyspace.config).await;
            accounts_suite::$room::$name(&world).await;
        }
    )+)+};
}

suite::every_test!(on_cassandra);
accounts_suite::every_test!(accounts_on_cassandra);
