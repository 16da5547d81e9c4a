//! The engines that a process works with: embedded ones, unless a caller puts something before
//! them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use millrace_log::Log;
use millrace_log::embedded::{self, EmbeddedLog};
use millrace_store::embedded::EmbeddedStore;
use millrace_store::{AccountStore, Store};

use crate::folder::DataFolder;

/// Resolves with the reason once an engine can never work again in this process.
pub type Failed = Pin<Box<dyn Future<Output = String> + Send>>;

/// What a process keeps its data in.
pub struct Engines {
    /// Where records wait.
    pub log: Arc<dyn Log>,
    /// Where they end.
    pub store: Arc<dyn Store>,
    /// Where projects and keys are.
    pub accounts: Arc<dyn AccountStore>,
    /// When to give up.
    pub failed: Failed,
}

impl Engines {
    /// The embedded engines of a data folder.
    pub(crate) fn open(folder: &DataFolder, config: embedded::Config) -> Result<Self> {
        let layout = folder.layout();
        let (log_dir, store_dir) = (layout.log(), layout.store());
        let log = EmbeddedLog::open(&log_dir, config)
            .with_context(|| format!("cannot open the log in {}", log_dir.display()))?;
        let store = EmbeddedStore::open(&store_dir, millrace_store::embedded::Config::default())
            .with_context(|| format!("cannot open the store in {}", store_dir.display()))?;
        let failed = Box::pin(log.failed());
        let accounts = Arc::new(store.clone());
        Ok(Self { log: Arc::new(log), store: Arc::new(store), accounts, failed })
    }

    /// Makes everything durable.
    pub(crate) async fn close(&self) -> Result<()> {
        let log = self.log.close().await.context("the log did not close");
        let store = self.store.persist().await.context("the store is not durable");
        log.and(store)
    }
}
