//! A command done where it can be: by the server that holds the data folder, or here.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::admin::{Command, Reply, Unreached, send};
use crate::engines::{Engines, EngineOptions};
use crate::folder::{DataFolder, Layout};
use crate::keys::Keys;

/// A server that is starting, or stopping, holds the folder without listening on its socket.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn execute(data: &Path, command: Command) -> Result<Reply> {
    let layout = Layout::new(data);
    if !layout.exists() {
        bail!(
            "there is no data folder at {}; name it with --data, or make it with `millrace dev`",
            data.display()
        );
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(reply) = send(&layout.socket(), &command).await? {
            return Ok(reply);
        }
        match DataFolder::open(layout.clone()) {
            Ok(folder) => return here(&folder, command).await,
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
