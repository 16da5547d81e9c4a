//! The writer thread: drains the queue, writes one group, syncs once, tells everyone.
//!
//! Owns the newest segment's file, the next offsets and the folder's lock. A sync that failed is
//! never tried again: the kernel may have dropped what it could not write, and a second sync
//! would say all is well. The log stops instead, and the process must.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use millrace_schema::time::wall_clock_us;

use super::format::SegmentHeader;
use super::layout::Buckets;
use super::queue::{Next, Request};
use super::shared::{Shared, Status};
use super::view::Group;
use crate::sync::locked;
use crate::{AppendError, Appended, Durability};

/// Bytes of requests that are synced together at most (unless one alone is longer).
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How often disk space and retention are looked after.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Zeros written ahead of small groups. A sync that needs not record a new length of the file
/// costs about half; a large group would only pay for writing twice as much.
static AHEAD: [u8; 1024 * 1024] = [0; 1024 * 1024];
const SMALL_GROUP_BYTES: usize = AHEAD.len() / 8;

/// Why a group is not durable.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of it is left in the file; the next one may succeed.
    Refused(String),
    /// What is on disk is not known.
    Fatal(String),
}

/// The log has stopped, and everyone has been told.
#[derive(Debug)]
pub(super) struct Stopped;

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) file: File,
    pub(super) header: SegmentHeader,
    /// Where the next group begins.
    pub(super) end: u64,
    /// Where the zeros written ahead end.
    pub(super) prepared: u64,
    pub(super) next: Vec<u64>,
    buckets: Buckets,
    requests: Vec<Request>,
    pub(super) ticked: Instant,
    /// Bytes written since free space was looked up.
    pub(super) unchecked_bytes: u64,
    lock: Option<File>,
}

/// What recovery hands over.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) file: File,
    pub(super) header: SegmentHeader,
    pub(super) end: u64,
    pub(super) next: Vec<u64>,
    pub(super) lock: File,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, start: Start) -> Self {
        Self {
            shared,
            file: start.file,
            header: start.header,
            end: start.end,
            prepared: start.end,
            buckets: Buckets::new(start.next.len()),
            next: start.next,
            requests: Vec::new(),
            ticked: Instant::now(),
            unchecked_bytes: 0,
            lock: Some(start.lock),
        }
    }

    /// Works until the log is closed or fails.
    pub(super) fn run(mut self) {
        loop {
            let worked = match self.shared.queue.take(&mut self.requests, GROUP_BYTES, TICK) {
                Next::Write => self.commit(),
                Next::Idle => {
                    // Nothing tells whether a write would succeed again but the next one.
                    self.shared.set_trouble(None);
                    Ok(())
                }
                Next::Closed => break,
            };
            if worked.and_then(|()| self.upkeep()).is_err() {
                return;
            }
        }
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "the zeros behind the last record stay");
        }
        self.stop(Status::Closed);
    }

    /// Stops the log because what is on disk is not known any more.
    pub(super) fn fail(&mut self, reason: String) -> Stopped {
        tracing::error!(%reason, "the log has stopped; the process must be started anew");
        self.stop(Status::Failed(reason));
        Stopped
    }

    /// Lets go of the folder, then tells everyone.
    fn stop(&mut self, status: Status) {
        self.lock = None;
        let reason = match &status {
            Status::Failed(reason) => reason,
            Status::Open | Status::Closed => "it is closed",
        };
        self.shared.queue.abandon(reason);
        self.shared.status.send_replace(status);
    }

    /// Makes the requests taken durable and answers them.
    fn commit(&mut self) -> Result<(), Stopped> {
        let rolled = if self.segment_is_full() { self.roll() } else { Ok(()) };
        let now_us = wall_clock_us();
        let (group, answers) =
            self.buckets.lay_out(&self.requests, &self.next, &self.header, self.end, now_us);
        let written = rolled.and_then(|()| self.write(&group));
        let (trouble, outcome) = match written {
            Ok(()) => {
                self.publish(&group);
                (None, Ok(()))
            }
            Err(Failure::Refused(reason)) => (Some(reason), Ok(())),
            Err(Failure::Fatal(reason)) => (Some(reason.clone()), Err(self.fail(reason))),
        };
        self.shared.set_trouble(trouble.clone());
        let bytes = self.requests.iter().map(|request| request.bytes).sum();
        let queued_bytes = self.shared.queue.release(bytes);
        gauge!("millrace_log_queue_bytes").set(queued_bytes as f64);
        for (request, offsets) in self.requests.drain(..).zip(answers) {
            let answer = match &trouble {
                None => Ok(Appended { durability: Durability::Fsynced, offsets }),
                Some(reason) => Err(AppendError::Unavailable(reason.clone())),
            };
            // A caller that has gone needs no answer.
            let _ = request.done.send(answer);
        }
        outcome
    }

    fn write(&mut self, group: &Group) -> Result<(), Failure> {
        if let Err(error) = self.file.write_all_at(&group.bytes, group.start) {
            let what = format!("writing segment {} failed: {error}", self.header.number);
            tracing::warn!(%error, segment = self.header.number, "a write failed");
            self.prepared = group.start;
            return match self.file.set_len(group.start) {
                Ok(()) => Err(Failure::Refused(what)),
                Err(error) => Err(Failure::Fatal(format!("{what}; cutting it off too: {error}"))),
            };
        }
        self.write_ahead(group);
        let started = Instant::now();
        self.file.sync_data().map_err(|error| {
            Failure::Fatal(format!("syncing segment {} failed: {error}", self.header.number))
        })?;
        histogram!("millrace_log_sync_seconds").record(started.elapsed().as_secs_f64());
        Ok(())
    }

    fn write_ahead(&mut self, group: &Group) {
        let end = group.start + group.bytes.len() as u64;
        if end <= self.prepared || group.bytes.len() > SMALL_GROUP_BYTES {
            return;
        }
        // Less will do: these bytes mean nothing.
        if self.file.write_all_at(&AHEAD, end).is_ok() {
            self.prepared = end + AHEAD.len() as u64;
        }
    }

    /// Cuts the zeros behind the last group off.
    pub(super) fn trim(&mut self) -> std::io::Result<()> {
        self.prepared = self.end;
        self.file.set_len(self.end)?;
        self.file.sync_all()
    }

    /// Shows a synced group to the readers.
    fn publish(&mut self, group: &Group) {
        self.end = group.start + group.bytes.len() as u64;
        self.unchecked_bytes += group.bytes.len() as u64;
        locked(&self.shared.view).publish(group);
        let mut records = 0;
        for batch in &group.batches {
            records += u64::from(batch.header.count);
            let stream = batch.header.stream(self.header.partitions);
            if let Some(next) = self.next.get_mut(stream) {
                *next = batch.header.end();
            }
            if let Some(end) = self.shared.ends.get(stream) {
                end.send_replace(batch.header.end());
            }
        }
        counter!("millrace_log_appended_records_total").increment(records);
        counter!("millrace_log_appended_bytes_total").increment(group.bytes.len() as u64);
    }
}

impl Drop for Writer {
    /// A panic must not leave callers waiting.
    fn drop(&mut self) {
        let open = *self.shared.status.borrow() == Status::Open;
        if open {
            self.stop(Status::Failed("its writer has died".to_owned()));
        }
    }
}
