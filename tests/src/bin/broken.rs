//! `millrace` with one rule broken on purpose: `MILLRACE_BREAK=<name> broken dev …`.
//!
//! Shows that the delivery oracle can fail. The names are those of [`Breakage`].

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace::Engines;
use millrace_log::{
    AppendError, Appended, Batch, Bounds, BoxFuture, Durability, Log, LogError, Subscription,
};
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::{
    Answer, Change, Claim, Commit, Completion, Devices, Erasure, EventQuery, EventRow, JobRow,
    LedgerRow, ProfileRow, Stamp, Store, Write,
};
use uuid::Uuid;

/// Every how many events one is lost or doubled.
const EVERY: u64 = 20;
/// How long what must be one step takes as two.
const GAP: Duration = Duration::from_millis(100);

/// Which rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breakage {
    /// Batches of events are acknowledged before they are written.
    AckBeforeDurable,
    /// The frontier moves first and the data follows.
    FrontierBeforeData,
    /// Markers erase nothing.
    IgnoreMarkers,
    /// Some events are written twice, under another id.
    DoubleEvents,
    /// Some events are not written.
    LoseEvents,
    /// The stamps of profile cells are turned around, so that the earlier change wins.
    OldestWins,
    /// One outcome too many is counted.
    Miscount,
}

fn main() -> ExitCode {
    let name = std::env::var("MILLRACE_BREAK").unwrap_or_default();
    let breakage = match name.as_str() {
        "ack-before-durable" => Breakage::AckBeforeDurable,
        "frontier-before-data" => Breakage::FrontierBeforeData,
        "ignore-markers" => Breakage::IgnoreMarkers,
        "double-events" => Breakage::DoubleEvents,
        "lose-events" => Breakage::LoseEvents,
        "oldest-wins" => Breakage::OldestWins,
        "miscount" => Breakage::Miscount,
        _ => {
            eprintln!("MILLRACE_BREAK={name:?} is no breakage");
            return ExitCode::FAILURE;
        }
    };
    millrace::main(move |engines| {
        let log = Arc::new(BrokenLog { inner: engines.log, breakage });
        let store =
            Arc::new(BrokenStore { inner: engines.store, breakage, events: AtomicU64::new(0) });
        Engines { log, store, ..engines }
    })
}

struct BrokenLog {
    inner: Arc<dyn Log>,
    breakage: Breakage,
}

impl Log for BrokenLog {
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        // Deletions need their true offsets, so only events are acknowledged too early.
        let events_only = batch.entries().all(|e| {
            e.topic == Topic::Events && !String::from_utf8_lossy(e.value).contains("\"erase\"")
        });
        if self.breakage != Breakage::AckBeforeDurable || !events_only {
            return self.inner.append(batch);
        }
        let offsets = vec![0; batch.len()];
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            tokio::time::sleep(GAP).await;
            inner.append(batch).await
        });
        Box::pin(async move { Ok(Appended { durability: Durability::Fsynced, offsets }) })
    }

    fn subscribe(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Subscription>, LogError> {
        self.inner.subscribe(group, topics)
    }

    fn bounds(&self, topic: Topic, partition: u32) -> BoxFuture<'_, Result<Bounds, LogError>> {
        self.inner.bounds(topic, partition)
    }

    fn health(&self) -> Result<(), String> {
        self.inner.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.close()
    }
}

struct BrokenStore {
    inner: Arc<dyn Store>,
    breakage: Breakage,
    events: AtomicU64,
}

impl BrokenStore {
    fn nth(&self) -> bool {
        self.events.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY)
    }

    /// What is written instead.
    fn instead(&self, mut write: Write) -> Vec<Write> {
        let once = write.clone();
        match (self.breakage, &mut write.change) {
            (Breakage::LoseEvents, Change::PutEvent { .. }) if self.nth() => vec![],
            (Breakage::DoubleEvents, Change::PutEvent { id, payload, .. }) if self.nth() => {
                let other = format!("{id}-again");
                let text = String::from_utf8_lossy(payload).replace(id.as_str(), &other);
                (*id, *payload) = (other, text.into_bytes().into());
                vec![once, write]
            }
            (
                Breakage::IgnoreMarkers,
                Change::EraseEvents { .. }
                | Change::EraseProfile { .. }
                | Change::EndLife { .. }
                | Change::EraseDevices { .. }
                | Change::EraseClaim { .. },
            ) => vec![],
            (Breakage::OldestWins, Change::PutProfile { cells, .. }) => {
                for cell in cells.values_mut() {
                    cell.version.time_us = -cell.version.time_us;
                }
                vec![write]
            }
            _ => vec![write],
        }
    }
}

impl Store for BrokenStore {
    fn commit(&self, mut commit: Commit) -> Answer<'_, ()> {
        commit.writes = commit.writes.into_iter().flat_map(|w| self.instead(w)).collect();
        if self.breakage == Breakage::Miscount && !commit.writes.is_empty() {
            commit.ledger.counts.add("", Outcome::Stored, 1);
        }
        if self.breakage != Breakage::FrontierBeforeData || commit.writes.is_empty() {
            return self.inner.commit(commit);
        }
        Box::pin(async move {
            let frontier = Commit { writes: Vec::new(), ..commit.clone() };
            self.inner.commit(frontier).await?;
            tokio::time::sleep(GAP).await;
            commit.ledger.sequence += 1;
            self.inner.commit(commit).await
        })
    }

    fn settle(&self) -> Duration {
        self.inner.settle()
    }

    fn generation(&self) -> Answer<'_, u64> {
        self.inner.generation()
    }

    fn persist(&self) -> Answer<'_, ()> {
        self.inner.persist()
    }

    fn claim(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        self.inner.claim(topic, partition)
    }

    fn ledger(&self) -> Answer<'_, Vec<LedgerRow>> {
        self.inner.ledger()
    }

    fn topic_base(&self, topic: Topic, partitions: u32) -> Answer<'_, Stamp> {
        self.inner.topic_base(topic, partitions)
    }

    fn profiles(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Option<ProfileRow>>> {
        self.inner.profiles(users)
    }

    fn devices(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Devices>> {
        self.inner.devices(users)
    }

    fn claims(&self, project: &str, device_ids: Vec<String>) -> Answer<'_, Vec<Vec<Claim>>> {
        self.inner.claims(project, device_ids)
    }

    fn events(&self, user: UserKey, query: EventQuery) -> Answer<'_, Vec<EventRow>> {
        self.inner.events(user, query)
    }

    fn event_times(&self, ids: Vec<(UserKey, String)>) -> Answer<'_, Vec<Option<i64>>> {
        self.inner.event_times(ids)
    }

    fn erasures(&self, user: UserKey, topic: Topic) -> Answer<'_, Vec<Erasure>> {
        self.inner.erasures(user, topic)
    }

    fn job(&self, project: &str, job: Uuid) -> Answer<'_, Option<JobRow>> {
        self.inner.job(project, job)
    }

    fn jobs(
        &self,
        project: &str,
        before: Option<(i64, Uuid)>,
        limit: usize,
    ) -> Answer<'_, Vec<JobRow>> {
        self.inner.jobs(project, before, limit)
    }

    fn open_jobs(&self) -> Answer<'_, Vec<JobRow>> {
        self.inner.open_jobs()
    }

    fn complete_job(&self, project: &str, job: Uuid, completion: Completion) -> Answer<'_, ()> {
        self.inner.complete_job(project, job, completion)
    }
}
