//! Documents: all in one partition, changed together by a conditional batch.
//!
//! A change is one batch: each document under the condition that it is as it was read, and a row
//! of the [outbox](super::audit) under the change's own id, which holds its audit entries.
//!
//! That row also tells what became of a change whose answer was lost. Who wants to know writes
//! the row itself, by condition: either it is there, then the change has happened; or now it never
//! can, because its batch demands that the row is not there.
//!
//! Conditional writes of one partition disturb each other, so a process sends one at a time.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::future::try_join_all;
use millrace_schema::time::{Micros, wall_clock_us};
use scylla::response::PagingState;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::CqlStore;
use super::audit::{KEEP_OUTBOX, Sweeping};
use super::connection::{Bound, Connection};
use super::value::{big, json, key, values};
use crate::document::check_change;
use crate::{
    Answer, AuditQuery, AuditRow, Document, DocumentChange, DocumentStore, Expect, Kind, StoreError,
};

/// The only partition.
pub(super) const SHARD: i32 = 0;
/// Of a document that never expires.
const NEVER_US: Micros = Micros::MAX;
/// How long a change waits for those before it.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a change is tried when others are faster, or nobody knows what became of it.
const CHANGE_TRIES: usize = 8;
/// How often it is asked what became of a change.
const OUTCOME_TRIES: usize = 3;
/// Between two of them.
const OUTCOME_PAUSE: Duration = Duration::from_millis(100);
/// A row outlives its document's expiry by this; clocks may differ by less.
const TTL_MARGIN_SECONDS: i64 = 24 * 3600;
/// Cassandra refuses a TTL that ends after 2038. What lives longer stays, hidden by its expiry.
const TTL_SECONDS_MAX: i64 = 366 * 24 * 3600;
/// Documents asked for at once.
const PAGE_DOCUMENTS: usize = 500;
/// Version of an outbox row.
const HAPPENED: i64 = 1;

/// What the changes of this process share.
#[derive(Default)]
pub(super) struct Changes {
    turn: Mutex<()>,
    pub(super) sweeping: Sweeping,
}

/// A document's row: version, text and expiry.
type Line = (Option<i64>, Option<String>, Option<i64>);

/// A row that is there, expired or not.
struct Stored {
    version: i64,
    expires_us: Micros,
    text: String,
}

impl Stored {
    /// A row without a version is not there.
    fn new((version, text, expires_us): Line) -> Option<Self> {
        let expires_us = expires_us.unwrap_or(NEVER_US);
        Some(Self { version: version?, expires_us, text: text.unwrap_or_default() })
    }

    fn is_live(&self, now_us: Micros) -> bool {
        self.expires_us > now_us
    }

    fn document(self, now_us: Micros) -> Option<Document> {
        let is_live = self.is_live(now_us);
        let version = u64::try_from(self.version).ok()?;
        is_live.then_some(Document { version, text: self.text })
    }
}

impl DocumentStore for CqlStore {
    fn document(&self, kind: Kind, key: &str) -> Answer<'_, Option<Document>> {
        let key = key.to_owned();
        Box::pin(async move {
            let stored = self.connection()?.stored_document(kind, &key).await?;
            Ok(stored.and_then(|stored| stored.document(wall_clock_us())))
        })
    }

    fn documents(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Answer<'_, Vec<(String, Document)>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move {
            self.connection()?.documents(kind, &prefix, after.as_deref(), limit).await
        })
    }

    fn change(&self, changes: Vec<DocumentChange>, audit: Vec<AuditRow>) -> Answer<'_, bool> {
        Box::pin(async move { self.connection()?.change(&changes, &audit).await })
    }

    fn audit(&self, query: AuditQuery) -> Answer<'_, Vec<AuditRow>> {
        Box::pin(async move { self.connection()?.audit(&query).await })
    }
}

impl Connection {
    async fn stored_document(&self, kind: Kind, name: &str) -> Result<Option<Stored>, StoreError> {
        let values = values![SHARD, kind.name(), key(name)?];
        let line: Option<Line> = self.row(&self.statements.document, &values).await?;
        Ok(line.and_then(Stored::new))
    }

    async fn documents(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Document)>, StoreError> {
        let from = after.map_or(prefix, |after| after.max(prefix));
        let values = values![SHARD, kind.name(), key(from)?];
        // One more, which may be the one after which they are asked for.
        let page_rows = limit.saturating_add(1).min(PAGE_DOCUMENTS);
        let page_rows = i32::try_from(page_rows).unwrap_or(i32::MAX);
        let now_us = wall_clock_us();
        let mut documents = Vec::new();
        let mut at = Some(PagingState::start());
        while let Some(from) = at {
            let (lines, next): (Vec<(String, _, _, _)>, _) =
                self.page(&self.statements.documents, &values, from, page_rows).await?;
            at = next;
            for (key, version, text, expires_us) in lines {
                if documents.len() >= limit || !key.starts_with(prefix) {
                    return Ok(documents);
                }
                let stored = Stored::new((version, text, expires_us));
                let document = stored.and_then(|stored| stored.document(now_us));
                if let Some(document) = document.filter(|_| Some(&*key) != after) {
                    documents.push((key, document));
                }
            }
        }
        Ok(documents)
    }

    async fn change(
        &self,
        changes: &[DocumentChange],
        audit: &[AuditRow],
    ) -> Result<bool, StoreError> {
        check_change(changes, audit)?;
        if changes.is_empty() {
            self.put_audit(audit).await?;
            return Ok(true);
        }
        let happened = {
            let _turn = timeout(TURN_TIMEOUT, self.changes.turn.lock()).await.map_err(|_| {
                StoreError::Unavailable("too many changes wait for their turn".to_owned())
            })?;
            self.change_in_turn(changes, &json(&audit)?).await?
        };
        self.sweep_outbox_if_due().await;
        Ok(happened)
    }

