//! `millrace` with one rule broken on purpose: `MILLRACE_BREAK=<name> broken dev …`, or a front door
//! or worker.
//!
//! Shows that the delivery oracle can fail. The names are those of [`Breakage`]. One of them breaks
//! no rule: engines that fail for a while, which the product must live with.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace::Engines;
use millrace_log::{
    AppendError, Appended, Batch, Bounds, BoxFuture, Durability, Log, LogError, Subscription,
};
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::{
    Answer, Change, Claim, Commit, Completion, Delivery, Devices, Erasure, EventQuery, EventRow,
    JobRow, LedgerRow, NewestReceipt, ProfileRow, Residue, Stamp, Store, StoreError, Write,
};
use uuid::Uuid;

/// Every how many events one is lost or doubled.
const EVERY: u64 = 20;
/// From when to when, after the start, the engines are flaky: not while the process starts.
const FLAKY: Range<Duration> = Duration::from_secs(1)..Duration::from_secs(5);
/// How often the store goes away meanwhile.
const PERIOD: Duration = Duration::from_millis(400);
/// How long what a marker erases stays when it is erased too late.
const LATE: Duration = Duration::from_secs(3);
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
    /// Markers erase nothing, and no user of a job is read back.
    IgnoreMarkersUnseen,
    /// What a marker erases is erased seconds after the position has moved, and no user of a job is
    /// read back: it is completed before.
    CompleteEarly,
    /// Some events are written twice, under another id.
    DoubleEvents,
    /// Some events are not written.
    LoseEvents,
    /// The stamps of profile cells are turned around, so that the earlier change wins.
    OldestWins,
    /// One outcome too many is counted.
    Miscount,
    /// The resume point is the frontier, as if nothing acknowledged were ever forgotten.
    ResumeAtFrontier,
    /// Whoever begins anew goes on under the epoch that is there.
    SharedEpoch,
    /// A user's device rows are erased at once, and only when that has settled the claims that
    /// they lead to.
    ListFirst,
    /// No rule is broken: for some seconds the store is away again and again, commits and appends
    /// that took place are reported as failed.
    FlakyEngines,
}

fn main() -> ExitCode {
    let name = std::env::var("MILLRACE_BREAK").unwrap_or_default();
    let breakage = match name.as_str() {
        "ack-before-durable" => Breakage::AckBeforeDurable,
        "frontier-before-data" => Breakage::FrontierBeforeData,
        "ignore-markers" => Breakage::IgnoreMarkers,
        "ignore-markers-unseen" => Breakage::IgnoreMarkersUnseen,
        "complete-early" => Breakage::CompleteEarly,
        "double-events" => Breakage::DoubleEvents,
        "lose-events" => Breakage::LoseEvents,
        "oldest-wins" => Breakage::OldestWins,
        "miscount" => Breakage::Miscount,
        "resume-at-frontier" => Breakage::ResumeAtFrontier,
        "shared-epoch" => Breakage::SharedEpoch,
        "list-first" => Breakage::ListFirst,
        "flaky-engines" => Breakage::FlakyEngines,
        _ => {
            eprintln!("MILLRACE_BREAK={name:?} is no breakage");
            return ExitCode::FAILURE;
        }
    };
    millrace::main(move |engines| {
        let (log, store) = (engines.log, engines.store);
        let log = Arc::new(BrokenLog { inner: log, breakage, appends: AtomicU64::new(0) });
        let (count, since) = (AtomicU64::new(0), Instant::now());
        let (held, late) = (Mutex::default(), Mutex::default());
        let store = Arc::new(BrokenStore { inner: store, breakage, count, since, held, late });
        Engines { log, store, ..engines }
    })
}

struct BrokenLog {
    inner: Arc<dyn Log>,
    breakage: Breakage,
    appends: AtomicU64,
}

impl Log for BrokenLog {
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let n = self.appends.fetch_add(1, Ordering::Relaxed);
        if self.breakage == Breakage::FlakyEngines && n % EVERY == 1 {
            let appended = self.inner.append(batch);
            return Box::pin(async move {
                appended.await?;
                Err(AppendError::Unavailable("as the test wants it".into()))
            });
        }
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

    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Subscription>, LogError> {
        self.inner.subscribe(group, topic)
    }

    fn bounds(&self, topic: Topic) -> BoxFuture<'_, Result<Vec<Bounds>, LogError>> {
        self.inner.bounds(topic)
    }

    fn retention(&self, topic: Topic) -> BoxFuture<'_, Result<Option<Duration>, LogError>> {
        self.inner.retention(topic)
    }

    fn health(&self) -> Result<(), String> {
        self.inner.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.close()
    }
}

