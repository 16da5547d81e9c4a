//! Commits and claims: rows and their partition's ledger in one batch, under one epoch.

use std::sync::atomic::Ordering;
use std::time::Instant;

use fjall::Slice;
use millrace_schema::Topic;
use serde::{Deserialize, Serialize};

use crate::embedded::apply::{Applied, Apply};
use crate::embedded::draft::Draft;
use crate::embedded::failure::failed;
use crate::embedded::space::Space;
use crate::embedded::{Engine, GENERATION, key, value};
use crate::{Commit, LedgerRow, Stamp, StoreError};

/// The stamp of a topic's offset 0, so that no record has the stamp 0.
const BASE: Stamp = Stamp(1);

/// A partition's row as it is stored. Every commit looks at the numbers before the JSON only.
struct Stored {
    /// The highest stamp ever committed, under any epoch.
    highest: Stamp,
    epoch: u64,
    sequence: u64,
    value: Slice,
}

impl Stored {
    const HEAD_BYTES: usize = 1 + 3 * 8;

    fn read(value: Slice) -> Result<Self, StoreError> {
        let (highest, rest) = value::read_stamped(Space::Ledger, &value)?;
        let (epoch, rest) = value::read_number(Space::Ledger, rest)?;
        let (sequence, _) = value::read_number(Space::Ledger, rest)?;
        Ok(Self {
            highest,
            epoch: epoch.cast_unsigned(),
            sequence: sequence.cast_unsigned(),
            value,
        })
    }

    fn row(&self) -> Result<LedgerRow, StoreError> {
        let json = self.value.get(Self::HEAD_BYTES..).unwrap_or_default();
        value::read_json(Space::Ledger, json)
    }
}

/// A topic as it was registered.
#[derive(Serialize, Deserialize)]
struct Registered {
    base: Stamp,
    partitions: u32,
}

impl Engine {
    pub(super) fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        if commit.generation != GENERATION {
            return Err(StoreError::Restarted);
        }
        let started = Instant::now();
        let topic = commit.ledger.topic;
        let mut ahead = Draft::ahead(&self.db, &self.spaces);
        let decided = decide(&mut ahead, &commit)?;
        let turn = self.turn();
        let (draft, applied) = if self.still_holds(&decided, &commit.ledger)? {
            (ahead.with_turn(turn), decided.applied)
        } else {
            let mut draft = Draft::new(&self.db, &self.spaces, turn);
            let applied = decide(&mut draft, &commit)?.applied;
            (draft, applied)
        };
        if applied.has_erased {
            // Before anybody can read that it is done.
            self.has_erased.store(true, Ordering::Release);
        }
        draft.commit()?;
        metrics::histogram!("millrace_store_commit_seconds", "topic" => topic.short_name())
            .record(started.elapsed());
        metrics::counter!("millrace_store_replayed_writes_total", "topic" => topic.short_name())
            .increment(applied.looked);
        Ok(())
    }

    /// Whether what was decided ahead may be written now. What a commit reads is written by
    /// commits of the same partition alone, and each of those writes the partition's row; but a
    /// job is also written by who completes it.
    fn still_holds(&self, decided: &Decided, ledger: &LedgerRow) -> Result<bool, StoreError> {
        if decided.applied.has_jobs {
            return Ok(false);
        }
        let key = key::partition(ledger.topic, ledger.partition).finish()?;
        let now = self.spaces.get(Space::Ledger).get(key).map_err(failed)?;
        Ok(now.as_ref() == Some(&decided.stored))
    }

    pub(super) fn claim(&self, topic: Topic, partition: u32) -> Result<LedgerRow, StoreError> {
        self.begin_epoch(topic, partition, LedgerRow::next_epoch)
    }

    pub(super) fn rewind(&self, topic: Topic, partition: u32) -> Result<LedgerRow, StoreError> {
        self.begin_epoch(topic, partition, LedgerRow::rewound)
    }

    /// Writes the row that follows the newest one. The highest stamp stays: what a replay puts
    /// competes with what is stored.
    fn begin_epoch(
        &self,
        topic: Topic,
        partition: u32,
        following: impl FnOnce(&LedgerRow) -> LedgerRow,
    ) -> Result<LedgerRow, StoreError> {
        let mut draft = self.draft();
        let (highest, last) = match stored(&draft, topic, partition)? {
            Some(stored) => (stored.highest, stored.row()?),
            None => (Stamp(i64::MIN), LedgerRow::new(topic, partition)),
        };
        let row = following(&last);
        put(&mut draft, highest, &row)?;
        draft.commit_durably()?;
        Ok(row)
    }

    pub(super) fn newest_epoch(&self, topic: Topic, partition: u32) -> Result<u64, StoreError> {
        Ok(stored(&self.draft(), topic, partition)?.map_or(0, |stored| stored.epoch))
    }

    pub(super) fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        let rows = self.spaces.get(Space::Ledger).iter();
        rows.map(|row| Stored::read(row.value().map_err(failed)?)?.row()).collect()
    }

    pub(super) fn topic_base(&self, topic: Topic, partitions: u32) -> Result<Stamp, StoreError> {
        let mut draft = self.draft();
        let key = key::topic(topic).finish()?;
        let Some(stored) = draft.get(Space::Topics, &key)? else {
            let registered = Registered { base: BASE, partitions };
            draft.put(Space::Topics, key, value::plain(&registered)?);
            draft.commit_durably()?;
            return Ok(BASE);
        };
        let registered: Registered = value::read_plain(Space::Topics, &stored)?;
        if registered.partitions != partitions {
            return Err(StoreError::other_partitions(topic, registered.partitions, partitions));
        }
        Ok(registered.base)
    }
}

