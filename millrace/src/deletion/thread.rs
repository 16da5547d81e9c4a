//! Work that reads files. Not the runtime's: that would wait for it at the end, and nobody can
//! interrupt a read of standard input.

use std::thread;

use anyhow::{Context, Result};
use tokio::sync::oneshot;

/// Has a thread of its own do something, and waits for it.
///
/// # Errors
/// What was done failed, or the thread cannot start.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, result) = oneshot::channel();
    start(move || {
        // Nobody waits any more.
        let _ = sender.send(work());
    })?;
    result.await.context("a thread ended early")?
}

/// Starts a thread that nobody waits for.
///
/// # Errors
/// It cannot start.
pub(super) fn start(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().name("list".to_owned()).spawn(work);
    started.map(drop).context("a thread cannot start")
}
