//! SIGTERM and SIGINT: the first asks to stop, the second stops at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals, watched from its creation on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn watch() -> Result<Self> {
        let watch = |kind| signal(kind).context("signals cannot be watched");
        let (terminate, interrupt) =
            (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// The next one, by name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
