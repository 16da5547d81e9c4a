//! Rows as they are read, changes as they are written; the same for every engine.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_schema::record::{Fence, Job, Reach};
use millrace_schema::time::Micros;
use millrace_schema::{Counts, Topic, UserKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The place of a record in its topic, as a number that only grows: base of the topic + offset.
/// It is the timestamp of everything that the record writes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Stamp(pub i64);

impl Stamp {
    /// The stamp of an offset in a topic of this base.
    #[must_use]
    pub fn at(self, offset: u64) -> Self {
        Self(self.0.saturating_add_unsigned(offset))
    }
}

/// What decides between two values of a property: the later client time, then the later stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The time of the change, microseconds.
    pub time_us: Micros,
    /// The stamp of the record that changed it (of its first acceptance).
    pub stamp: Stamp,
}

/// One property (or device field): its value and what decides about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// What decides.
    pub version: Version,
    /// The JSON text as sent; `None` after a removal, which is remembered.
    pub value: Option<String>,
}

/// Properties by name.
pub type Cells = BTreeMap<String, Cell>;

/// A user's profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRow {
    /// Of the latest write of the row; of a property, see its cell.
    pub stamp: Stamp,
    /// When the user was first registered (since the last erasure), microseconds.
    pub created_us: Micros,
    /// When the profile last changed, microseconds.
    pub updated_us: Micros,
    /// The properties.
    pub cells: Cells,
}

/// One device of a user. Properties are named `properties.{name}`, own fields by their name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// When the row last changed, microseconds.
    pub updated_us: Micros,
    /// The fields and properties.
    pub cells: Cells,
}

/// A user's devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// Rows stamped at or below it are of a life that has ended.
    pub life: Option<Stamp>,
    /// Rows by device id.
    pub rows: BTreeMap<String, DeviceRow>,
    /// Devices of an ended life whose rows are still to be erased. They are nobody's to read, but
    /// they lead an erasure that was cut short to the claims that it must erase.
    pub hidden: Vec<String>,
}

/// What one user (or nobody) has to say about who owns a device. The owner is the holder of the
/// latest link, unless the same holder's `unlinked` is later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The user; `None`: the device was unlinked without naming one, so `linked` is to nobody.
    pub holder: Option<String>,
    /// The latest link.
    pub linked: Option<Version>,
    /// When the front door took it, microseconds. Between holders whose links are of the same time
    /// it decides, because stamps of different partitions do not compare.
    pub received_us: Micros,
    /// The latest unlink by this holder.
    pub unlinked: Option<Version>,
}

impl Claim {
    /// Who owns a device, given all claims on it.
    pub fn owner(claims: &[Self]) -> Option<&str> {
        // Two front doors may take two links in the same microsecond; then the holder's name
        // decides, so that every reader finds the same owner.
        let order = |claim: &&Self| {
            let time_us = claim.linked.map(|linked| linked.time_us);
            (time_us, claim.received_us, claim.holder.clone())
        };
        let latest = claims.iter().max_by_key(order)?;
        let linked = latest.linked?;
        let left = latest.unlinked.is_some_and(|unlinked| unlinked > linked);
        latest.holder.as_deref().filter(|_| !left)
    }
}

/// An event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its time, microseconds.
    pub time_us: Micros,
    /// Its id.
    pub id: String,
    /// The stamp at which it was written.
    pub stamp: Stamp,
    /// The log record as it was accepted.
    pub payload: Bytes,
}

/// Which events of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// At or after, microseconds.
    pub from_us: Option<Micros>,
    /// Before, microseconds.
    pub to_us: Option<Micros>,
    /// Strictly older than this (time, id): where the last page ended.
    pub before: Option<(Micros, String)>,
    /// At most so many.
    pub limit: usize,
}

/// A marker that erased a user's data of a topic; what detours are checked against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// By which job.
    pub job: Uuid,
    /// The marker's offset.
    pub offset: u64,
    /// When the front door took the job, microseconds.
    pub received_us: Micros,
}

/// One write, at its stamp.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The stamp of the record that causes it.
    pub stamp: Stamp,
    /// What it changes.
    pub change: Change,
}

