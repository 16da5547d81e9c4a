//! Where records wait: append → durable acknowledgement, read in order.
//!
//! Owns durability and order. Must not know what a record means: keys, headers and values are
//! bytes. Two engines stand behind [`Log`]: [`embedded`] and, on a cluster, [`kafka`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use millrace_schema::Topic;

mod batch;
pub mod embedded;
pub mod kafka;
mod sync;

pub use batch::{Batch, Entry};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A log of topics, each cut into partitions, each a sequence of records from offset 0.
pub trait Log: Send + Sync + 'static {
    /// Number of partitions of every topic.
    fn partitions(&self) -> u32;

    /// Appends all records of one request, in order.
    ///
    /// The batch is in the queue when the call returns, in the order of the calls; the future
    /// resolves when all of it is durable. Dropping the future takes nothing back.
    ///
    /// # Errors
    /// Not all of it is known to be durable; some of it may be all the same.
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>>;

    /// How durable a record is once it is acknowledged.
    fn durability(&self) -> Durability;

    /// Joins `group` as a consumer of a topic. Dropping the subscription and its readers leaves.
    ///
    /// # Errors
    /// It cannot be done on this machine. An engine that is away is waited for by
    /// [`Subscription::next`].
    fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Subscription>, LogError>;

    /// The first offset that is still held and the next one to be written, of every partition in
    /// order.
    ///
    /// # Errors
    /// The engine is not to be reached.
    fn bounds(&self, topic: Topic) -> BoxFuture<'_, Result<Vec<Bounds>, LogError>>;

    /// How long after its append a record of a topic may still be found, at most, once every group
    /// has passed it: retention, plus what the engine takes to act on it. `None`: it is not known,
    /// or for ever.
    ///
    /// # Errors
    /// The engine is not to be reached.
    fn retention(&self, topic: Topic) -> BoxFuture<'_, Result<Option<Duration>, LogError>>;

    /// Whether appends can be expected to succeed; if not, why.
    ///
    /// # Errors
    /// The reason, for readiness and for people.
    fn health(&self) -> Result<(), String>;

    /// Waits until everything queued is durable (or has failed), then refuses what comes.
    ///
    /// # Errors
    /// Something queued did not become durable.
    fn close(&self) -> BoxFuture<'_, Result<(), LogError>>;
}

/// A membership in a consumer group.
pub trait Subscription: Send {
    /// The next partition that is assigned to this member; `None` once the log is closed.
    /// Cancel safe.
    ///
    /// # Errors
    /// The membership is lost for good.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Box<dyn Reader>>, LogError>>;
}

/// One assigned partition. While it lives and is held, nobody else of the group is given the
/// partition; dropping it lets go.
pub trait Reader: Send {
    /// The topic.
    fn topic(&self) -> Topic;

    /// The partition.
    fn partition(&self) -> u32;

    /// Whether the partition is still this member's. One that was revoked never comes back to this
    /// reader; who lost it must not begin anything, and drops the reader soon.
    fn is_held(&self) -> bool;

    /// Continues at `offset`; must be called before the first read. An offset below the first one
    /// held continues there, which the reader of the records sees as a gap.
    ///
    /// # Errors
    /// [`ReadError::BeyondEnd`] if the log ends before `offset`: it was truncated or re-created.
    fn seek(&mut self, offset: u64) -> BoxFuture<'_, Result<(), ReadError>>;

    /// The next records, at least one and about `max_bytes` of them; waits for the first.
    /// Only what is durable is read. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError::Revoked`] when the partition is taken away: finish, then drop the reader.
    fn read(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Vec<LogRecord>, ReadError>>;

    /// Says that records below `offset` are not needed again by this group. The embedded log
    /// keeps what is not committed; elsewhere it serves lag tools only.
    fn commit(&mut self, offset: u64);
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place in the partition.
    pub offset: u64,
    /// What partitioned it.
    pub key: Bytes,
    /// Names and values; mostly none.
    pub headers: Vec<(String, String)>,
    /// The record.
    pub value: Bytes,
}

/// The offsets of a partition: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that is still held.
    pub start: u64,
    /// The next offset to be written; everything below is durable.
    pub end: u64,
}

/// A batch that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// How durable.
    pub durability: Durability,
    /// The offset of each record, in the order of the batch.
    pub offsets: Vec<u64>,
}

/// How durable an acknowledged record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to this machine's disk.
    Fsynced,
    /// Held by at least two brokers.
    Replicated,
    /// Held by the partition's leader only.
    Leader,
    /// Synced to the front door's own disk, to be handed over when the log is back.
    Spooled,
}

impl Durability {
    /// The value of the `Millrace-Ack` header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsynced => "fsynced",
            Self::Replicated => "replicated",
            Self::Leader => "leader",
            Self::Spooled => "spooled",
        }
    }
}

/// Why a batch is not known to be durable. All of these are worth a later try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue is full.
    #[error("the log's queue is full ({limit_bytes} bytes)")]
    Full {
        /// The queue's limit.
        limit_bytes: usize,
    },
    /// Too little disk is free.
    #[error("{free_bytes} bytes of disk are free, and {floor_bytes} must stay so")]
    DiskLow {
        /// What is free.
        free_bytes: u64,
        /// What must stay free.
        floor_bytes: u64,
    },
    /// No acknowledgement came in time.
    #[error("the log did not acknowledge within {0:?}")]
    TimedOut(Duration),
    /// The log is not to be reached, or has stopped.
    #[error("the log is not available: {0}")]
    Unavailable(String),
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the file.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What is on disk (or on the broker) is not as it must be. The text says what to do.
    #[error("{0}")]
    Invalid(String),
    /// The log is not to be reached, or has stopped.
    #[error("the log is not available: {0}")]
    Unavailable(String),
}

/// Why a partition yields no records.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The partition is taken away from this member.
    #[error("the partition was revoked")]
    Revoked,
    /// The position lies beyond the log's end.
    #[error(
        "offset {offset} lies beyond the end {end}: the log was truncated or re-created under its \
         reader"
    )]
    BeyondEnd {
        /// The position asked for.
        offset: u64,
        /// The log's end.
        end: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}
