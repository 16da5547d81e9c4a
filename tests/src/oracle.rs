//! The delivery oracle: compares what is seen with what was promised.
//!
//! Owns the rules of what may be seen after what was answered. Must not know HTTP, nor any engine.
//! It judges a settled system: the faults are over and the workers have reached everything.
//!
//! An attempt is an item of an operation. It is *dead* if a deletion that was accepted began after
//! it was over; *live* if it was accepted and every deletion of its user was over before it began;
//! else it may be either. Only what is live overrides what else may be seen.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{Call, Device, Event, Item, Kind, Op, Profile, Sent};
use crate::observe::{EventSeen, Seen, UserSeen};

mod accounts;
mod devices;
mod events;
mod profiles;
mod receipts;

/// How many attempts a violation shows.
const TOLD: usize = 40;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Of what, with what was sent and seen.
    pub detail: String,
}

/// The promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What was accepted is there.
    Lost,
    /// It is there once.
    Twice,
    /// What was erased is not.
    Erased,
    /// What was never sent, or refused, is not.
    NeverSent,
    /// A later change wins over an earlier one.
    Stale,
    /// A device belongs to the user who had it last.
    Owner,
    /// Events come newest first.
    Order,
    /// An accepted job completes.
    Job,
    /// Its progress only grows, up to its total.
    Progress,
    /// Its receipt is there, signed, true, and in its place in the chain.
    Receipt,
    /// Outcomes add up to the frontier, and the frontier is the end of the log.
    Accounting,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

/// What the run was like, where the rules depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// The server's clock went backwards: times of receipt do not order users against each other.
    pub clock_jumped: bool,
    /// A broker was away for about as long as a producer waits: the log may hold a batch twice.
    pub batches_repeated: bool,
    /// The history holds everything that was ever sent to the project, so totals can be compared.
    pub whole_history: bool,
}

/// One sending of one item.
#[derive(Clone, Copy, Debug)]
struct Attempt<'h, T> {
    op: &'h Op,
    sent: &'h Sent,
    item: &'h T,
    fate: Fate,
}

/// What deletions did to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dead,
    Live,
    Open,
}

impl<T> Attempt<'_, T> {
    fn live(&self) -> bool {
        self.fate == Fate::Live
    }

    fn dead(&self) -> bool {
        self.fate == Fate::Dead
    }

    /// Whether this one was certainly accepted before the other, where both concern one user.
    fn before<U>(&self, other: &Attempt<'_, U>) -> bool {
        if self.op.number == other.op.number {
            return self.sent.index < other.sent.index;
        }
        self.op.before(other.op)
    }
}

/// The attempts of one user.
#[derive(Debug, Default)]
struct Attempts<'h> {
    events: Vec<Attempt<'h, Event>>,
    profiles: Vec<Attempt<'h, Profile>>,
    devices: Vec<Attempt<'h, Device>>,
}

/// The history, sorted by whom it concerns.
struct Index<'h> {
    users: BTreeMap<&'h str, Attempts<'h>>,
    nobody: Vec<Attempt<'h, Device>>,
    deletions: BTreeMap<(&'h str, Kind), Vec<&'h Op>>,
}

impl<'h> Index<'h> {
    fn new(history: &'h [Op]) -> Self {
        let mut index =
            Self { users: BTreeMap::new(), nobody: Vec::new(), deletions: BTreeMap::new() };
        let taken = || history.iter().filter(|op| !op.refused());
        for op in taken() {
            if let Call::Delete { users, reach } = &*op.call {
                for (user, kind) in users.iter().flat_map(|u| reach.iter().map(move |k| (u, *k))) {
                    index.deletions.entry((user, kind)).or_default().push(op);
                }
            }
        }
        for op in taken() {
            if let Call::Items(items) = &*op.call {
                items.iter().for_each(|sent| index.add(op, sent));
            }
        }
        index
    }

    fn add(&mut self, op: &'h Op, sent: &'h Sent) {
        match &sent.item {
            Item::Event(item) => {
                let fate = self.fate(op, &item.user, Kind::Events);
                self.of(&item.user).events.push(Attempt { op, sent, item, fate });
            }
            Item::Profile(item) => {
                let fate = self.fate(op, &item.user, Kind::Profile);
                self.of(&item.user).profiles.push(Attempt { op, sent, item, fate });
            }
            Item::Device(item) => match &item.user {
                Some(user) => {
                    let fate = self.fate(op, user, Kind::Devices);
                    self.of(user).devices.push(Attempt { op, sent, item, fate });
                }
                None => {
                    let fate = if op.accepted() { Fate::Live } else { Fate::Open };
                    self.nobody.push(Attempt { op, sent, item, fate });
                }
            },
        }
    }

    fn of(&mut self, user: &'h str) -> &mut Attempts<'h> {
        self.users.entry(user).or_default()
    }

    fn fate(&self, op: &Op, user: &str, kind: Kind) -> Fate {
        let deletions = self.deletions.get(&(user, kind)).map_or(&[][..], Vec::as_slice);
        if deletions.iter().any(|deletion| deletion.accepted() && op.before(deletion)) {
            return Fate::Dead;
        }
        if op.accepted() && deletions.iter().all(|deletion| deletion.before(op)) {
            return Fate::Live;
        }
        Fate::Open
    }
}

/// Compares. An empty list: every promise is kept.
pub fn check(history: &[Op], seen: &Seen, circumstances: Circumstances) -> Vec<Violation> {
    let index = Index::new(history);
    let nothing = Attempts::default();
    let mut found = Vec::new();
    for (user, what) in &seen.users {
        let attempts = index.users.get(user.as_str()).unwrap_or(&nothing);
        events::check(user, &attempts.events, &what.events, &mut found);
        profiles::check(user, &attempts.profiles, what.profile.as_ref(), &mut found);
    }
    devices::check(&index, &seen.users, circumstances, &mut found);
    accounts::check(history, seen, circumstances, &mut found);
    receipts::check(history, seen, &mut found);
    found
}

/// Compares users of a system that is not settled: only what may not be there any more.
pub fn erased(history: &[Op], users: &BTreeMap<String, UserSeen>) -> Vec<Violation> {
    let index = Index::new(history);
    let nothing = Attempts::default();
    let mut found = Vec::new();
    for (user, what) in users {
        let attempts = index.users.get(user.as_str()).unwrap_or(&nothing);
        events::check(user, &attempts.events, &what.events, &mut found);
        profiles::check(user, &attempts.profiles, what.profile.as_ref(), &mut found);
    }
    devices::check(&index, users, Circumstances::default(), &mut found);
    found.retain(|violation| violation.rule == Rule::Erased);
    found
}

/// A broken promise about a user.
fn violation(rule: Rule, user: &str, what: impl fmt::Display) -> Violation {
    Violation { rule, detail: format!("user {user:?}: {what}") }
}

/// The attempts in question, for people.
fn tell<T>(attempts: &[&Attempt<'_, T>]) -> String {
    let mut out = String::new();
    for a in attempts.iter().take(TOLD) {
        let (began, ended) = (a.op.began, a.op.ended.map_or("?".into(), |e| e.to_string()));
        let json: String = a.sent.json.chars().take(300).collect();
        let (number, fate, outcome) = (a.op.number, a.fate, &a.op.outcome);
        out.push_str(&format!(
            "\n    op {number} at {began}..{ended} {outcome:?}, {fate:?}, index {}: {json}",
            a.sent.index
        ));
    }
    if attempts.len() > TOLD {
        out.push_str(&format!("\n    … and {} more", attempts.len() - TOLD));
    }
    out
}

#[cfg(test)]
mod tests;