/// What a write changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An event; its identity is (user, time, id).
    PutEvent {
        /// Whose.
        user: UserKey,
        /// Its time.
        time_us: Micros,
        /// Its id.
        id: String,
        /// The log record as it was accepted.
        payload: Bytes,
        /// When it may go, microseconds.
        expires_us: Micros,
    },
    /// The time under which an id that came without a timestamp is stored.
    PutEventTime {
        /// Whose.
        user: UserKey,
        /// The id.
        id: String,
        /// Its time.
        time_us: Micros,
        /// When it may go, microseconds.
        expires_us: Micros,
    },
    /// Erases the user's events and id times at or below the stamp.
    EraseEvents {
        /// Whose.
        user: UserKey,
    },
    /// Sets cells of a profile; others stay.
    PutProfile {
        /// Whose.
        user: UserKey,
        /// The row's `created_us`.
        created_us: Micros,
        /// The row's `updated_us`.
        updated_us: Micros,
        /// The changed cells only.
        cells: Cells,
    },
    /// Erases the profile at or below the stamp.
    EraseProfile {
        /// Whose.
        user: UserKey,
    },
    /// Sets cells of a device row; others stay.
    PutDevice {
        /// Whose.
        user: UserKey,
        /// Which.
        device_id: String,
        /// The row's `updated_us`.
        updated_us: Micros,
        /// The changed cells only.
        cells: Cells,
    },
    /// Ends a life: the user's device rows at or below the stamp are hidden from now on.
    EndLife {
        /// Whose.
        user: UserKey,
    },
    /// Erases the user's device rows at or below the stamp.
    EraseDevices {
        /// Whose.
        user: UserKey,
    },
    /// Sets a holder's claim on a device.
    PutClaim {
        /// The project.
        project: String,
        /// The device.
        device_id: String,
        /// The claim, merged by the writer.
        claim: Claim,
    },
    /// Erases a holder's claim on a device at or below the stamp.
    EraseClaim {
        /// The holder.
        user: UserKey,
        /// The device.
        device_id: String,
    },
    /// Remembers a marker, for detours. Each is a row of its own, by its offset: a job that is
    /// repeated has several, and a replay must find the one that stood before.
    PutErasure {
        /// Whose data.
        user: UserKey,
        /// Of which topic.
        topic: Topic,
        /// The marker.
        erasure: Erasure,
    },
    /// Registers a deletion job.
    PutJob {
        /// The job.
        job: JobRow,
    },
}

/// A deletion job as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// The project.
    pub project: String,
    /// When the front door took it, microseconds.
    pub accepted_us: Micros,
    /// The sealed job.
    pub job: Job,
    /// How it ended, once it has.
    pub completion: Option<Completion>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// When, microseconds.
    pub completed_us: Micros,
    /// How many of the sampled users were read back.
    pub sampled: u64,
    /// How many of them still had data at or below their marker. Above zero the job has failed.
    pub found: u64,
    /// What proves it; `None` if the job has failed.
    pub receipt: Option<IssuedReceipt>,
}

impl Completion {
    /// The share of `markers` that is erased, judged by the sample; all only if nothing was found.
    fn erased_of(&self, markers: u64) -> u64 {
        let empty = self.sampled.saturating_sub(self.found);
        match self.found {
            0 => markers,
            _ => share(markers, empty, self.sampled.max(self.found)),
        }
    }
}

/// `part` of `whole` of `all`, rounded down.
fn share(all: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(all) * u128::from(part) / u128::from(whole).max(1);
    u64::try_from(share).unwrap_or(all)
}

/// A signed receipt, and its place in its project's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedReceipt {
    /// From 1, without a gap.
    pub number: u64,
    /// The JWT.
    pub token: String,
}

/// The newest receipt of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestReceipt {
    /// Its number.
    pub number: u64,
    /// Its job.
    pub job: Uuid,
    /// [`millrace_schema::receipt::token_hash`] of it.
    pub hash: String,
}

/// How the delivery of a job's receipt to its project's webhook goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The address, as it was configured when the job was completed.
    pub url: String,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed: a status or an error, in words.
    pub error: Option<String>,
    /// When the state last changed, microseconds.
    pub updated_us: Micros,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It will be tried (again).
    Pending,
    /// It was taken (a 2xx).
    Delivered,
    /// It will not be tried again.
    Failed,
}

