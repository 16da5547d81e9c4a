//! Jobs while they run: their progress, and what is there at the moment when they are completed.
//!
//! Owns the looking, from a thread of its own, through faults and restarts. What it cannot read it
//! has not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::client::Client;
use crate::model::{Call, History, Op, Outcome};
use crate::observe::{self, JobSeen};
use crate::oracle::{self, Rule, Violation};
use crate::system::Doors;

/// How often jobs are looked at.
const INTERVAL: Duration = Duration::from_millis(40);
/// Users of a completed job that are read back at once.
const USERS: usize = 6;

/// The looking; ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    begun: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    history: Arc<History>,
    doors: Mutex<Option<Doors>>,
    state: Mutex<State>,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// As each job was last seen.
    last: BTreeMap<Uuid, JobSeen>,
    /// Completed, and read back.
    judged: BTreeSet<Uuid>,
    found: Vec<Violation>,
}

impl Watch {
    /// Of the jobs that the history names; begins with [`Watch::over`].
    pub fn new(history: Arc<History>) -> Self {
        let (doors, state) = (Mutex::default(), Mutex::default());
        let shared = Shared { history, doors, state, stop: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), begun: AtomicBool::new(false) }
    }

    /// A power cut took back what the store had not synced: jobs that were not completed may have
    /// less done than before. Completed ones must stay so.
    pub fn expect_less_done(&self) {
        lock(&self.shared.state).last.retain(|_, seen| rank(&seen.status) > 1);
    }

    /// Looks through these doors from now on.
    pub fn over(&self, doors: Doors) {
        *lock(&self.shared.doors) = Some(doors);
        if self.begun.swap(true, Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            while !shared.stop.load(Ordering::SeqCst) {
                // Nobody may be there, or nobody who can read.
                let _ = shared.look();
                std::thread::sleep(INTERVAL);
            }
        });
    }

    /// What was wrong so far.
    pub fn found(&self) -> Vec<Violation> {
        lock(&self.shared.state).found.clone()
    }

    /// The users of a job that were last seen to be done; `None` before it was seen.
    pub fn users_done(&self, job: Uuid) -> Option<u64> {
        lock(&self.shared.state).last.get(&job).map(|seen| seen.users_done)
    }

    /// The jobs that were read back when they were seen to be completed.
    pub fn judged(&self) -> BTreeSet<Uuid> {
        lock(&self.shared.state).judged.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn look(&self) -> Result<()> {
        let doors = lock(&self.doors).clone().context("no doors")?;
        for door in doors.all() {
            let open = &self.history.jobs() - &lock(&self.state).judged;
            if open.is_empty() {
                return Ok(());
            }
            let mut client = doors.client(door);
            let Ok(jobs) = observe::jobs(&mut client, &open) else { continue };
            for seen in jobs.into_values().filter(|seen| open.contains(&seen.job_id)) {
                let completed = (seen.status == "completed").then_some(seen.job_id);
                lock(&self.state).see(seen);
                let Some(job) = completed else { continue };
                if self.judge(&mut client, job).is_ok() {
                    lock(&self.state).judged.insert(job);
                }
            }
        }
        Ok(())
    }

    /// Reads back some users of a job that is completed: nothing of what was sent before it may be
    /// there, and its receipt must be.
    fn judge(&self, client: &mut Client, job: Uuid) -> Result<()> {
        let users = self.users_of(job).context("not known yet")?;
        let mut seen = BTreeMap::new();
        for user in &users {
            seen.insert(user.clone(), observe::read_user(client, user)?);
        }
        observe::receipt(client, job)?;
        // What was sent while it was read is in the history by now.
        let history = as_if_alone(self.history.snapshot(), job);
        let mut found = oracle::erased(&history, &seen);
        for violation in &mut found {
            violation.detail = format!("job {job} was completed: {}", violation.detail);
        }
        lock(&self.state).found.extend(found);
        Ok(())
    }

    fn users_of(&self, job: Uuid) -> Option<Vec<String>> {
        let history = self.history.snapshot();
        let op = history.iter().find(|op| op.job == Some(job))?;
        let Call::Delete { users, .. } = &*op.call else { return None };
        let each = users.len().div_ceil(USERS).max(1);
        Some(users.iter().step_by(each).cloned().collect())
    }
}

/// The history in which of all deletions only that of one job was promised. A job is its first
/// attempt, which may not have been answered: later ones with the same key erase again, and nobody
/// says when.
fn as_if_alone(mut history: Vec<Op>, job: Uuid) -> Vec<Op> {
    let own = history.iter().find(|op| op.job == Some(job));
    let same = |op: &Op| {
        let of_own = |own: &Op| own.key.is_some() && own.key == op.key;
        own.is_some_and(|own| of_own(own) && Arc::ptr_eq(&own.call, &op.call))
    };
    let mut attempts = history.iter().filter(|op| !op.refused());
    let first = attempts.find(|op| op.job == Some(job) || same(op)).map(|op| op.number);
    for op in history.iter_mut().filter(|op| matches!(*op.call, Call::Delete { .. })) {
        if Some(op.number) == first {
            op.outcome = Outcome::Accepted;
        } else if op.accepted() {
            op.outcome = Outcome::Unknown("of another job".to_owned());
        }
    }
    history
}

impl State {
    /// Compares a job with how it was seen before.
    fn see(&mut self, seen: JobSeen) {
        let mut wrong = |what: &str| {
            let detail = format!("{what}: {seen:?}, before: {:?}", self.last.get(&seen.job_id));
            self.found.push(Violation { rule: Rule::Progress, detail });
        };
        if seen.users_done > seen.users || !(0.0..=1.0).contains(&seen.progress) {
            wrong("more is done than there is");
        }
        if seen.status == "completed" && seen.users_done != seen.users {
            wrong("completed, and not all is done");
        }
        if let Some(before) = self.last.get(&seen.job_id) {
            if seen.users_done < before.users_done || seen.progress < before.progress {
                wrong("progress went back");
            }
            if seen.users != before.users || rank(&seen.status) < rank(&before.status) {
                wrong("it is another job");
            }
        }
        self.last.insert(seen.job_id, seen);
    }
}

/// The order of a job's states.
fn rank(status: &str) -> usize {
    ["accepted", "running"].iter().position(|known| *known == status).unwrap_or(2)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(status: &str, users_done: u64) -> JobSeen {
        JobSeen {
            job_id: Uuid::from_u128(1),
            status: status.to_owned(),
            users: 4,
            users_done,
            progress: users_done as f64 / 4.0,
            erase: BTreeSet::new(),
            accepted_at: String::new(),
            completed_at: None,
        }
    }

    /// How many of these are wrong, seen one after another.
    fn wrong(seen: &[(&str, u64)]) -> usize {
        let mut state = State::default();
        seen.iter().for_each(|(status, users_done)| state.see(job(status, *users_done)));
        assert!(state.found.iter().all(|violation| violation.rule == Rule::Progress));
        state.found.len()
    }

    #[test]
    fn progress_that_goes_forward_to_its_total_is_right() {
        assert_eq!(wrong(&[("accepted", 0), ("running", 1), ("running", 4), ("completed", 4)]), 0);
    }

    #[test]
    fn progress_that_goes_back_or_beyond_or_ends_early_is_wrong() {
        assert_eq!(wrong(&[("running", 2), ("running", 1)]), 1);
        assert_eq!(wrong(&[("running", 5)]), 1);
        assert_eq!(wrong(&[("running", 3), ("completed", 3)]), 1);
        assert_eq!(wrong(&[("completed", 4), ("running", 4)]), 1);
    }
}
