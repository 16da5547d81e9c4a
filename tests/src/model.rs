//! What was sent, what was answered, and when: the history that the oracle judges by.
//!
//! Owns the words of the model: items, operations, their order. Must not know HTTP, nor how an
//! engine works. Time here is a counter that every begin and end of an operation takes one step of;
//! an operation came before another if it ended before the other began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

/// A client's timestamp: as text, and in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// As sent.
    pub text: String,
    /// What it means.
    pub us: i64,
}

/// Something a user did.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who did it.
    pub user: String,
    /// The client's id.
    pub id: Option<String>,
    /// What it was.
    pub name: String,
    /// When.
    pub at: Option<At>,
    /// The exact text of the properties.
    pub properties: Option<String>,
    /// Members that the product does not know, with their exact text.
    pub extra: BTreeMap<String, String>,
}

/// A change of a user's properties.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Whose.
    pub user: String,
    /// When.
    pub at: Option<At>,
    /// Exact text by name; `None` removes.
    pub properties: BTreeMap<String, Option<String>>,
}

/// A change of a device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Whose; `None` only with `unlink`.
    pub user: Option<String>,
    /// Which.
    pub device_id: String,
    /// When.
    pub at: Option<At>,
    /// Own fields as JSON strings, and `properties.{name}` as exact text; `None` removes.
    pub cells: BTreeMap<String, Option<String>>,
    /// The device leaves its user.
    pub unlink: bool,
}

/// One item of a call.
#[derive(Clone, Debug)]
pub enum Item {
    /// Of the call for events.
    Event(Event),
    /// Of the call for profiles.
    Profile(Profile),
    /// Of the call for devices.
    Device(Device),
}

/// An item at its place in a body.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its index in the body.
    pub index: usize,
    /// Its exact text.
    pub json: String,
    /// What it says.
    pub item: Item,
}

/// A kind of data, as deletions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Profiles.
    Profile,
    /// Devices.
    Devices,
    /// Events.
    Events,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Profile, Self::Devices, Self::Events];

    /// As in `erase`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Devices => "devices",
            Self::Events => "events",
        }
    }

    /// As in the accounting.
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Profile => "profiles",
            Self::Devices => "devices",
            Self::Events => "events",
        }
    }
}

/// What an operation asks for.
#[derive(Clone, Debug)]
pub enum Call {
    /// Items to be stored. Those that the product must reject are left out.
    Items(Vec<Sent>),
    /// Users to be erased.
    Delete {
        /// Who.
        users: BTreeSet<String>,
        /// Of what.
        reach: BTreeSet<Kind>,
    },
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 202: a promise.
    Accepted,
    /// An answer that says that nothing was taken.
    Refused(u16),
    /// No answer yet, or none at all, or one that leaves it open (503).
    Unknown(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Op {
    /// Its number in the history.
    pub number: usize,
    /// When it began.
    pub began: u64,
    /// When it was certainly over: nothing of it can be accepted afterwards.
    pub ended: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Its `Idempotency-Key`.
    pub key: Option<String>,
    /// What it asked for.
    pub call: Arc<Call>,
    /// The deletion job it was given.
    pub job: Option<Uuid>,
}

impl Op {
    /// Whether it was over before the other began.
    pub fn before(&self, other: &Self) -> bool {
        self.ended.is_some_and(|ended| ended < other.began)
    }

    /// Whether it holds a promise.
    pub fn accepted(&self) -> bool {
        self.outcome == Outcome::Accepted
    }

    /// Whether nothing of it may ever be seen.
    pub const fn refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(_))
    }
}

/// All operations, as senders on several threads report them.
#[derive(Debug, Default)]
pub struct History {
    clock: AtomicU64,
    ops: Mutex<Vec<Op>>,
}

impl History {
    fn ops(&self) -> std::sync::MutexGuard<'_, Vec<Op>> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// An operation is about to be sent.
    pub fn begin(&self, call: Arc<Call>, key: Option<String>) -> usize {
        let mut ops = self.ops();
        let (number, began) = (ops.len(), self.tick());
        let outcome = Outcome::Unknown("no answer".into());
        ops.push(Op { number, began, ended: None, outcome, key, call, job: None });
        number
    }

    /// An answer came that settles the operation.
    pub fn end(&self, number: usize, outcome: Outcome, job: Option<Uuid>) {
        let ended = self.tick();
        let mut ops = self.ops();
        let op = &mut ops[number];
        (op.outcome, op.job, op.ended) = (outcome, job, Some(ended));
    }

    /// No answer came, or one that promises nothing: what was sent may be taken at any later time,
    /// until its process ends.
    pub fn leave_open(&self, number: usize, why: String) {
        self.ops()[number].outcome = Outcome::Unknown(why);
    }

    /// The process is gone: nothing that was sent to it can be taken any more. Only to be called
    /// when no sender waits for an answer.
    pub fn process_ended(&self) {
        let ended = self.tick();
        for op in self.ops().iter_mut() {
            op.ended.get_or_insert(ended);
        }
    }

    /// The operations so far.
    pub fn snapshot(&self) -> Vec<Op> {
        self.ops().clone()
    }

    /// Jobs that were promised.
    pub fn jobs(&self) -> BTreeSet<Uuid> {
        self.ops().iter().filter(|op| op.accepted()).filter_map(|op| op.job).collect()
    }
}
