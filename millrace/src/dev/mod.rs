//! `millrace dev`: front door, log, workers and store in one process.
//!
//! Owns the order in which they start and stop. Must not know what they do.

mod demo;
mod greeting;
mod signals;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use millrace_accounts::watch;
use millrace_ingest::Parts;
use millrace_schema::Topic;
use millrace_schema::limits::Limits;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use self::demo::Demo;
use self::greeting::Greeting;
use self::signals::Signals;
use crate::Wrap;
use crate::admin::{AdminSocket, Backend};
use crate::cli::DevOptions;
use crate::engines::Engines;
use crate::folder::{DataFolder, Layout};
use crate::keys::Keys;
use crate::{metrics, print};

/// How long blocking work of the store may go on after everything else has ended.
const RUNTIME_GRACE: Duration = Duration::from_secs(5);

/// Runs until a signal comes or an engine fails.
///
/// # Errors
/// It could not start, or something was cut short at its end.
pub(crate) fn run(data: &Path, json: bool, options: &DevOptions, wrap: Wrap) -> Result<()> {
    let handle = metrics::install()?;
    let folder = DataFolder::open(Layout::new(data))?;
    let engines = wrap(Engines::open(&folder, options.log_config())?);
    // Workers block on the store; on threads of their own they do not hold up requests.
    let front = runtime("ingest")?;
    let back = runtime("workers")?;
    let result = front.block_on(serve(&folder, json, options, engines, &back, handle));
    back.shutdown_timeout(RUNTIME_GRACE);
    front.shutdown_timeout(RUNTIME_GRACE);
    result
}

fn runtime(name: &str) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name(name).build().with_context(|| format!("runtime of {name}"))
}
