//! The audit log: a table by month, and the outbox, from which entries are moved there.
//!
//! Entries of a change are written into the outbox, a part of the documents' partition, with the
//! change's own batch. They stay there for a while, because their row is what tells that the
//! change has happened; then whoever changes or reads something moves them. An entry may be moved
//! twice: it is the same row. A reader looks at both, at the outbox first, so that it misses none
//! on its way.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_schema::time::{Micros, wall_clock_us};
use scylla::response::PagingState;
use tokio::time::Instant;
use tracing::warn;

use super::connection::{Bound, Connection};
use super::documents::SHARD;
use super::jobs::month;
use super::value::{json, read_json, values};
use crate::{AuditQuery, AuditRow, StoreError};

/// How long the entries of a change stay in the outbox at least.
pub(super) const KEEP_OUTBOX: Duration = Duration::from_secs(600);
/// How often the outbox is swept, if there is anybody to do it.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Entries asked for at once.
const PAGE_ENTRIES: i32 = 500;
/// Entries written at once.
const BATCH_ENTRIES: usize = 100;
/// Above the id of every change.
const AFTER_ALL_IDS: &str = "g";

/// When this process has swept the outbox last.
#[derive(Default)]
pub(super) struct Sweeping(Mutex<Option<Instant>>);

impl Sweeping {
    /// Whether the outbox is to be swept now. Who is told so does it.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= SWEEP_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// A change's row in the outbox: its id, its entries, and when it was written.
type Line = (String, Option<String>, Option<i64>);

impl Connection {
    /// Writes entries where they stay. Their months are there before they are.
    pub(super) async fn put_audit(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let mut by_month: BTreeMap<i32, Vec<&AuditRow>> = BTreeMap::new();
        for row in rows {
            by_month.entry(month(row.time_us)).or_default().push(row);
        }
        for (month, rows) in by_month {
            let values = values![SHARD, month];
            self.write(&self.statements.put_audit_month, &values).await?;
            for rows in rows.chunks(BATCH_ENTRIES) {
                let bound = |row: &&AuditRow| {
                    let values = values![month, row.time_us, row.id, json(row)?];
                    Ok(Bound { prepared: &self.statements.put_audit, values })
                };
                let batch: Result<_, StoreError> = rows.iter().map(bound).collect();
                self.write_together(batch?).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRow>, StoreError> {
        let mut found = BTreeMap::new();
        for line in self.outbox(AFTER_ALL_IDS).await? {
            insert(&mut found, query, entries(&line)?);
        }
        let values = values![SHARD];
        let months: Vec<(i32,)> = self.rows(&self.statements.audit_months, &values).await?;
        let first = month(query.from_us.unwrap_or(Micros::MIN));
        let last = month(query.to_us.unwrap_or(Micros::MAX));
        let mut missing = query.bound();
        for (month,) in months.into_iter().filter(|(month,)| (first..=last).contains(month)) {
            if missing == 0 {
                break;
            }
            let rows = self.audit_of_month(month, query, missing).await?;
            missing = missing.saturating_sub(rows.len());
            insert(&mut found, query, rows);
        }
        self.sweep_outbox_if_due().await;
        Ok(found.into_values().take(query.bound()).collect())
    }

    /// The newest entries of a month that are asked for, so many at most.
    async fn audit_of_month(
        &self,
        month: i32,
        query: &AuditQuery,
        limit: usize,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let to_us = query.to_us.map_or(Micros::MAX, |to_us| to_us.saturating_sub(1));
        let values = values![month, query.from_us.unwrap_or(Micros::MIN), to_us];
        let mut rows = Vec::new();
        let mut at = Some(PagingState::start());
        while let Some(from) = at.take()
            && rows.len() < limit
        {
            let (entries, next): (Vec<(Option<String>,)>, _) =
                self.page(&self.statements.audit, &values, from, PAGE_ENTRIES).await?;
            at = next;
            for entry in entries.into_iter().filter_map(|(entry,)| entry) {
                let row: AuditRow = read_json("audit", &entry)?;
                if query.admits(&row) {
                    rows.push(row);
                }
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    /// The outbox up to an id.
    async fn outbox(&self, before: &str) -> Result<Vec<Line>, StoreError> {
        let values = values![SHARD, before];
        self.rows(&self.statements.outbox, &values).await
    }

    /// What is in the outbox is not lost: if it cannot be moved now, it will be later.
    pub(super) async fn sweep_outbox_if_due(&self) {
        if self.changes.sweeping.is_due()
            && let Err(error) = self.sweep_outbox(KEEP_OUTBOX).await
        {
            warn!(%error, "audit entries stay in the outbox");
        }
    }

    /// Moves what is older than that.
    pub(super) async fn sweep_outbox(&self, keep: Duration) -> Result<(), StoreError> {
        let lines = self.outbox(&first_id_after(wall_clock_us(), keep)).await?;
        let Some((last, ..)) = lines.last() else { return Ok(()) };
        for line in &lines {
            self.put_audit(&entries(line)?).await?;
        }
        // Later changes of the partition have later timestamps: what was not seen is not removed.
        let written_at = lines.iter().filter_map(|(_, _, written_at)| *written_at).max();
        let values = values![written_at.unwrap_or(0), SHARD, last.as_str()];
        self.write(&self.statements.clear_outbox, &values).await
    }
}

/// The entries of a row in the outbox. A change that never happened has none.
fn entries((_, entries, _): &Line) -> Result<Vec<AuditRow>, StoreError> {
    entries.as_ref().map_or_else(|| Ok(Vec::new()), |entries| read_json("documents", entries))
}

/// Adds the entries that are asked for, newest first.
fn insert(
    found: &mut BTreeMap<Reverse<(Micros, i64)>, AuditRow>,
    query: &AuditQuery,
    rows: Vec<AuditRow>,
) {
    let rows = rows.into_iter().filter(|row| query.admits(row));
    found.extend(rows.map(|row| (Reverse((row.time_us, row.id)), row)));
}

/// The least id that a change of that age can have: ids begin with the time.
fn first_id_after(now_us: Micros, age: Duration) -> String {
    let age_us = Micros::try_from(age.as_micros()).unwrap_or(Micros::MAX);
    let millis = u64::try_from(now_us.saturating_sub(age_us) / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().to_string()
}