/// Where erased data may still lie in the files of a store, though nobody can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residue {
    /// As in [`millrace_schema::receipt::Residual`].
    pub place: &'static str,
    /// How long after a completion it lies there at most, unless the note says otherwise; `None`:
    /// until something that has no date.
    pub lasts: Option<Duration>,
    /// What it is, for the receipt.
    pub note: &'static str,
}

impl Residue {
    /// What [`Store::erasures`](crate::Store::erasures) reads.
    pub(crate) const ERASURES: Self = Self {
        place: "store_erasures",
        lasts: None,
        note: "the id of each erased user, kept so that late copies of what was erased are refused",
    };
}

impl JobRow {
    /// The completion, once no crash of the store can take it back: what was told of it before
    /// could turn out not to be so, and its receipt to be in no chain.
    pub fn settled_completion(&self, now_us: Micros, settle: Duration) -> Option<&Completion> {
        let settle_us = i64::try_from(settle.as_micros()).unwrap_or(i64::MAX);
        let settled = |done: &&Completion| now_us.saturating_sub(done.completed_us) >= settle_us;
        // Without settling it does not matter whose clock is ahead.
        self.completion.as_ref().filter(|done| settle.is_zero() || settled(done))
    }

    /// What the job has done of one fence, given the resume point of its partition.
    pub fn done(fence: &Fence, resume: u64) -> u64 {
        if resume > fence.last {
            return fence.count;
        }
        let span = u128::from(fence.last.saturating_sub(fence.first)) + 1;
        let passed = u128::from(resume.saturating_sub(fence.first));
        let done = u128::from(fence.count) * passed / span;
        u64::try_from(done).unwrap_or(fence.count).min(fence.count)
    }

    /// How many of the job's markers are behind the resume points, and how many there are. Equal
    /// only when every fence is passed. Of a failed job only the share counts that was found erased:
    /// its markers may be gone with their topic.
    pub fn markers_done(&self, resume: impl Fn(Topic, u32) -> u64) -> (u64, u64) {
        let fences = &self.job.fence;
        let markers = fences.iter().map(|fence| fence.count).fold(0, u64::saturating_add);
        if let Some(completion) = &self.completion {
            return (completion.erased_of(markers), markers);
        }
        let done = fences.iter().map(|f| Self::done(f, resume(f.topic, f.partition)));
        (done.fold(0, u64::saturating_add), markers)
    }

    /// How many of the job's users are done: their share of the markers, rounded down, so that all
    /// are done only with all markers.
    pub fn users_done(&self, resume: impl Fn(Topic, u32) -> u64) -> u64 {
        let (users, (done, markers)) = (self.job.users, self.markers_done(resume));
        if done == markers {
            return users;
        }
        share(users, done, markers)
    }

    /// Whether the job reaches this kind of data.
    pub fn reaches(&self, reach: Reach) -> bool {
        self.job.erase.contains(&reach)
    }
}

/// A partition's row of the ledger, under one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// Who writes it: claimed anew at every start, never shared.
    pub epoch: u64,
    /// The number of this write in its epoch; the larger wins.
    pub sequence: u64,
    /// Every record below is applied.
    pub frontier: u64,
    /// Applied, and acknowledged longer than `settle` ago.
    pub settled: u64,
    /// Settled longer than `settle` ago: where a new epoch begins.
    pub resume: u64,
    /// The partition's monotone time at the frontier, microseconds.
    pub time_us: Micros,
    /// The same at the resume point.
    pub resume_time_us: Micros,
    /// What became of every record below the frontier; adds up to it.
    pub counts: Counts,
    /// The same at the resume point.
    pub resume_counts: Counts,
}

impl LedgerRow {
    /// The first row of a partition.
    pub fn new(topic: Topic, partition: u32) -> Self {
        Self {
            topic,
            partition,
            epoch: 0,
            sequence: 0,
            frontier: 0,
            settled: 0,
            resume: 0,
            time_us: 0,
            resume_time_us: 0,
            counts: Counts::default(),
            resume_counts: Counts::default(),
        }
    }

    /// The row that begins the next epoch: everything is as it was at the resume point.
    #[must_use]
    pub fn next_epoch(&self) -> Self {
        Self {
            epoch: self.epoch + 1,
            sequence: 0,
            frontier: self.resume,
            settled: self.resume,
            time_us: self.resume_time_us,
            counts: self.resume_counts.clone(),
            ..self.clone()
        }
    }

