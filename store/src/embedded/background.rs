//! Work that is done again and again beside all calls, on a thread of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::StoreError;
use crate::embedded::{Engine, failure::failed};

/// Does some work, and says how long to wait until the next.
type Work = fn(&Engine) -> Duration;

/// The thread; it ends when this is dropped, after the work that is under way.
pub(super) struct Background {
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(super) fn start(
        name: &str,
        engine: &Arc<Engine>,
        first: Duration,
        work: Work,
    ) -> Result<Self, StoreError> {
        let (stop, stopped) = channel();
        let engine = Arc::downgrade(engine);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&engine, &stopped, first, work))
            .map_err(|e| failed(e.into()))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

fn run(engine: &Weak<Engine>, stopped: &Receiver<()>, mut wait: Duration, work: Work) {
    while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let Some(engine) = engine.upgrade() else { return };
        wait = work(&engine);
    }
}
