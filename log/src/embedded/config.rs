//! What can be configured, with its bounds.

use std::time::Duration;

use super::format::PARTITIONS_MAX;
use super::writer::TICK;
use crate::LogError;

const MIB: u64 = 1024 * 1024;

/// How an [`super::EmbeddedLog`] behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Partitions of every topic (4). Fixed when the log is created.
    pub partitions: u32,
    /// A segment of this size is followed by the next one (64 MiB).
    pub segment_bytes: u64,
    /// A segment older than this is followed by the next one (1 h), so that old records are not
    /// kept because new ones arrive slowly.
    pub segment_age: Duration,
    /// What every reader has passed is kept this long (24 h).
    pub retention: Duration,
    /// What every reader has passed is kept only while the log is not larger than this (1 GiB).
    pub retention_bytes: u64,
    /// Bytes of requests that wait to be written; more are refused (64 MiB).
    pub queue_bytes: usize,
    /// Bytes that must stay free on the disk; with less, appends are refused (256 MiB).
    pub disk_floor_bytes: u64,
    /// Bytes of the newest records that are kept in memory for readers (32 MiB).
    pub tail_bytes: usize,
    /// Groups that read every topic of [`millrace_schema::Topic::CONSUMED`]: what one of them has
    /// not committed is kept, whether it is there or not.
    pub groups: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            partitions: 4,
            segment_bytes: 64 * MIB,
            segment_age: Duration::from_secs(3_600),
            retention: Duration::from_secs(24 * 3_600),
            retention_bytes: 1_024 * MIB,
            queue_bytes: 64 * MIB as usize,
            disk_floor_bytes: 256 * MIB,
            tail_bytes: 32 * MIB as usize,
            groups: vec!["workers".to_owned()],
        }
    }
}

impl Config {
    /// How long a record is kept at most, once every reader has passed it: its segment is followed
    /// by the next one when it is too old, and goes when its newest record is; each is found by the
    /// writer when it looks, about once a tick.
    pub(super) fn longest(&self) -> Duration {
        let looked = 4 * TICK;
        self.retention.saturating_add(self.segment_age).saturating_add(looked)
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        let invalid = |text: String| Err(LogError::Invalid(text));
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return invalid(format!(
                "{} partitions: a topic has 1 to {PARTITIONS_MAX}",
                self.partitions
            ));
        }
        if self.queue_bytes as u64 > 1_024 * MIB {
            return invalid(format!("queue_bytes {}: at most 1 GiB", self.queue_bytes));
        }
        if self.segment_bytes > 4_096 * MIB {
            return invalid(format!("segment_bytes {}: at most 4 GiB", self.segment_bytes));
        }
        Ok(())
    }
}
