//! Commits and claims: rows and their partition's ledger in one batch, under one epoch.

use std::sync::atomic::Ordering;
use std::time::Instant;

use fjall::Slice;
use millrace_schema::Topic;
use serde::{Deserialize, Serialize};

use crate::embedded::apply::Apply;
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
        let Commit { writes, ledger, .. } = commit;
        let topic = ledger.topic;
        let mut draft = self.draft();
        let stored = stored(&draft, topic, ledger.partition)?;
        let stored = fence(stored, &ledger)?;
        let mut apply = Apply::new(&mut draft, stored.highest);
        for write in writes {
            apply.write(write)?;
        }
        let applied = apply.finish();
        // A repeated call may come after a later one: its ledger row is the older.
        let row = if ledger.sequence < stored.sequence { stored.row()? } else { ledger };
        put(&mut draft, applied.highest, &row)?;
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
