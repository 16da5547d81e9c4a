//! Running, and stopping in order: not ready → accept no more → finish requests → stop workers →
//! close the log → make the store durable.

use std::time::Duration;

use anyhow::{Result, anyhow};
use millrace_ingest::Server;
use millrace_workers::Workers;
use tokio::task::JoinSet;

use super::signals::Signals;
use crate::engines::Engines;

/// Everything that runs.
pub(super) struct Running {
    pub(super) server: Server,
    pub(super) workers: Workers,
    pub(super) background: JoinSet<()>,
}

impl Running {
    /// Waits for a signal, or for an engine that can never work again; then stops in order.
    ///
    /// # Errors
    /// An engine failed, or something was cut short.
    pub(super) async fn until_stopped(
        self,
        signals: &mut Signals,
        mut engines: Engines,
        deadline: Duration,
    ) -> Result<()> {
        let failure = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping");
                None
            }
            reason = &mut engines.failed => {
                tracing::error!(%reason, "stopping, because it cannot go on in this process");
                Some(anyhow!("{reason}; start again to recover"))
            }
        };
        let stopped = tokio::select! {
            stopped = self.stop(&engines, deadline) => stopped,
            name = signals.next() => {
                tracing::error!(signal = name, "a second signal: stopping at once");
                std::process::exit(1);
            }
        };
        match failure {
            Some(failure) => Err(failure),
            None => stopped,
        }
    }

    async fn stop(mut self, engines: &Engines, deadline: Duration) -> Result<()> {
        let requests = self.server.shutdown().await.map_err(anyhow::Error::from);
        self.background.shutdown().await;
        let workers = self.workers.stop(deadline).await.map_err(anyhow::Error::from);
        let engines = tokio::time::timeout(deadline, engines.close()).await;
        let engines = engines.unwrap_or_else(|_| Err(anyhow!("not closed after {deadline:?}")));
        let mut clean = true;
        for (what, result) in [("requests", requests), ("workers", workers), ("engines", engines)] {
            if let Err(error) = result {
                clean = false;
                tracing::error!(what, error = format!("{error:#}"), "was cut short");
            }
        }
        if clean {
            Ok(())
        } else {
            Err(anyhow!("something was cut short; what was acknowledged is safe"))
        }
    }
}
