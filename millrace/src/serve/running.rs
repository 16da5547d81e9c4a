//! Running, and stopping in order: not ready → accept no more → finish requests → stop workers →
//! close the log → make the store durable.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use millrace_ingest::{Readiness, Server};
use millrace_workers::Workers;
use tokio::task::{JoinHandle, JoinSet};

use super::signals::Signals;
use crate::engines::{Engines, Verification};
use crate::print;

/// How long mails that wait may still be sent.
const MAIL_GRACE: Duration = Duration::from_secs(5);

/// What is printed once it is known.
pub(crate) type Greeting = Pin<Box<dyn Future<Output = Result<String>> + Send>>;

/// Everything that runs.
pub(crate) struct Running {
    pub(crate) readiness: Arc<Readiness>,
    /// A front door, if there is one.
    pub(crate) server: Option<Server>,
    /// Workers, if there are any.
    pub(crate) workers: Option<Workers>,
    /// What sends mails; ends by itself when the server is gone and none waits.
    pub(crate) postman: Option<JoinHandle<()>>,
    /// What ends before the workers do.
    pub(crate) background: JoinSet<()>,
    /// What answers until the end.
    pub(crate) admin: JoinSet<()>,
    pub(crate) greeting: Greeting,
}

impl Running {
    /// Greets; waits for a signal, or for an engine that can never work again; then stops in order.
    ///
    /// # Errors
    /// It could not greet, an engine failed, or something was cut short.
    pub(super) async fn until_stopped(
        mut self,
        signals: &mut Signals,
        mut engines: Engines,
        verification: &Verification,
        deadline: Duration,
    ) -> Result<()> {
        let failure = self.until_a_reason(signals, &mut engines, verification).await;
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

    /// Runs until there is a reason to stop; the failure, if it is one.
    async fn until_a_reason(
        &mut self,
        signals: &mut Signals,
        engines: &mut Engines,
        verification: &Verification,
    ) -> Option<anyhow::Error> {
        let mut broken = pin!(verification.broken());
        let mut greeted = false;
        loop {
            let failure = tokio::select! {
                name = signals.next() => {
                    tracing::info!(signal = name, "stopping");
                    return None;
                }
                reason = &mut engines.failed => anyhow!(reason),
                reason = &mut broken => anyhow!(reason),
                greeting = &mut self.greeting, if !greeted => {
                    greeted = true;
                    match greeting.and_then(|text| Ok(print::stdout(&text)?)) {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
            };
            let reason = format!("{failure:#}");
            tracing::error!(reason, "stopping, because it cannot go on in this process");
            return Some(failure);
        }
    }

    async fn stop(mut self, engines: &Engines, deadline: Duration) -> Result<()> {
        self.readiness.stop();
        let requests = match self.server {
            Some(server) => server.shutdown().await.map_err(anyhow::Error::from),
            None => Ok(()),
        };
        if let Some(postman) = self.postman {
            finish(postman).await;
        }
        self.background.shutdown().await;
        let workers = match self.workers {
            Some(workers) => workers.stop(deadline).await.map_err(anyhow::Error::from),
            None => Ok(()),
        };
        let engines = tokio::time::timeout(deadline, engines.close()).await;
        let engines = engines.unwrap_or_else(|_| Err(anyhow!("not closed after {deadline:?}")));
        self.admin.shutdown().await;
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

async fn finish(mut postman: JoinHandle<()>) {
    if tokio::time::timeout(MAIL_GRACE, &mut postman).await.is_err() {
        postman.abort();
        tracing::warn!("mails were not sent within {MAIL_GRACE:?} and are lost");
    }
}
