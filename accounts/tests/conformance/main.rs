//! The suite that the accounts must pass over every store, run over the embedded one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail at any step")]

mod suite;

use std::sync::Arc;

use millrace_store::embedded::{Config, EmbeddedStore};

macro_rules! over_the_embedded_store {
    ($($room:ident: $($name:ident),+ $(,)?;)+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let dir = tempfile::tempdir().unwrap();
            // One process at a time opens it: its front doors share what is open.
            let store = Arc::new(EmbeddedStore::open(dir.path(), Config::default()).unwrap());
            let world = suite::World::over([store.clone(), store.clone(), store]);
            suite::$room::$name(&world).await;
        }
    )+)+};
}

suite::every_test!(over_the_embedded_store);