/// When, in which partition, what.
type Late = (Instant, (Topic, u32), Write);

struct BrokenStore {
    inner: Arc<dyn Store>,
    breakage: Breakage,
    count: AtomicU64,
    since: Instant,
    /// Claims that are to be erased too late.
    held: Mutex<Vec<Write>>,
    /// Of partitions, what was to be erased when.
    late: Mutex<Vec<Late>>,
}

impl BrokenStore {
    fn flaky(&self) -> bool {
        self.breakage == Breakage::FlakyEngines && FLAKY.contains(&self.since.elapsed())
    }

    /// While it is flaky the store is away in the first half of each period.
    fn up(&self) -> Result<(), StoreError> {
        let within = self.since.elapsed().as_millis() % PERIOD.as_millis();
        if self.flaky() && within < PERIOD.as_millis() / 2 {
            return Err(StoreError::Unavailable("as the test wants it".into()));
        }
        Ok(())
    }

    /// The inner store, while it is there.
    fn ask<'s, T: Send + 's>(
        &'s self,
        call: impl FnOnce(&'s dyn Store) -> Answer<'s, T>,
    ) -> Answer<'s, T> {
        match self.up() {
            Ok(()) => call(&*self.inner),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn nth(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY)
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
            (Breakage::IgnoreMarkers | Breakage::IgnoreMarkersUnseen, change) if erases(change) => {
                vec![]
            }
            (Breakage::OldestWins, Change::PutProfile { cells, .. }) => {
                for cell in cells.values_mut() {
                    cell.version.time_us = -cell.version.time_us;
                }
                vec![write]
            }
            (Breakage::ListFirst, Change::EndLife { user }) => {
                let rows = Write { change: Change::EraseDevices { user: user.clone() }, ..once };
                vec![write, rows]
            }
            (Breakage::ListFirst, Change::EraseClaim { .. }) => {
                self.held().push(write);
                vec![]
            }
            (Breakage::ListFirst, Change::EraseDevices { user: erased }) => {
                let of = |held: &mut Write| match &held.change {
                    Change::EraseClaim { user, .. } => user == erased && held.stamp <= once.stamp,
                    _ => false,
                };
                self.held().extract_if(.., of).collect()
            }
            _ => vec![write],
        }
    }

    /// The writes of a partition, in which erasures are those of some seconds ago.
    fn delayed(&self, place: (Topic, u32), writes: Vec<Write>) -> Vec<Write> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let (erasures, mut writes): (Vec<Write>, Vec<Write>) =
            writes.into_iter().partition(|write| erases(&write.change));
        let due = |(since, of, _): &mut Late| *of == place && since.elapsed() >= LATE;
        writes.extend(late.extract_if(.., due).map(|(_, _, write)| write));
        late.extend(erasures.into_iter().map(|write| (Instant::now(), place, write)));
        writes
    }

    fn held(&self) -> MutexGuard<'_, Vec<Write>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is what a marker does.
const fn erases(change: &Change) -> bool {
    matches!(
        change,
        Change::EraseEvents { .. }
            | Change::EraseProfile { .. }
            | Change::EndLife { .. }
            | Change::EraseDevices { .. }
            | Change::EraseClaim { .. }
    )
}

/// The row from which the next epoch would begin, but in the same one.
fn begin_again(row: LedgerRow) -> LedgerRow {
    let epoch = row.epoch;
    LedgerRow { epoch, ..row.next_epoch() }
}

impl Store for BrokenStore {
    fn commit(&self, mut commit: Commit) -> Answer<'_, ()> {
        commit.writes = commit.writes.into_iter().flat_map(|w| self.instead(w)).collect();
        if self.breakage == Breakage::CompleteEarly {
            let place = (commit.ledger.topic, commit.ledger.partition);
            commit.writes = self.delayed(place, commit.writes);
        }
        if self.breakage == Breakage::Miscount && commit.ledger.frontier > 0 {
            commit.ledger.counts.add("", Outcome::Stored, 1);
        }
        if self.breakage == Breakage::ResumeAtFrontier {
            let row = &mut commit.ledger;
            (row.settled, row.resume, row.resume_time_us) =
                (row.frontier, row.frontier, row.time_us);
            row.resume_counts.clone_from(&row.counts);
        }
        if self.flaky() {
            let fails = self.nth();
            let committed = self.ask(|store| store.commit(commit));
            return Box::pin(async move {
                committed.await?;
                if !fails {
                    return Ok(());
                }
                Err(StoreError::Unavailable("committed, as the test wants it".into()))
            });
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
        self.ask(|store| store.generation())
    }

