//! The keyspaces, and how each is opened.

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use millrace_schema::Topic;

use crate::StoreError;
use crate::embedded::compaction;
use crate::embedded::failure::failed;

/// A keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    Events,
    EventTimes,
    Profiles,
    Devices,
    Claims,
    Erasures,
    Jobs,
    JobsByTime,
    OpenJobs,
    Ledger,
    Topics,
    Receipts,
    Deliveries,
    OpenDeliveries,
    Projects,
    Keys,
    Documents,
    Audit,
    ReceiptKeys,
    Webhooks,
    Upkeep,
}

impl Space {
    pub(super) const ALL: [Self; 21] = [
        Self::Events,
        Self::EventTimes,
        Self::Profiles,
        Self::Devices,
        Self::Claims,
        Self::Erasures,
        Self::Jobs,
        Self::JobsByTime,
        Self::OpenJobs,
        Self::Ledger,
        Self::Topics,
        Self::Receipts,
        Self::Deliveries,
        Self::OpenDeliveries,
        Self::Projects,
        Self::Keys,
        Self::Documents,
        Self::Audit,
        Self::ReceiptKeys,
        Self::Webhooks,
        Self::Upkeep,
    ];

    /// Those whose rows an erasure makes dead: of a user, or of a claim's holder, in this topic.
    pub(super) const ERASABLE: [(Self, Topic); 5] = [
        (Self::Events, Topic::Events),
        (Self::EventTimes, Topic::Events),
        (Self::Profiles, Topic::Profiles),
        (Self::Devices, Topic::Devices),
        (Self::Claims, Topic::Devices),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::EventTimes => "event_times",
            Self::Profiles => "profiles",
            Self::Devices => "devices",
            Self::Claims => "claims",
            Self::Erasures => "erasures",
            Self::Jobs => "jobs",
            Self::JobsByTime => "jobs_by_time",
            Self::OpenJobs => "open_jobs",
            Self::Ledger => "ledger",
            Self::Topics => "topics",
            Self::Receipts => "receipts",
            Self::Deliveries => "deliveries",
            Self::OpenDeliveries => "open_deliveries",
            Self::Projects => "projects",
            Self::Keys => "keys",
            Self::Documents => "documents",
            Self::Audit => "audit",
            Self::ReceiptKeys => "receipt_keys",
            Self::Webhooks => "webhooks",
            Self::Upkeep => "upkeep",
        }
    }

    /// Whether it grows with the users' data.
    const fn is_large(self) -> bool {
        matches!(
            self,
            Self::Events
                | Self::EventTimes
                | Self::Profiles
                | Self::Devices
                | Self::Claims
                | Self::Erasures
        )
    }
}

/// Write buffer of a keyspace that stays small. Every commit writes its ledger row anew, and old
/// versions stay in the buffer until it is flushed.
const SMALL_BUFFER_BYTES: u64 = 1024 * 1024;

/// The open keyspaces.
pub(super) struct Spaces {
    events: Keyspace,
    event_times: Keyspace,
    profiles: Keyspace,
    devices: Keyspace,
    claims: Keyspace,
    erasures: Keyspace,
    jobs: Keyspace,
    jobs_by_time: Keyspace,
    open_jobs: Keyspace,
    ledger: Keyspace,
    topics: Keyspace,
    receipts: Keyspace,
    deliveries: Keyspace,
    open_deliveries: Keyspace,
    projects: Keyspace,
    keys: Keyspace,
    documents: Keyspace,
    audit: Keyspace,
    receipt_keys: Keyspace,
    webhooks: Keyspace,
    upkeep: Keyspace,
}

impl Spaces {
    /// Opens all keyspaces. One that exists keeps the buffer size and the strategy it was made with.
    pub(super) fn open(db: &Database, write_buffer_bytes: u64) -> Result<Self, StoreError> {
        let open = |space: Space| {
            let buffer = if space.is_large() { write_buffer_bytes } else { SMALL_BUFFER_BYTES };
            let options = || {
                let options = KeyspaceCreateOptions::default().max_memtable_size(buffer);
                options.compaction_strategy(compaction::never())
            };
            db.keyspace(space.name(), options).map_err(failed)
        };
        Ok(Self {
            events: open(Space::Events)?,
            event_times: open(Space::EventTimes)?,
            profiles: open(Space::Profiles)?,
            devices: open(Space::Devices)?,
            claims: open(Space::Claims)?,
            erasures: open(Space::Erasures)?,
            jobs: open(Space::Jobs)?,
            jobs_by_time: open(Space::JobsByTime)?,
            open_jobs: open(Space::OpenJobs)?,
            ledger: open(Space::Ledger)?,
            topics: open(Space::Topics)?,
            receipts: open(Space::Receipts)?,
            deliveries: open(Space::Deliveries)?,
            open_deliveries: open(Space::OpenDeliveries)?,
            projects: open(Space::Projects)?,
            keys: open(Space::Keys)?,
            documents: open(Space::Documents)?,
            audit: open(Space::Audit)?,
            receipt_keys: open(Space::ReceiptKeys)?,
            webhooks: open(Space::Webhooks)?,
            upkeep: open(Space::Upkeep)?,
        })
    }

    pub(super) const fn get(&self, space: Space) -> &Keyspace {
        match space {
            Space::Events => &self.events,
            Space::EventTimes => &self.event_times,
            Space::Profiles => &self.profiles,
            Space::Devices => &self.devices,
            Space::Claims => &self.claims,
            Space::Erasures => &self.erasures,
            Space::Jobs => &self.jobs,
            Space::JobsByTime => &self.jobs_by_time,
            Space::OpenJobs => &self.open_jobs,
            Space::Ledger => &self.ledger,
            Space::Topics => &self.topics,
            Space::Receipts => &self.receipts,
            Space::Deliveries => &self.deliveries,
            Space::OpenDeliveries => &self.open_deliveries,
            Space::Projects => &self.projects,
            Space::Keys => &self.keys,
            Space::Documents => &self.documents,
            Space::Audit => &self.audit,
            Space::ReceiptKeys => &self.receipt_keys,
            Space::Webhooks => &self.webhooks,
            Space::Upkeep => &self.upkeep,
        }
    }
}
