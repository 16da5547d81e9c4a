//! What the writer does besides: the next segment, the removal of old ones, the disk's free space.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use metrics::gauge;
use millrace_schema::Topic;
use millrace_schema::disk::free_bytes;
use millrace_schema::time::wall_clock_us;

use super::disk::{self, segment_path};
use super::format::SegmentHeader;
use super::shared::Shared;
use super::view::{Segment, View};
use super::writer::{Failure, Stopped, TICK, Writer};
use crate::sync::locked;

impl Writer {
    /// Whether the next group belongs into another segment.
    pub(super) fn segment_is_full(&self) -> bool {
        self.segment_has_records() && self.end >= self.shared.config.segment_bytes
    }

    fn segment_has_records(&self) -> bool {
        self.end > self.header.data_start() as u64
    }

    /// Begins the next segment.
    pub(super) fn roll(&mut self) -> Result<(), Failure> {
        self.trim().map_err(|error| {
            Failure::Fatal(format!("ending segment {} failed: {error}", self.header.number))
        })?;
        let header = SegmentHeader {
            number: self.header.number + 1,
            salt: self.header.salt,
            partitions: self.header.partitions,
            created_us: wall_clock_us(),
            next: self.next.clone(),
        };
        let file = disk::prepare(&self.shared.dir, header.number, &header.encode());
        let file = file.map_err(|error| Failure::Refused(error.to_string()))?;
        disk::install(&self.shared.dir, header.number)
            .map_err(|error| Failure::Fatal(error.to_string()))?;
        self.file = file;
        self.end = header.data_start() as u64;
        self.prepared = self.end;
        self.header = header.clone();
        let segment = Segment::new(header, self.end);
        locked(&self.shared.view).segments.push_back(segment);
        Ok(())
    }

    /// Looks after everything, at most once a tick (or when much was written since).
    pub(super) fn upkeep(&mut self) -> Result<(), Stopped> {
        if self.unchecked_bytes >= (self.shared.config.disk_floor_bytes / 4).max(1) {
            self.look_up_free_bytes();
        }
        if self.ticked.elapsed() < TICK {
            return Ok(());
        }
        self.ticked = Instant::now();
        self.look_up_free_bytes();
        let age_us = wall_clock_us().saturating_sub(self.header.created_us);
        if self.segment_has_records() && age_us > micros(self.shared.config.segment_age) {
            match self.roll() {
                Ok(()) => {}
                Err(Failure::Refused(reason)) => {
                    tracing::warn!(%reason, "no new segment could be begun");
                }
                Err(Failure::Fatal(reason)) => return Err(self.fail(reason)),
            }
        }
        self.remove_old();
        Ok(())
    }

    fn look_up_free_bytes(&mut self) {
        self.unchecked_bytes = 0;
        self.shared.look_up_free_bytes();
    }

    /// Removes segments, oldest first, that every reader has passed and that are too old or too
    /// many.
    fn remove_old(&self) {
        let mut removed = false;
        while let Some(number) = self.shared.removable() {
            let path = segment_path(&self.shared.dir, number);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "an old segment was not removed");
                break;
            }
            locked(&self.shared.view).segments.pop_front();
            removed = true;
        }
        if removed && let Err(error) = disk::sync_folder(&self.shared.dir) {
            tracing::warn!(%error, "the removal of old segments may not be durable yet");
        }
        let view = locked(&self.shared.view);
        gauge!("millrace_log_segments").set(view.segments.len() as f64);
        gauge!("millrace_log_disk_bytes").set(view.disk_bytes() as f64);
    }
}

impl Shared {
    pub(super) fn look_up_free_bytes(&self) {
        match free_bytes(&self.dir) {
            Ok(bytes) => self.free_bytes.store(bytes, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "the disk's free space is not known"),
        }
    }

    /// The oldest segment, if it may go.
    fn removable(&self) -> Option<u64> {
        let view = locked(&self.view);
        let oldest = view.segments.front()?;
        let next = view.segments.get(1)?;
        let over = self.is_over(&view, oldest);
        (over && self.is_passed(&next.header)).then_some(oldest.header.number)
    }

    /// Whether a segment's retention is over: by age, by size, or because the disk is needed.
    fn is_over(&self, view: &View, segment: &Segment) -> bool {
        let age_us = wall_clock_us().saturating_sub(segment.newest_us);
        age_us > micros(self.config.retention)
            || view.disk_bytes() > self.config.retention_bytes
            || self.check_disk().is_err()
    }

    /// Whether every reader has passed everything before the segment of `header`.
    fn is_passed(&self, header: &SegmentHeader) -> bool {
        let partitions = header.partitions as usize;
        header.next.iter().enumerate().all(|(stream, end)| {
            let topic = Topic::ALL.get(stream / partitions);
            let consumed = topic.is_some_and(|topic| Topic::CONSUMED.contains(topic));
            let awaited = if consumed { self.config.groups.as_slice() } else { &[] };
            self.groups.passed(awaited, stream, *end)
        })
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
