//! `millrace dev`: front door, log, workers and store in one process.
//!
//! Owns the order in which they start and stop. Must not know what they do.

mod config;
mod demo;
mod greeting;
mod shutdown;
mod signals;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use millrace_accounts::watch;
use millrace_ingest::Parts;
use millrace_schema::Topic;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use self::demo::Demo;
use self::greeting::Greeting;
use self::shutdown::Running;
use self::signals::Signals;
use crate::admin::{AdminSocket, Backend};
use crate::cli::DevOptions;
use crate::engines::Engines;
use crate::folder::{DataFolder, Layout};
use crate::keys::Keys;
use crate::priority::yield_to_the_front_door;
use crate::{Wrap, metrics, print};

/// How long blocking work of the store may go on after everything else has ended.
const RUNTIME_GRACE: Duration = Duration::from_secs(5);

/// Runs until a signal comes or an engine fails.
///
/// # Errors
/// It could not start, or something was cut short at its end.
pub(crate) fn run(data: &Path, json: bool, options: &DevOptions, wrap: Wrap) -> Result<()> {
    let recorder = metrics::install()?;
    let folder = DataFolder::open(Layout::new(data))?;
    // Workers block on the store; on threads of their own they do not hold up requests.
    let front = runtime("ingest", || {})?;
    let back = runtime("workers", yield_to_the_front_door)?;
    let result = front.block_on(async {
        let engines = wrap(Engines::open(&folder, config::log(options))?);
        engines.verify().await?;
        let mut signals = Signals::watch()?;
        let (running, greeting) = start(&folder, options, &engines, &back, recorder).await?;
        print::stdout(&if json { greeting.to_json() } else { greeting.to_text() })?;
        running.until_stopped(&mut signals, engines, options.timeouts.shutdown()).await
    });
    back.shutdown_timeout(RUNTIME_GRACE);
    front.shutdown_timeout(RUNTIME_GRACE);
    result
}

fn runtime(name: &str, on_thread_start: fn()) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name(name).on_thread_start(on_thread_start);
    builder.build().with_context(|| format!("runtime of {name}"))
}

async fn start(
    folder: &DataFolder,
    options: &DevOptions,
    engines: &Engines,
    back: &Runtime,
    recorder: PrometheusHandle,
) -> Result<(Running, Greeting)> {
    let layout = folder.layout();
    let keys = Keys::load_or_create(layout)?;
    keys.verifier.refresh(&*engines.accounts).await.context("revocations cannot be read")?;
    let accounts = keys.accounts(Arc::clone(&engines.accounts));
    let demo = Demo::load_or_create(layout, &accounts, &keys.verifier).await?;
    let socket = AdminSocket::bind(layout)?;

    let parts = Parts {
        log: Arc::clone(&engines.log),
        store: Arc::clone(&engines.store),
        verifier: Arc::clone(&keys.verifier),
        metrics: recorder.clone(),
        checks: Vec::new(),
    };
    let server = millrace_ingest::start(config::ingest(options), parts).await?;
    let workers = {
        let _on_their_threads = back.enter();
        let (log, store) = (Arc::clone(&engines.log), Arc::clone(&engines.store));
        millrace_workers::start(config::workers(options), log, store, &Topic::CONSUMED)?
    };

    let greeting = Greeting {
        listen: server.addr(),
        admin_listen: server.admin_addr(),
        demo,
        data: layout.root().to_owned(),
    };
    let (log, store) = (Arc::clone(&engines.log), Arc::clone(&engines.store));
    let refresh = Duration::from_millis(options.timeouts.revocation_refresh_ms);
    let mut background = JoinSet::new();
    background.spawn(socket.serve(Backend { accounts, log, store }));
    background.spawn(watch(keys.verifier, Arc::clone(&engines.accounts), refresh));
    background.spawn(metrics::upkeep(recorder));
    Ok((Running { server, workers, background }, greeting))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn an_engine_that_fails_for_good_stops_everything_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let args = ["millrace", "dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let Command::Dev(options) = Cli::try_parse_from(args).unwrap().command else {
            panic!("another command")
        };
        let failed = Box::pin(async { "fdatasync: out of luck".to_owned() });
        let wrap: Wrap = Box::new(|engines| Engines { failed, ..engines });
        let error = run(&data, true, &options, wrap).unwrap_err();
        assert!(format!("{error:#}").contains("fdatasync: out of luck"), "{error:#}");
        DataFolder::open(Layout::new(&data)).unwrap();
    }
}
