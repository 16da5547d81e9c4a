//! What every engine must do, run against the embedded one.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[macro_use]
mod suite;

use std::path::PathBuf;
use std::sync::Arc;

use millrace_log::Log;
use millrace_log::embedded::{Config, EmbeddedLog};

struct Embedded {
    folder: tempfile::TempDir,
}

impl Embedded {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl suite::Engine for Embedded {
    async fn open(&self) -> Arc<dyn Log> {
        // Small enough that the tests cross segments and leave the memory.
        let config = Config {
            segment_bytes: 64 * 1024,
            tail_bytes: 32 * 1024,
            disk_floor_bytes: 0,
            ..Config::default()
        };
        let dir = self.dir();
        let log = tokio::task::spawn_blocking(move || EmbeddedLog::open(&dir, config));
        Arc::new(log.await.unwrap().unwrap())
    }
}

conformance!(Embedded::new());