    async fn change_in_turn(
        &self,
        changes: &[DocumentChange],
        entries: &str,
    ) -> Result<bool, StoreError> {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(5))
            .with_max_delay(Duration::from_millis(200))
            .with_max_times(CHANGE_TRIES)
            .with_jitter();
        let mut reason = StoreError::Unavailable("others change the same documents".to_owned());
        for delay in delays.build() {
            let now_us = wall_clock_us();
            let read = changes.iter().map(|change| self.stored_document(change.kind, &change.key));
            let stored = try_join_all(read).await?;
            if !changes.iter().zip(&stored).all(|(change, stored)| holds(change, stored, now_us)) {
                return Ok(false);
            }
            let id = Uuid::now_v7().to_string();
            let started = Instant::now();
            let batch = self.batch(changes, &stored, &id, entries, now_us)?;
            match self.apply_together(batch).await {
                Ok(true) => return Ok(true),
                // Something has changed in between: whether it is still as expected is read again.
                Ok(false) => {}
                Err(StoreError::Unavailable(text)) => {
                    reason = StoreError::Unavailable(text);
                    if self.has_happened(&id, started, &reason).await? {
                        return Ok(true);
                    }
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(delay).await;
        }
        Err(reason)
    }

    fn batch<'w>(
        &'w self,
        changes: &'w [DocumentChange],
        stored: &[Option<Stored>],
        id: &'w str,
        entries: &'w str,
        now_us: Micros,
    ) -> Result<Vec<Bound<'w>>, StoreError> {
        let mut batch = Vec::with_capacity(changes.len() + 1);
        for (change, stored) in changes.iter().zip(stored) {
            batch.push(self.bound(change, stored.as_ref(), now_us)?);
        }
        let values = values![HAPPENED, entries, SHARD, id];
        batch.push(Bound { prepared: &self.statements.put_outbox, values });
        Ok(batch)
    }

    /// One document of a change, under the condition that its row is as it was read. Its expiry
    /// tells a document from one that had expired and was made anew with the same version.
    fn bound<'w>(
        &'w self,
        change: &'w DocumentChange,
        stored: Option<&Stored>,
        now_us: Micros,
    ) -> Result<Bound<'w>, StoreError> {
        let statements = &self.statements;
        let place = values![SHARD, change.kind.name(), key(&change.key)?];
        let condition = stored.map(|stored| values![stored.version, stored.expires_us]);
        let (prepared, mut values) = match (&change.text, &condition) {
            (Some(_), None) => (&statements.put_document, Vec::new()),
            (Some(_), Some(_)) => (&statements.replace_document, Vec::new()),
            (None, None) => (&statements.demand_no_document, Vec::new()),
            (None, Some(_)) => (&statements.remove_document, Vec::new()),
        };
        if let Some(text) = &change.text {
            let version = match change.expect {
                Expect::Absent => 1,
                Expect::Version(version) => big(version).saturating_add(1),
            };
            let ttl = ttl_seconds(change.expires_us, now_us);
            let expires_us = change.expires_us.unwrap_or(NEVER_US);
            values.extend(values![ttl, version, text.as_str(), expires_us]);
        }
        values.extend(place);
        values.extend(condition.unwrap_or_default());
        Ok(Bound { prepared, values })
    }

    /// Whether a change has happened whose answer was lost; if not, it never will.
    ///
    /// # Errors
    /// The reason for which its answer was lost, if this cannot be found out either.
    async fn has_happened(
        &self,
        id: &str,
        started: Instant,
        reason: &StoreError,
    ) -> Result<bool, StoreError> {
        for _ in 0..OUTCOME_TRIES {
            // The row of a change that has happened may be gone.
            if started.elapsed() > KEEP_OUTBOX / 2 {
                break;
            }
            let values = values![SHARD, id];
            match self.apply(&self.statements.forestall, &values).await {
                Ok(true) => return Ok(false),
                Ok(false) => {
                    let row: Option<(Option<i64>,)> =
                        self.row(&self.statements.outcome, &values).await?;
                    let Some(version) = row.and_then(|(version,)| version) else { break };
                    return Ok(version == HAPPENED);
                }
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(OUTCOME_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(reason.clone())
    }
}

/// Whether a document is as a change expects it to be.
fn holds(change: &DocumentChange, stored: &Option<Stored>, now_us: Micros) -> bool {
    let live = stored.as_ref().filter(|stored| stored.is_live(now_us));
    match (change.expect, live) {
        (Expect::Absent, None) => true,
        (Expect::Version(version), Some(stored)) => u64::try_from(stored.version) == Ok(version),
        _ => false,
    }
}

/// For how long a row is kept; 0: for ever.
fn ttl_seconds(expires_us: Option<Micros>, now_us: Micros) -> i32 {
    let Some(expires_us) = expires_us else { return 0 };
    let seconds = expires_us.saturating_sub(now_us).max(0) / 1_000_000 + TTL_MARGIN_SECONDS;
    if seconds > TTL_SECONDS_MAX {
        return 0;
    }
    i32::try_from(seconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_kept_a_day_longer_than_its_document_or_for_ever() {
        let day = 24 * 3600;
        let second_us = 1_000_000;
        assert_eq!(ttl_seconds(None, 0), 0);
        assert_eq!(ttl_seconds(Some(0), 5 * second_us), day);
        assert_eq!(ttl_seconds(Some(i64::MIN), i64::MAX), day);
        assert_eq!(ttl_seconds(Some(7 * second_us), 5 * second_us), day + 2);
        assert_eq!(ttl_seconds(Some(i64::MAX), 0), 0);
    }
}
