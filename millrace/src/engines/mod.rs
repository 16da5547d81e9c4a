//! The engines that a process works with: embedded ones or those of a cluster, unless a caller puts
//! something before them.

pub(crate) mod cluster;
pub(crate) mod embedded;
mod verify;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use millrace_log::Log;
use millrace_store::{AccountStore, DocumentStore, Store};

pub(crate) use self::verify::Verification;

/// Resolves with the reason once an engine can never work again in this process. The text says
/// what to do.
pub type Failed = Pin<Box<dyn Future<Output = String> + Send>>;

/// Whether a server is reached; if not, why.
pub type Health = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a process keeps its data in.
pub struct Engines {
    /// Where records wait.
    pub log: Arc<dyn Log>,
    /// Where they end.
    pub store: Arc<dyn Store>,
    /// Where projects and keys are.
    pub accounts: Arc<dyn AccountStore>,
    /// Where people are, and the audit log.
    pub documents: Arc<dyn DocumentStore>,
    /// When to give up.
    pub failed: Failed,
    /// Whether the store is reached; `None` where it is in this process.
    pub store_health: Option<Health>,
}

impl Engines {
    /// Whether the engines are servers, which may be away.
    pub(crate) const fn are_remote(&self) -> bool {
        self.store_health.is_some()
    }

    /// Makes everything durable.
    pub(crate) async fn close(&self) -> Result<()> {
        let log = self.log.close().await.context("the log did not close");
        let store = self.store.persist().await.context("the store is not durable");
        log.and(store)
    }
}