/// What a commit comes to.
struct Decided {
    applied: Applied,
    /// The partition's row from which it was decided.
    stored: Slice,
}

/// Puts what a commit writes into a draft.
fn decide(draft: &mut Draft<'_>, commit: &Commit) -> Result<Decided, StoreError> {
    let ledger = &commit.ledger;
    let stored = stored(draft, ledger.topic, ledger.partition)?;
    let stored = fence(stored, ledger)?;
    let mut apply = Apply::new(draft, stored.highest);
    for write in &commit.writes {
        apply.write(write)?;
    }
    let applied = apply.finish();
    if ledger.sequence < stored.sequence {
        // A repeated call may come after a later one: its row is the older.
        put(draft, applied.highest, &stored.row()?)?;
    } else {
        put(draft, applied.highest, ledger)?;
    }
    Ok(Decided { applied, stored: stored.value })
}

fn stored(draft: &Draft<'_>, topic: Topic, partition: u32) -> Result<Option<Stored>, StoreError> {
    let key = key::partition(topic, partition).finish()?;
    draft.get(Space::Ledger, &key)?.map(Stored::read).transpose()
}

fn put(draft: &mut Draft<'_>, highest: Stamp, row: &LedgerRow) -> Result<(), StoreError> {
    let numbers = [row.epoch.to_be_bytes(), row.sequence.to_be_bytes()];
    let value = value::stamped(highest, &[numbers.as_flattened(), &value::json(row)?]);
    draft.put(Space::Ledger, key::partition(row.topic, row.partition).finish()?, value);
    Ok(())
}

/// Refuses a commit under any epoch but the newest.
fn fence(stored: Option<Stored>, ours: &LedgerRow) -> Result<Stored, StoreError> {
    let newest = stored.as_ref().map_or(0, |stored| stored.epoch);
    match stored {
        Some(stored) if stored.epoch == ours.epoch => Ok(stored),
        _ if newest > ours.epoch => Err(StoreError::Fenced { ours: ours.epoch, newest }),
        _ => Err(StoreError::Invalid(format!(
            "epoch {} of {} {} was never claimed: claim the partition before committing to it",
            ours.epoch, ours.topic, ours.partition
        ))),
    }
}

#[cfg(test)]
mod tests {
    use millrace_schema::UserKey;
    use millrace_schema::record::Job;
    use uuid::Uuid;

    use super::*;
    use crate::embedded::open;
    use crate::{Change, JobRow, Write};

    fn commit(ledger: &LedgerRow, frontier: u64, change: Change) -> Commit {
        let ledger = LedgerRow { frontier, sequence: frontier, ..ledger.clone() };
        let writes = vec![Write { stamp: BASE.at(frontier), change }];
        Commit { writes, ledger, generation: GENERATION }
    }

    fn erase(user: &str) -> Change {
        Change::EraseEvents { user: UserKey::new("p", user) }
    }

    #[test]
    fn what_was_decided_ahead_holds_until_its_partition_commits_again() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open::open(dir.path(), Default::default()).unwrap();
        let ours = engine.claim(Topic::Events, 0).unwrap();
        let other = engine.claim(Topic::Events, 1).unwrap();
        let second = commit(&ours, 2, erase("u"));
        let decided = || decide(&mut Draft::ahead(&engine.db, &engine.spaces), &second).unwrap();
        let before = decided();
        engine.commit(commit(&other, 1, erase("v"))).unwrap();
        assert!(engine.still_holds(&before, &ours).unwrap());
        engine.commit(commit(&ours, 1, erase("u"))).unwrap();
        assert!(!engine.still_holds(&before, &ours).unwrap());
        assert!(engine.still_holds(&decided(), &ours).unwrap());
        engine.claim(Topic::Events, 0).unwrap();
        assert!(matches!(engine.commit(second.clone()), Err(StoreError::Fenced { .. })));
    }

    #[test]
    fn a_job_is_never_decided_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open::open(dir.path(), Default::default()).unwrap();
        let ours = engine.claim(Topic::Deletions, 0).unwrap();
        let job = Job { job: Uuid::from_u128(1), users: 1, ..Job::default() };
        let job = JobRow { project: "p".to_owned(), accepted_us: 1, job, completion: None };
        let put = commit(&ours, 1, Change::PutJob { job });
        let decided = decide(&mut Draft::ahead(&engine.db, &engine.spaces), &put).unwrap();
        assert!(!engine.still_holds(&decided, &ours).unwrap());
        engine.commit(put).unwrap();
        assert_eq!(engine.view().open_jobs().unwrap().len(), 1);
    }
}
