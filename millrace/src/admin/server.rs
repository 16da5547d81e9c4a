//! Executes commands that come over the Unix socket in the data folder. Who may open the socket
//! (mode 0600: the owner) may do everything.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::body::read;
use super::{Backend, Command};
use crate::folder::{Layout, remove_if_present};
use crate::http::{self, Answer};

pub(super) const COMMAND_PATH: &str = "/command";
const COMMAND_BYTES_MAX: usize = 64 * 1024;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// What `sockaddr_un` takes on Linux and macOS, without the closing NUL.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// Why a command was not done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
}

/// The socket. Its file goes when this is dropped.
pub(crate) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds the socket of a data folder that this process has locked, so that a file that is
    /// there was left behind.
    pub(crate) fn bind(layout: &Layout) -> Result<Self> {
        let path = layout.socket();
        let bytes = path.as_os_str().len();
        ensure!(
            bytes <= SOCKET_PATH_BYTES_MAX,
            "the path of the admin socket {} has {bytes} bytes, and a socket's may have \
             {SOCKET_PATH_BYTES_MAX}; choose a shorter --data, or a relative one",
            path.display()
        );
        // Bound where only the owner looks, so that nobody connects before the mode is set.
        let hidden = layout.keys().join("s");
        remove_if_present(&hidden)?;
        let listener = bind_private(&hidden, &path)
            .with_context(|| format!("cannot make the admin socket {}", path.display()))?;
        Ok(Self { listener, path })
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, backend: Backend) {
        let answer = move |request| {
            let backend = backend.clone();
            async move { answer(request, &backend).await }
        };
        http::serve(&self.listener, answer).await;
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if let Err(error) = remove_if_present(&self.path) {
            tracing::warn!(%error, "the admin socket's file stays behind");
        }
    }
}

fn bind_private(hidden: &Path, path: &Path) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(hidden)?;
    fs::set_permissions(hidden, Permissions::from_mode(0o600))?;
    fs::rename(hidden, path)?;
    Ok(listener)
}

async fn answer(request: Request<Incoming>, backend: &Backend) -> Answer {
    if request.uri().path() != COMMAND_PATH {
        return refuse(StatusCode::NOT_FOUND, format!("POST {COMMAND_PATH}"));
    }
    if request.method() != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, format!("POST {COMMAND_PATH}"));
    }
    match tokio::time::timeout(COMMAND_TIMEOUT, execute(request, backend)).await {
        Ok(Ok(body)) => http::json(StatusCode::OK, body),
        Ok(Err(error)) => refuse(StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}")),
        Err(_) => refuse(StatusCode::GATEWAY_TIMEOUT, format!("over {COMMAND_TIMEOUT:?}")),
    }
}

async fn execute(request: Request<Incoming>, backend: &Backend) -> Result<Vec<u8>> {
    let body = read(request.into_body(), COMMAND_BYTES_MAX).await?;
    let command: Command = serde_json::from_slice(&body).context("not a command")?;
    Ok(serde_json::to_vec(&command.execute(backend).await?)?)
}

fn refuse(status: StatusCode, error: String) -> Answer {
    http::json(status, serde_json::to_vec(&Refusal { error }).unwrap_or_default())
}
