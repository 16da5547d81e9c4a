//! What every command that serves has in common: `dev`, `ingest` and `worker` differ only in the
//! parts they start.
//!
//! Owns the order in which parts start and stop. Must not know what they do.

mod config;
mod front;
mod identity;
mod running;
mod signals;
mod webhooks;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::{Builder, Runtime};

pub(crate) use self::config::embedded_log;
pub(crate) use self::front::Front;
pub(crate) use self::identity::{Own, SignIn};
pub(crate) use self::running::Running;
pub(crate) use self::signals::Signals;
pub(crate) use self::webhooks::deliveries;
pub(crate) use self::workers::{checks as worker_checks, start as start_workers};
use crate::engines::{Engines, Verification};
use crate::priority::yield_to_the_front_door;
use crate::{Wrap, metrics};

/// How long blocking work may go on after everything else has ended.
pub(crate) const RUNTIME_GRACE: Duration = Duration::from_secs(5);

/// A command that serves.
pub(crate) trait Service {
    /// Opens what data is kept in.
    fn open(&self) -> Result<Engines>;

    /// Starts its parts.
    async fn start(&self, host: &Host<'_>) -> Result<Running>;

    /// How long each step of stopping may take.
    fn shutdown_timeout(&self) -> Duration;
}

/// What parts are started on.
pub(crate) struct Host<'e> {
    pub(crate) engines: &'e Engines,
    pub(crate) verification: Arc<Verification>,
    pub(crate) recorder: PrometheusHandle,
}

/// Runs until a signal comes or an engine fails.
///
/// # Errors
/// It could not start, or something was cut short at its end.
pub(crate) fn run(service: &impl Service, wrap: Wrap) -> Result<()> {
    let recorder = metrics::install()?;
    let runtime = runtime("millrace", || {})?;
    let result = runtime.block_on(async {
        let engines = wrap(service.open()?);
        let verification = Verification::of(&engines).await?;
        let mut signals = Signals::watch()?;
        let host = Host { engines: &engines, verification, recorder };
        let mut running = service.start(&host).await?;
        running.background.spawn(metrics::upkeep(host.recorder.clone()));
        let verification = host.verification;
        running
            .until_stopped(&mut signals, engines, &verification, service.shutdown_timeout())
            .await
    });
    runtime.shutdown_timeout(RUNTIME_GRACE);
    result
}

/// Where passwords are hashed. Only its blocking threads are there to be used.
pub(crate) fn hashing() -> Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.thread_name("passwords").on_thread_start(yield_to_the_front_door);
    builder.build().context("runtime of passwords")
}

/// A runtime whose threads begin with `on_thread_start`.
pub(crate) fn runtime(name: &str, on_thread_start: fn()) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name(name).on_thread_start(on_thread_start);
    builder.build().with_context(|| format!("runtime of {name}"))
}
