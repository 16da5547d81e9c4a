//! What the writer, the readers and the callers of one log share.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_schema::Topic;
use tokio::sync::watch;

use super::config::Config;
use super::groups::Groups;
use super::queue::Queue;
use super::view::View;
use crate::AppendError;
use crate::sync::locked;

/// Whether the log works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Open,
    /// Closed on request; all that was queued is durable.
    Closed,
    /// Stopped for good, with the reason.
    Failed(String),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) config: Config,
    pub(super) queue: Queue,
    pub(super) view: Mutex<View>,
    /// The next offset of each stream; everything below is synced and in the view.
    pub(super) ends: Vec<watch::Sender<u64>>,
    pub(super) status: watch::Sender<Status>,
    pub(super) groups: Groups,
    pub(super) free_bytes: AtomicU64,
    /// Why the last group was not written, until one is.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(dir: PathBuf, config: Config, view: View, next: &[u64]) -> Self {
        Self {
            dir,
            queue: Queue::new(config.queue_bytes),
            config,
            view: Mutex::new(view),
            ends: next.iter().map(|next| watch::Sender::new(*next)).collect(),
            status: watch::Sender::new(Status::Open),
            groups: Groups::new(),
            free_bytes: AtomicU64::new(u64::MAX),
            trouble: Mutex::default(),
        }
    }

    pub(super) const fn stream(&self, topic: Topic, partition: u32) -> usize {
        topic.number() as usize * self.config.partitions as usize + partition as usize
    }

    /// Whether enough of the disk is free.
    pub(super) fn check_disk(&self) -> Result<(), AppendError> {
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        let floor_bytes = self.config.disk_floor_bytes;
        if free_bytes < floor_bytes {
            return Err(AppendError::DiskLow { free_bytes, floor_bytes });
        }
        Ok(())
    }

    pub(super) fn set_trouble(&self, reason: Option<String>) {
        *locked(&self.trouble) = reason;
    }

    pub(super) fn trouble(&self) -> Option<String> {
        locked(&self.trouble).clone()
    }
}
