//! Where data ends: rows with a stamp, erasures below a stamp, the ledger.
//!
//! Owns keeping and finding rows. Must not know what a record means: merging, ordering, erasing
//! and accounting are decided in `workers` and arrive here as [`Change`]s. Two engines stand
//! behind the traits: [`embedded`] and, on a cluster, a CQL database ([`scylla`]).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use millrace_schema::{Topic, UserKey};
use uuid::Uuid;

mod account;
mod document;
pub mod embedded;
mod row;
pub mod scylla;

pub use account::{AccountStore, ApiKey, Project, ReceiptKey, Scope, Webhook};
pub use document::{
    AUDIT_ENTRIES_MAX, AuditQuery, AuditRow, CHANGED_DOCUMENTS_MAX, Document, DocumentChange,
    DocumentStore, Expect, Kind,
};
pub use row::{
    Cell, Cells, Change, Claim, Commit, Completion, Delivery, DeliveryState, DeviceRow, Devices,
    Erasure, EventQuery, EventRow, IssuedReceipt, JobRow, LedgerRow, NewestReceipt, ProfileRow,
    Residue, Stamp, Version, Write,
};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a store answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A database of users' rows and of the workers' positions.
///
/// Every write carries a stamp; the larger stamp wins, whatever the order of arrival, and an
/// erasure hides what is stamped at or below it. Every call that is acknowledged may be repeated.
pub trait Store: Send + Sync + 'static {
    /// How long after its acknowledgement a write may still be forgotten by a crash. Zero: a
    /// [`Commit`] is atomic, so a position never survives the data that it stands for.
    fn settle(&self) -> Duration;

    /// Changes when any node was restarted since the last call.
    fn generation(&self) -> Answer<'_, u64>;

    /// Writes the rows of a batch, then moves its partition's ledger; both or neither where
    /// [`Store::settle`] is zero. The generation is asked of every node within the call, before its
    /// first write.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the ledger holds a newer epoch than the commit's, and
    /// [`StoreError::Restarted`] if the generation is not the commit's: the ledger has not moved.
    fn commit(&self, commit: Commit) -> Answer<'_, ()>;

    /// Makes everything acknowledged durable, where the engine can.
    fn persist(&self) -> Answer<'_, ()>;

    /// Claims a partition: writes a ledger row under a new epoch that begins at the resume point
    /// of the newest one (or at 0) and is shared with nobody, whatever a crash makes the store
    /// forget. From the first moment of the claim commits under older epochs are refused.
    fn claim(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow>;

    /// Claims a partition as [`Store::claim`] does, but from offset 0, with nothing counted: whoever
    /// works on it begins again there. What is stored stays, and the replay finds it.
    fn rewind(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow>;

    /// The newest epoch of a partition; 0 before its first claim.
    fn newest_epoch(&self, topic: Topic, partition: u32) -> Answer<'_, u64>;

    /// The newest ledger row of every partition that has one.
    fn ledger(&self) -> Answer<'_, Vec<LedgerRow>>;

    /// The stamp of the topic's offset 0. Registers the topic at its first use.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the topic was registered with another number of partitions.
    fn topic_base(&self, topic: Topic, partitions: u32) -> Answer<'_, Stamp>;

    /// The profiles of some users, in their order.
    fn profiles(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Option<ProfileRow>>>;

    /// The device rows of some users, in their order.
    fn devices(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Devices>>;

    /// All claims on some devices of a project, in the order of the devices.
    fn claims(&self, project: &str, device_ids: Vec<String>) -> Answer<'_, Vec<Vec<Claim>>>;

    /// Events of a user, newest first.
    fn events(&self, user: UserKey, query: EventQuery) -> Answer<'_, Vec<EventRow>>;

    /// The time under which each id that came without a timestamp is stored, in their order.
    fn event_times(&self, ids: Vec<(UserKey, String)>) -> Answer<'_, Vec<Option<i64>>>;

    /// The markers that erased a user's data of a topic.
    fn erasures(&self, user: UserKey, topic: Topic) -> Answer<'_, Vec<Erasure>>;

    /// A deletion job.
    fn job(&self, project: &str, job: Uuid) -> Answer<'_, Option<JobRow>>;

    /// Deletion jobs of a project, newest first, after the one at `before` (accepted, id).
    fn jobs(
        &self,
        project: &str,
        before: Option<(i64, Uuid)>,
        limit: usize,
    ) -> Answer<'_, Vec<JobRow>>;

    /// The jobs that are not completed, of all projects.
    fn open_jobs(&self) -> Answer<'_, Vec<JobRow>>;

    /// The newest receipt of a project; `None` before its first. A completion that was cut short by
    /// a crash is finished first, so that the job of the newest receipt is always completed.
    fn newest_receipt(&self, project: &str) -> Answer<'_, Option<NewestReceipt>>;

    /// Marks a job completed, forgets its sample of ids and makes its receipt the newest of its
    /// project, in one step. A second completion changes nothing and is `true`. `false`: another
    /// receipt has taken this one's number; sign anew. The job stays among the open ones until that
    /// has settled.
    fn complete_job(&self, project: &str, job: Uuid, completion: Completion) -> Answer<'_, bool>;

    /// Whether the end of a life ends the user's claims too, so that nobody need look for them.
    fn life_ends_claims(&self) -> bool;

    /// Removes what is erased from the files, where the engine does not leave that to its own
    /// compaction. May take long; what was erased before the call is gone when it returns, but for
    /// [`Store::residues`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also if too little of the disk is free to rewrite the files:
    /// they are as they were, and a later call may succeed.
    fn purge(&self) -> Answer<'_, ()>;

    /// Where what was erased may still lie after [`Store::purge`].
    fn residues(&self) -> Answer<'_, Vec<Residue>>;

    /// Writes how the delivery of a job's receipt goes.
    fn put_delivery(&self, project: &str, job: Uuid, delivery: Delivery) -> Answer<'_, ()>;

    /// The deliveries of some jobs of a project, in their order.
    fn deliveries(&self, project: &str, jobs: Vec<Uuid>) -> Answer<'_, Vec<Option<Delivery>>>;

    /// Pending deliveries, of all projects: (project, job, delivery).
    fn open_deliveries(&self) -> Answer<'_, Vec<(String, Uuid, Delivery)>>;
}

/// Why the store did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another worker has claimed the partition since.
    #[error("epoch {ours} of the ledger was superseded by {newest}")]
    Fenced {
        /// The epoch of the commit.
        ours: u64,
        /// The newest epoch.
        newest: u64,
    },
    /// A node was restarted since the worker began.
    #[error("a node of the store was restarted")]
    Restarted,
    /// Worth another try.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// It cannot work again in this process, which must end and be started anew. What was
    /// acknowledged is kept.
    #[error("the store has stopped: {0}")]
    Stopped(String),
    /// What is stored, or configured, is not as it must be. The text says what to do.
    #[error("{0}")]
    Invalid(String),
    /// The row exists already.
    #[error("{0} exists already")]
    Exists(String),
}

impl StoreError {
    /// A topic has another number of partitions than it was registered with.
    pub(crate) fn other_partitions(topic: Topic, registered: u32, wanted: u32) -> Self {
        Self::Invalid(format!(
            "topic {topic} was registered with {registered} partitions, not {wanted}: set the \
             number back, because changing it breaks the order of each user's records"
        ))
    }
}
