//! What must hold at every moment, and what in the end.

use std::collections::BTreeMap;
use std::fmt::Debug;

use millrace_schema::receipt::{Previous, Receipt, token_hash};
use millrace_schema::{Topic, UserKey};
use millrace_store::{Claim, JobRow, Stamp};
use uuid::Uuid;

use crate::database::{BASE, SETTLE};
use crate::memory_log::PARTITIONS;
use crate::reference::Reference;
use crate::schedule::{CLOCK_SKEW_US, DEVICES, PROJECT, Schedule, USERS};

#[derive(Default)]
pub(crate) struct Checker {
    /// Done of each job, as it was last seen, and how many crashes there had been.
    progress: BTreeMap<Uuid, (u64, usize)>,
}

type Verdict = Result<(), String>;

fn same<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Verdict {
    if expected == found {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, found {found:?}"))
}

/// The partitions of the store that hold a user's data of a topic.
fn homes(topic: Topic, user: &UserKey) -> Vec<String> {
    match topic {
        Topic::Events => vec![format!("events {user} "), format!("ids {user}")],
        Topic::Profiles => vec![format!("profile {user}")],
        _ => vec![format!("devices {user}"), "claims ".to_owned()],
    }
}

/// The stamps at which a user's data of a topic is there, hidden device rows included.
fn stamps(schedule: &Schedule, topic: Topic, user: &UserKey) -> Vec<(i64, String)> {
    let holder = format!("{:?}", Some(&user.user));
    let mut stamps = Vec::new();
    for home in homes(topic, user) {
        for (key, name, stamp) in schedule.database.stamps(&home) {
            if name != "life" && (!key.starts_with("claims ") || name == holder) {
                stamps.push((stamp, format!("{key}: {name}")));
            }
        }
    }
    stamps
}

impl Checker {
    /// What must hold whenever one looks.
    pub(crate) fn look(&mut self, schedule: &Schedule) -> Verdict {
        if let Some(violation) = schedule.database.violation() {
            return Err(violation);
        }
        self.progress(schedule)?;
        chain(schedule)?;
        let mut erased: BTreeMap<(Topic, &UserKey), u64> = BTreeMap::new();
        for (job, (at, completion)) in schedule.database.completed() {
            same("found by a completion", &0, &completion.found)?;
            for (topic, user, offset) in &schedule.jobs[&job].marked {
                let last = erased.entry((*topic, user)).or_default();
                *last = (*last).max(*offset);
            }
            let forgettable = schedule.crashes.iter().any(|c| *c >= at && *c - at < SETTLE);
            let row = schedule.database.job(job);
            if !forgettable && row.is_none_or(|row| row.completion.is_none()) {
                return Err(format!("the completed {job} is open again"));
            }
        }
        for ((topic, user), offset) in erased {
            for (stamp, what) in stamps(schedule, topic, user) {
                if stamp <= BASE.at(offset).0 {
                    let stamp = stamp - BASE.0;
                    return Err(format!("{what} of {stamp} is there, erased at {offset}"));
                }
            }
        }
        Ok(())
    }

    fn progress(&mut self, schedule: &Schedule) -> Verdict {
        let ledger = schedule.database.ledger();
        for (job, sealed) in &schedule.jobs {
            let mut done = 0;
            for fence in &sealed.fence {
                let here = |r: &&_| same_partition(fence, r);
                let resume = ledger.iter().find(here).map_or(0, |row| row.resume);
                done += JobRow::done(fence, resume);
            }
            let total: u64 = sealed.fence.iter().map(|fence| fence.count).sum();
            let crashes = schedule.crashes.len();
            let before = self.progress.insert(*job, (done, crashes));
            if done > total || before.is_some_and(|(n, then)| done < n && crashes == then) {
                return Err(format!("{job} has done {done} of {total}, {before:?} before"));
            }
        }
        Ok(())
    }

    /// Records that were withheld on their detour are never there.
    pub(crate) fn look_for_withheld(&self, schedule: &Schedule) -> Verdict {
        for (topic, user, offset) in Reference::of(&schedule.log, CLOCK_SKEW_US).withheld {
            for (stamp, what) in stamps(schedule, topic, &user) {
                if stamp == BASE.at(offset).0 {
                    return Err(format!("{what} is there though {topic} {offset} is withheld"));
                }
            }
        }
        Ok(())
    }
}

/// The receipts are numbered without a gap, each names the one before, and says what its job was.
/// (That what they say is erased stays so is looked at with the completions.)
fn chain(schedule: &Schedule) -> Verdict {
    let completed = schedule.database.completed();
    let mut previous = None;
    for (number, (job, completion)) in (1..).zip(schedule.database.chain()) {
        let token = completion.receipt.ok_or("a receipt without a token")?.token;
        let receipt: Receipt = serde_json::from_str(&token).map_err(|e| e.to_string())?;
        let sealed = &schedule.jobs[&job];
        same("the number of a receipt", &number, &receipt.number)?;
        same("what a receipt follows", &previous, &receipt.previous)?;
        same("the job of a receipt", &job, &receipt.job_id)?;
        same("the fence of a receipt", &sealed.fence, &receipt.fence)?;
        same("the users of a receipt", &sealed.users, &receipt.users)?;
        same("found by a receipt", &0, &receipt.read_back.found)?;
        if !completed.contains_key(&job) && number < schedule.database.chain().len() as u64 {
            return Err(format!("the receipt of {job} was followed before it was completed"));
        }
        previous = Some(Previous { job_id: job, hash: token_hash(&token) });
    }
    for (job, (_, completion)) in completed {
        same("a receipt for a completion", &true, &completion.receipt.is_some())?;
        same("a known job", &true, &schedule.jobs.contains_key(&job))?;
    }
    Ok(())
}

fn same_partition(fence: &millrace_schema::record::Fence, row: &millrace_store::LedgerRow) -> bool {
    (row.topic, row.partition) == (fence.topic, fence.partition)
}

/// Why not everything is at its end yet.
pub(crate) fn unfinished(schedule: &Schedule) -> Option<String> {
    let ledger = schedule.database.ledger();
    for topic in Topic::CONSUMED {
        for partition in 0..PARTITIONS {
            let end = schedule.log.records(topic, partition).len() as u64;
            let row = ledger.iter().find(|row| (row.topic, row.partition) == (topic, partition));
            let at = row.map_or((0, 0), |row| (row.frontier, row.resume));
            if at != (end, end) {
                return Some(format!("{topic}/{partition} stands at {at:?} of {end}"));
            }
        }
    }
    for job in schedule.jobs.keys() {
        if schedule.database.job(*job).is_none_or(|row| row.completion.is_none()) {
            return Some(format!("{job} is open"));
        }
    }
    None
}

/// What must hold when everything has come to its end.
pub(crate) fn last(schedule: &Schedule) -> Verdict {
    let reference = Reference::of(&schedule.log, CLOCK_SKEW_US);
    let database = &schedule.database;
    for user in USERS.map(|user| UserKey::new(PROJECT, user)) {
        let events = database.events(&user).into_iter();
        let events: BTreeMap<(i64, String), Stamp> =
            events.map(|event| ((event.time_us, event.id), event.stamp)).collect();
        let expected = reference.events.get(&user).cloned().unwrap_or_default();
        same(&format!("events of {user}"), &expected, &events)?;
        let expected = reference.profiles.get(&user).cloned();
        same(&format!("profile of {user}"), &expected, &database.profile(&user))?;
        let devices = database.devices(&user);
        let expected = reference.devices.get(&user).cloned().unwrap_or_default();
        same(&format!("devices of {user}"), &expected, &devices.rows)?;
        same(&format!("hidden devices of {user}"), &Vec::new(), &devices.hidden)?;
    }
    for device in DEVICES {
        let claims = reference.claims.get(device).cloned().unwrap_or_default();
        let expected: Vec<Claim> = claims.into_values().collect();
        let mut found = database.claims(device);
        found.sort_by(|a, b| a.holder.cmp(&b.holder));
        same(&format!("owner of {device}"), &Claim::owner(&expected), &Claim::owner(&found))?;
        same(&format!("claims on {device}"), &expected, &found)?;
    }
    let completed = database.completed();
    for (job, expected) in reference.jobs {
        let found = database.job(job).ok_or("a job is not registered")?;
        let mut row = JobRow { completion: found.completion.clone(), ..expected };
        row.job.sample.clear();
        same("a job", &row, &found)?;
        same("read back", &schedule.jobs[&job].users, &completed[&job].1.sampled)?;
    }
    Ok(())
}
