//! The suite that every engine must pass, run on each; and what is an engine's own.

#![expect(clippy::unwrap_used, reason = "a test may fail at any step")]

mod embedded;
mod suite;

use millrace_store::embedded::{Config, EmbeddedStore};

macro_rules! on_the_embedded_store {
    ($($room:ident: $($name:ident),+ $(,)?;)+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let dir = tempfile::tempdir().unwrap();
            let store = EmbeddedStore::open(dir.path(), Config::default()).unwrap();
            suite::$room::$name(&store).await;
        }
    )+)+};
}

suite::every_test!(on_the_embedded_store);