    /// The row that begins the next epoch from nothing: at offset 0, with nothing counted.
    #[must_use]
    pub fn rewound(&self) -> Self {
        Self { epoch: self.epoch + 1, ..Self::new(self.topic, self.partition) }
    }
}

/// A worker's batch: what it changes, and where the partition stands after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The changes, in the order of the log.
    pub writes: Vec<Write>,
    /// The partition's row of the ledger after them.
    pub ledger: LedgerRow,
    /// The generation under which the batch was read and decided.
    pub generation: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(holder: Option<&str>, linked: Option<i64>, unlinked: Option<i64>) -> Claim {
        let version = |time_us| Version { time_us, stamp: Stamp(1) };
        let holder = holder.map(str::to_owned);
        Claim {
            holder,
            linked: linked.map(version),
            received_us: 0,
            unlinked: unlinked.map(version),
        }
    }

    #[test]
    fn what_a_job_has_done_never_goes_back_and_ends_at_its_count() {
        let fence = Fence { topic: Topic::Events, partition: 0, first: 10, last: 29, count: 7 };
        let done: Vec<u64> = (0..40).map(|resume| JobRow::done(&fence, resume)).collect();
        assert!(done.is_sorted());
        assert_eq!((done[10], done[29], done[30], done[39]), (0, 6, 7, 7));
        // The front door never writes such a fence.
        let senseless = Fence { first: 29, last: 10, ..fence };
        assert!((0..40).all(|resume| JobRow::done(&senseless, resume) <= 7));
    }

    #[test]
    fn a_failed_job_claims_no_more_users_than_the_share_of_its_sample_that_was_erased() {
        let done = |sampled, found| {
            let completion = Some(Completion { completed_us: 1, sampled, found, receipt: None });
            let fence = Fence { topic: Topic::Events, partition: 0, first: 0, last: 9, count: 10 };
            let job = Job { job: Uuid::nil(), users: 10, fence: vec![fence], ..Job::default() };
            JobRow { project: "p".into(), accepted_us: 0, job, completion }.users_done(|_, _| 100)
        };
        assert_eq!([done(4, 0), done(4, 1), done(4, 4), done(0, 1)], [10, 7, 0, 0]);
    }

    #[test]
    fn a_completion_is_told_when_it_has_settled() {
        let job = Job { job: Uuid::nil(), users: 1, ..Job::default() };
        let completion = Completion { completed_us: 10, sampled: 1, found: 0, receipt: None };
        let row = JobRow {
            project: "p".into(),
            accepted_us: 0,
            job,
            completion: Some(completion.clone()),
        };
        let settle = Duration::from_micros(5);
        assert_eq!(row.settled_completion(14, settle), None);
        assert_eq!(row.settled_completion(15, settle), Some(&completion));
        assert_eq!(row.settled_completion(9, Duration::ZERO), Some(&completion));
    }

    #[test]
    fn the_owner_is_the_latest_to_link_unless_they_left_since() {
        let (a, b, nobody) = (Some("a"), Some("b"), None);
        let table = [
            (vec![], None),
            (vec![claim(a, Some(1), None)], a),
            (vec![claim(a, Some(1), Some(2))], None),
            (vec![claim(a, Some(3), Some(2))], a),
            (vec![claim(a, None, Some(2))], None),
            (vec![claim(a, Some(1), None), claim(b, Some(2), None)], b),
            (vec![claim(a, Some(1), None), claim(b, Some(2), Some(3))], None),
            (vec![claim(a, Some(2), None), claim(b, Some(1), Some(3))], a),
            (vec![claim(a, Some(1), None), claim(nobody, Some(2), None)], None),
            (vec![claim(a, Some(3), None), claim(nobody, Some(2), None)], a),
            (vec![claim(b, Some(1), None), claim(a, Some(1), None)], b),
            (vec![claim(b, Some(1), None), Claim { received_us: 7, ..claim(a, Some(1), None) }], a),
        ];
        for (mut claims, owner) in table {
            assert_eq!(Claim::owner(&claims), owner, "{claims:?}");
            claims.reverse();
            assert_eq!(Claim::owner(&claims), owner, "reversed: {claims:?}");
        }
    }
}
