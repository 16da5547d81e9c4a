//! What is said over the supervisor's socket: one JSON line each way. An open connection is a lease.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The longest line either side reads, bytes.
const LINE_MAX: u64 = 64 * 1024;

/// What a supervisor is asked. A server is named by its place in the plan.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Only its state.
    Look {
        server: usize,
    },
    Signal {
        server: usize,
        signal: Signal,
    },
    /// Starts it again, unless it runs.
    Start {
        server: usize,
    },
    /// Ends the whole cluster, whoever holds a lease.
    Down,
}

/// What can be sent to a server.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Signal {
    Kill,
    Stop,
    Continue,
    Terminate,
}

/// The state of a server after the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// Its process, while it runs.
    pub(crate) pid: Option<u32>,
    /// How it ended, if it did.
    pub(crate) ended: Option<String>,
}

/// The state, or why the command could not be done.
pub(crate) type Answer = Result<State, String>;

/// The socket of the cluster in a folder.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("supervisor.sock")
}

/// Sends one command over a connection of its own.
pub(crate) fn ask(folder: &Path, command: Command) -> Result<State> {
    let stream = UnixStream::connect(socket(folder)).context("the supervisor is gone")?;
    write_line(&stream, &command)?;
    let answer: Option<Answer> = read_line(&mut BufReader::new(&stream))?;
    answer.context("the supervisor ended")?.map_err(anyhow::Error::msg)
}

pub(crate) fn write_line(mut stream: &UnixStream, value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}

/// The next line, or nothing when the other side has closed.
pub(crate) fn read_line<T: for<'a> Deserialize<'a>>(
    reader: &mut BufReader<&UnixStream>,
) -> Result<Option<T>> {
    let mut line = vec![];
    reader.take(LINE_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}
