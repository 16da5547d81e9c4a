//! The engines that a process works with: embedded ones, unless a caller puts something before
//! them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use millrace_log::Log;
use millrace_log::embedded::{Config, EmbeddedLog};
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
    /// The embedded engines of a data folder, made if they are not there.
    pub(crate) fn open(folder: &DataFolder, config: Config) -> Result<Self> {
        Self::with_store(folder, config, open_store(folder)?)
    }

    /// The engines as a server left them: with as many partitions as the ledger has, and without
    /// removing what only the server's own settings may remove.
    pub(crate) async fn reopen(folder: &DataFolder) -> Result<Self> {
        let store = open_store(folder)?;
        let mut config =
            Config { retention: Duration::MAX, retention_bytes: u64::MAX, ..Config::default() };
        if let Some(last) = store.ledger().await?.iter().map(|row| row.partition).max() {
            config.partitions = last.saturating_add(1);
        }
        Self::with_store(folder, config, store)
    }

    fn with_store(folder: &DataFolder, config: Config, store: EmbeddedStore) -> Result<Self> {
        let dir = folder.layout().log();
        let log = EmbeddedLog::open(&dir, config)
            .with_context(|| format!("cannot open the log in {}", dir.display()))?;
        let (log_failed, store_failed) = (log.failed(), store.failed());
        let failed = Box::pin(async move {
            tokio::select! {
                reason = log_failed => format!("the log has failed: {reason}"),
                reason = store_failed => format!("the store has failed: {reason}"),
            }
        });
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

fn open_store(folder: &DataFolder) -> Result<EmbeddedStore> {
    let dir = folder.layout().store();
    EmbeddedStore::open(&dir, millrace_store::embedded::Config::default())
        .with_context(|| format!("cannot open the store in {}", dir.display()))
}
