//! Sends a command to the server that holds the data folder.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::body::{BODY_BYTES_MAX, read};
use super::server::{COMMAND_PATH, Refusal};
use super::{Command, Reply};

/// Nobody listens on the socket: there is no file, or one left behind by a process that is gone.
#[derive(Debug)]
pub(crate) struct Unreached;

/// Has the server execute a command.
pub(crate) async fn send(socket: &Path, command: &Command) -> Result<Result<Reply, Unreached>> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if is_nobody_there(error.kind()) => return Ok(Err(Unreached)),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot connect to {}", socket.display()));
        }
    };
    let reply = exchange(stream, command).await;
    reply.map(Ok).with_context(|| format!("the server behind {}", socket.display()))
}

fn is_nobody_there(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

async fn exchange(stream: UnixStream, command: &Command) -> Result<Reply> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::post(COMMAND_PATH)
        .header(header::HOST, "millrace")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(command)?)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = read(response.into_body(), BODY_BYTES_MAX).await?;
    driver.abort();
    if status != StatusCode::OK {
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => bail!("{}", refusal.error),
            Err(_) => bail!("answered {status}"),
        }
    }
    serde_json::from_slice(&body).context("answered something else; is it of another version?")
}
