//! Requests that wait for the writer: bounded in bytes, in the order of the calls.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::sync::locked;
use crate::{AppendError, Appended, Batch};

/// A request that waits.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Batch,
    /// Bytes of its records as they are written.
    pub(super) bytes: usize,
    pub(super) done: oneshot::Sender<Result<Appended, AppendError>>,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    requests: VecDeque<Request>,
    /// Bytes that wait or are being written.
    bytes: usize,
    /// Why nothing more is taken.
    closed: Option<String>,
    /// The writer waits.
    idle: bool,
}

/// What the writer is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write the requests taken.
    Write,
    /// Nothing came in time.
    Idle,
    /// Nothing will come any more.
    Closed,
}

impl Queue {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { inner: Mutex::default(), filled: Condvar::new(), limit_bytes }
    }

    /// Puts a request last.
    pub(super) fn push(&self, request: Request) -> Result<(), AppendError> {
        let mut inner = locked(&self.inner);
        if let Some(reason) = &inner.closed {
            return Err(AppendError::Unavailable(reason.clone()));
        }
        let bytes = inner.bytes.saturating_add(request.bytes);
        if bytes > self.limit_bytes {
            return Err(AppendError::Full { limit_bytes: self.limit_bytes });
        }
        inner.bytes = bytes;
        inner.requests.push_back(request);
        let idle = std::mem::take(&mut inner.idle);
        drop(inner);
        if idle {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves up to `max_bytes` of requests, at least one, into `taken`; waits `patience` for it.
    pub(super) fn take(
        &self,
        taken: &mut Vec<Request>,
        max_bytes: usize,
        patience: Duration,
    ) -> Next {
        let mut inner = locked(&self.inner);
        if inner.requests.is_empty() && inner.closed.is_none() {
            inner.idle = true;
            let waited = self.filled.wait_timeout(inner, patience);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            inner.idle = false;
        }
        let mut bytes = 0;
        while let Some(request) = inner.requests.front() {
            if bytes > 0 && bytes + request.bytes > max_bytes {
                break;
            }
            bytes += request.bytes;
            taken.extend(inner.requests.pop_front());
        }
        match (taken.is_empty(), inner.closed.is_some()) {
            (false, _) => Next::Write,
            (true, false) => Next::Idle,
            (true, true) => Next::Closed,
        }
    }

    /// Frees the room of requests that are done, and says how much is still taken.
    pub(super) fn release(&self, bytes: usize) -> usize {
        let mut inner = locked(&self.inner);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        inner.bytes
    }

    /// Takes no more requests; the first reason stays.
    pub(super) fn close(&self, reason: &str) {
        locked(&self.inner).closed.get_or_insert_with(|| reason.to_owned());
        self.filled.notify_one();
    }

    /// Takes no more requests and drops those that wait, whose callers learn of it.
    pub(super) fn abandon(&self, reason: &str) {
        let mut inner = locked(&self.inner);
        inner.closed = Some(reason.to_owned());
        inner.bytes = 0;
        let requests = std::mem::take(&mut inner.requests);
        drop(inner);
        for request in requests {
            let _ = request.done.send(Err(AppendError::Unavailable(reason.to_owned())));
        }
    }
}
