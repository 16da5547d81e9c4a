//! The embedded log: one append-only stream of segment files for all topics and partitions.
//!
//! Owns one folder, one thread that writes, and the rule of what may be removed from it. Must not
//! know what a record means.
//!
//! Requests wait in a queue bounded in bytes. The writer takes what waits, groups it by topic and
//! partition, writes the group behind the newest segment and pays one `fdatasync` for all of it;
//! only then are callers answered and readers shown the records. What is on disk is told in
//! `format.rs`, what a crash may leave behind and how that is judged in `scan.rs`.
//!
//! A segment is removed when its retention is over, by age or by the log's size, and every
//! reader has passed it: each of [`Config::groups`] in every topic that workers consume, whether
//! it is there or not, and whoever else is reading. Other topics have no reader that must come.
//! What groups have committed is not kept over a restart: nothing is removed until they have
//! committed again.
//!
//! A partition has one reader in a group at a time; a second subscription gets it when the first
//! one's reader is dropped. A subscription gives each partition out once.

mod advance;
mod config;
mod disk;
mod format;
mod groups;
mod inspect;
mod layout;
mod queue;
mod reader;
mod recover;
mod repair;
mod report;
mod scan;
mod shared;
mod subscription;
#[cfg(test)]
mod tests;
mod upkeep;
mod view;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millrace_schema::Topic;
use tokio::sync::oneshot;

pub use advance::advance;
pub use config::Config;
pub use inspect::{inspect, inspect_segment, partitions};
pub use repair::repair;
pub use report::{Cut, DamageReport, Lost, PartitionReport, Repair, Report, SegmentReport};

use self::queue::Request;
use self::recover::{Recovered, recover};
use self::shared::{Shared, Status};
use self::subscription::Member;
use self::view::View;
use self::writer::Writer;
use crate::sync::locked;
use crate::{
    AppendError, Appended, Batch, Bounds, BoxFuture, Durability, Log, LogError, Subscription,
};

/// A log in a folder of this machine. Clones are the same log; dropping the last one writes what
/// is queued and lets go of the folder.
#[derive(Clone, Debug)]
pub struct EmbeddedLog {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, or creates it. Reads all of it, at the speed of the disk; call it
    /// where blocking is allowed.
    ///
    /// # Errors
    /// Another process uses the folder, records that were acknowledged are damaged, the
    /// partitions are not as configured, or the disk fails.
    pub fn open(dir: &Path, config: Config) -> Result<Self, LogError> {
        config.check()?;
        let recovered = recover(dir, &config)?;
        Self::start(dir, config, recovered)
    }

    fn start(dir: &Path, config: Config, recovered: Recovered) -> Result<Self, LogError> {
        let Recovered { segments, start } = recovered;
        let view = View::new(segments, start.next.len(), config.tail_bytes);
        let shared = Arc::new(Shared::new(dir.to_owned(), config, view, &start.next));
        shared.look_up_free_bytes();
        let writer = Writer::new(Arc::clone(&shared), start);
        let thread = thread::Builder::new().name("log-writer".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(|source| LogError::Io {
            what: "cannot start the log's writer".to_owned(),
            source,
        })?;
        let writer = Mutex::new(Some(thread));
        Ok(Self { handle: Arc::new(Handle { shared, writer }) })
    }

    /// Waits until the log has stopped for good, and says why: the process must then end with an
    /// error and be started anew. Never resolves while the log works or after it was closed.
    pub fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        let mut status = self.handle.shared.status.subscribe();
        async move {
            loop {
                if let Status::Failed(reason) = &*status.borrow_and_update() {
                    return reason.clone();
                }
                if status.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Puts a request into the queue.
    fn enqueue(
        &self,
        batch: Batch,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendError>>, AppendError> {
        let shared = &self.handle.shared;
        shared.check_disk()?;
        let mut bytes = 0_usize;
        for entry in batch.entries() {
            if entry.partition >= shared.config.partitions {
                return Err(AppendError::Unavailable(format!(
                    "a record is for partition {} of {}",
                    entry.partition, shared.config.partitions
                )));
            }
            bytes = bytes.saturating_add(format::record_len(&entry));
        }
        let (done, answer) = oneshot::channel();
        shared.queue.push(Request { batch, bytes, done })?;
        Ok(answer)
    }
}

impl Log for EmbeddedLog {
    fn partitions(&self) -> u32 {
        self.handle.shared.config.partitions
    }

    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        if batch.is_empty() {
            let appended = Appended { durability: Durability::Fsynced, offsets: Vec::new() };
            return Box::pin(std::future::ready(Ok(appended)));
        }
        match self.enqueue(batch) {
            Ok(answer) => Box::pin(async move {
                let stopped = || AppendError::Unavailable("the log has stopped".to_owned());
                answer.await.unwrap_or_else(|_| Err(stopped()))
            }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn durability(&self) -> Durability {
        Durability::Fsynced
    }

    fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Subscription>, LogError> {
        let shared = Arc::clone(&self.handle.shared);
        Ok(Box::new(Member::new(shared, group, topic)))
    }

    fn bounds(&self, topic: Topic) -> BoxFuture<'_, Result<Vec<Bounds>, LogError>> {
        let shared = &self.handle.shared;
        let streams = (0..shared.config.partitions).map(|p| shared.stream(topic, p));
        let bounds = streams.filter_map(|stream| {
            let end = *shared.ends.get(stream)?.borrow();
            Some(Bounds { start: locked(&shared.view).start(stream), end })
        });
        Box::pin(std::future::ready(Ok(bounds.collect())))
    }

    /// The time counts while the log is open.
    fn retention(&self, _: Topic) -> BoxFuture<'_, Result<Option<Duration>, LogError>> {
        Box::pin(std::future::ready(Ok(Some(self.handle.shared.config.longest()))))
    }

    fn health(&self) -> Result<(), String> {
        let shared = &self.handle.shared;
        match &*shared.status.borrow() {
            Status::Open => {}
            Status::Closed => return Err("the log is closed".to_owned()),
            Status::Failed(reason) => return Err(format!("the log has stopped: {reason}")),
        }
        shared.check_disk().map_err(|error| error.to_string())?;
        shared.trouble().map_or(Ok(()), Err)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        let shared = &self.handle.shared;
        shared.queue.close("it is closed");
        let mut status = shared.status.subscribe();
        Box::pin(async move {
            let last = status.wait_for(|status| *status != Status::Open).await;
            match last.as_deref() {
                Ok(Status::Failed(reason)) => Err(LogError::Unavailable(reason.clone())),
                _ => Ok(()),
            }
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close("it is closed");
        if let Some(thread) = locked(&self.writer).take() {
            // A panic of the writer has been told through the status.
            let _ = thread.join();
        }
    }
}
