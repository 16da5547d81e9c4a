//! A command done where it can be: by the server that holds the data folder, or here.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::admin::{Backend, Command, Reply, send};
use crate::engines::Engines;
use crate::folder::{DataFolder, Held, Layout};
use crate::keys::Keys;

/// A server that is starting or stopping holds the folder and does not listen.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// Has a command executed.
///
/// # Errors
/// It was refused, or neither the server nor the folder is to be had.
pub(crate) async fn execute(data: &Path, command: Command) -> Result<Reply> {
    let layout = Layout::existing(data)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(reply) = send(&layout.socket(), &command).await? {
            return Ok(reply);
        }
        match DataFolder::open(layout.clone()) {
            Ok(folder) => return here(&folder, command).await,
            Err(error) if error.is::<Held>() && Instant::now() < deadline => {
                tokio::time::sleep(RETRY_EVERY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn here(folder: &DataFolder, command: Command) -> Result<Reply> {
    let keys = Keys::load_or_create(folder.layout())?;
    let engines = Engines::reopen(folder)?;
    let backend = Backend {
        accounts: keys.accounts(Arc::clone(&engines.accounts)),
        log: Arc::clone(&engines.log),
        store: Arc::clone(&engines.store),
    };
    let reply = command.execute(&backend).await;
    engines.close().await?;
    reply
}