    fn persist(&self) -> Answer<'_, ()> {
        self.ask(|store| store.persist())
    }

    fn claim(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        if self.breakage != Breakage::SharedEpoch {
            return self.ask(|store| store.claim(topic, partition));
        }
        Box::pin(async move {
            let rows = self.inner.ledger().await?;
            let mine = |row: &LedgerRow| (row.topic, row.partition) == (topic, partition);
            match rows.into_iter().find(mine) {
                Some(row) => Ok(begin_again(row)),
                None => self.inner.claim(topic, partition).await,
            }
        })
    }

    fn newest_epoch(&self, topic: Topic, partition: u32) -> Answer<'_, u64> {
        self.ask(|store| store.newest_epoch(topic, partition))
    }

    fn ledger(&self) -> Answer<'_, Vec<LedgerRow>> {
        self.ask(|store| store.ledger())
    }

    fn topic_base(&self, topic: Topic, partitions: u32) -> Answer<'_, Stamp> {
        self.ask(|store| store.topic_base(topic, partitions))
    }

    fn profiles(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Option<ProfileRow>>> {
        self.ask(|store| store.profiles(users))
    }

    fn devices(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Devices>> {
        self.ask(|store| store.devices(users))
    }

    fn claims(&self, project: &str, device_ids: Vec<String>) -> Answer<'_, Vec<Vec<Claim>>> {
        self.ask(|store| store.claims(project, device_ids))
    }

    fn events(&self, user: UserKey, query: EventQuery) -> Answer<'_, Vec<EventRow>> {
        self.ask(|store| store.events(user, query))
    }

    fn event_times(&self, ids: Vec<(UserKey, String)>) -> Answer<'_, Vec<Option<i64>>> {
        self.ask(|store| store.event_times(ids))
    }

    fn erasures(&self, user: UserKey, topic: Topic) -> Answer<'_, Vec<Erasure>> {
        self.ask(|store| store.erasures(user, topic))
    }

    fn job(&self, project: &str, job: Uuid) -> Answer<'_, Option<JobRow>> {
        self.ask(|store| store.job(project, job))
    }

    fn jobs(
        &self,
        project: &str,
        before: Option<(i64, Uuid)>,
        limit: usize,
    ) -> Answer<'_, Vec<JobRow>> {
        self.ask(|store| store.jobs(project, before, limit))
    }

    fn open_jobs(&self) -> Answer<'_, Vec<JobRow>> {
        let unseen = [Breakage::IgnoreMarkersUnseen, Breakage::CompleteEarly];
        let blind = unseen.contains(&self.breakage);
        let jobs = self.ask(|store| store.open_jobs());
        Box::pin(async move {
            let mut jobs = jobs.await?;
            if blind {
                jobs.iter_mut().for_each(|job| job.job.sample.clear());
            }
            Ok(jobs)
        })
    }

    fn complete_job(&self, project: &str, job: Uuid, completion: Completion) -> Answer<'_, bool> {
        self.ask(|store| store.complete_job(project, job, completion))
    }

    fn rewind(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        self.ask(|store| store.rewind(topic, partition))
    }

    fn newest_receipt(&self, project: &str) -> Answer<'_, Option<NewestReceipt>> {
        self.ask(|store| store.newest_receipt(project))
    }

    fn life_ends_claims(&self) -> bool {
        self.inner.life_ends_claims()
    }

    fn purge(&self) -> Answer<'_, ()> {
        self.ask(|store| store.purge())
    }

    fn residues(&self) -> Answer<'_, Vec<Residue>> {
        self.ask(|store| store.residues())
    }

    fn put_delivery(&self, project: &str, job: Uuid, delivery: Delivery) -> Answer<'_, ()> {
        self.ask(|store| store.put_delivery(project, job, delivery))
    }

    fn deliveries(&self, project: &str, jobs: Vec<Uuid>) -> Answer<'_, Vec<Option<Delivery>>> {
        self.ask(|store| store.deliveries(project, jobs))
    }

    fn open_deliveries(&self) -> Answer<'_, Vec<(String, Uuid, Delivery)>> {
        self.ask(|store| store.open_deliveries())
    }
}
