//! A command done where it can be: on the cluster, by the server that holds the data folder, or
//! here.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use millrace_accounts::{Audit, Clock, Core, PasswordSettings};
use millrace_log::Log;
use millrace_store::DocumentStore;

use crate::admin::{Backend, Command, Reply, Users, ledger, replay, send};
use crate::cli::Common;
use crate::engines::{cluster, embedded};
use crate::folder::{DataFolder, Held, Layout};
use crate::keys::Keys;

/// A server that is starting or stopping holds the folder and does not listen.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// Has a command executed. A server that does it hashes passwords at its own cost.
///
/// # Errors
/// It was refused, or neither cluster, server nor folder is to be had.
pub(crate) async fn execute(
    data: &Path,
    common: &Common,
    command: Command,
    passwords: PasswordSettings,
) -> Result<Reply> {
    if common.cluster.is_named() {
        return on_the_cluster(data, common, command, passwords).await;
    }
    let layout = Layout::existing(data)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(reply) = send(&layout.socket(), &command).await? {
            return Ok(reply);
        }
        match DataFolder::open(layout.clone()) {
            Ok(folder) => return here(&folder, command, passwords).await,
            Err(error) if error.is::<Held>() && Instant::now() < deadline => {
                tokio::time::sleep(RETRY_EVERY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn here(folder: &DataFolder, command: Command, passwords: PasswordSettings) -> Result<Reply> {
    let keys = Keys::load_or_create(folder.layout())?;
    let engines = embedded::reopen(folder)?;
    let core = core(Arc::clone(&engines.documents), passwords)?;
    let backend = Backend {
        accounts: keys.accounts(Arc::clone(&engines.accounts), core.audit()),
        users: Users::new(core)?,
        log: Arc::clone(&engines.log),
        store: Arc::clone(&engines.store),
    };
    let reply = command.execute(&backend).await;
    engines.close().await?;
    reply
}

fn core(store: Arc<dyn DocumentStore>, passwords: PasswordSettings) -> Result<Arc<Core>> {
    Core::for_commands(store, passwords)
        .context("--argon2-memory-kib, --argon2-passes, --argon2-lanes")
}

async fn on_the_cluster(
    data: &Path,
    common: &Common,
    command: Command,
    passwords: PasswordSettings,
) -> Result<Reply> {
    match command {
        Command::Accounts(command) => {
            let keys = keys_of(Layout::new(data)).await?;
            let store = Arc::new(cluster::reach_store(common).await?);
            let audit = Audit::new(Arc::clone(&store) as Arc<dyn DocumentStore>, Clock::default());
            command.execute(&keys.accounts(store, Arc::new(audit))).await
        }
        Command::Users(command) => {
            let store = cluster::reach_store(common).await?;
            command.execute(&Users::new(core(Arc::new(store), passwords)?)?).await
        }
        Command::Ledger | Command::Replay => {
            let store = cluster::reach_store(common).await?;
            let log = cluster::reach_log(common).await?;
            let reply = match command {
                Command::Replay => replay(&log, &store).await,
                _ => ledger(&log, &store).await,
            };
            log.close().await?;
            reply
        }
    }
}

/// The keys of a data folder, which a running `millrace dev` may hold.
async fn keys_of(layout: Layout) -> Result<Keys> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match DataFolder::open(layout.clone()) {
            // Made under the lock, so that two processes do not make two.
            Ok(_folder) => return Keys::load_or_create(&layout),
            Err(error) if !error.is::<Held>() => return Err(error),
            Err(_) if layout.public_key().is_file() => return Keys::load_or_create(&layout),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(RETRY_EVERY).await,
        }
    }
}
