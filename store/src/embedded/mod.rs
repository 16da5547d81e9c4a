//! The embedded store: every row in one fjall database in one folder of one process.
//!
//! Owns the keyspaces, their keys and values, and the rule that the larger stamp wins. Must not
//! know what a record means; a change says which rows it sets and which it erases.
//!
//! `user` below is the project and the user id, each with its length before it, so that no user's
//! prefix begins another's. Times and numbers are big-endian (times with the sign bit flipped), so
//! that bytes sort as the numbers do. Every value begins with a format version and, where rows
//! compete, the stamp of their write.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `events` | user, time, id | stamp, expiry, payload |
//! | `event_times` | user, id | stamp, expiry, time |
//! | `profiles` | user, 0 | stamp, created and updated time |
//! | | user, 1, property | stamp, cell |
//! | `devices` | user, 1, device, 0 | stamp, updated time |
//! | | user, 1, device, 1, property | stamp, cell |
//! | `claims` | project, device, 0 (nobody) or 1 and the holder | stamp, claim |
//! | `erasures` | user, topic, 0 | stamp of the latest erasure, the newest marker |
//! | | user, topic, 1, offset | stamp, an older marker |
//! | `jobs` | project, job | stamp, row |
//! | `jobs_by_time` | project, accepted time, job | empty |
//! | `open_jobs` | project, job | empty |
//! | `ledger` | topic, partition | highest stamp ever committed, epoch, number of the write, row |
//! | `topics` | topic | base, number of partitions |
//! | `receipts` | project | its newest receipt: number, job, hash |
//! | `deliveries` | project, job | delivery |
//! | `open_deliveries` | project, job | empty |
//! | `projects` | id | project |
//! | `keys` | id | key, with its revocation |
//! | `documents` | kind, key | version (as if a stamp), expiry, text |
//! | `audit` | time, id | entry |
//! | `receipt_keys` | id | key |
//! | `webhooks` | project | webhook |
//! | `upkeep` | name | which journal is to be deleted, and when |
//!
//! A profile or a device is one row a property, so that a merge writes what changed and reads
//! nothing. Erasing writes one row and removes nothing: `erasures` holds the stamp at or below which
//! a user's rows of a topic are dead. Readers hide them, compactions leave them out, and
//! [`Store::purge`] compacts everything. So the end of a life, and the erasure of devices and of
//! claims, are one and the same here.
//!
//! fjall writes a batch of several keyspaces as one journal record, checksummed, and drops a torn
//! one at open: a [`Commit`] is there whole or not at all, also after `kill -9`. It is durable
//! against a power cut after [`Store::persist`]. A failed write or flush stops the database until
//! the process is restarted ([`StoreError::Stopped`]).

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fjall::{Database, Keyspace, PersistMode};
use millrace_schema::{Topic, UserKey};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    AccountStore, Answer, ApiKey, Claim, Commit, Completion, Delivery, Devices, Erasure,
    EventQuery, EventRow, JobRow, LedgerRow, NewestReceipt, ProfileRow, Project, ReceiptKey,
    Residue, Stamp, Store, StoreError, Webhook,
};

mod accounts;
mod apply;
mod background;
mod compaction;
mod deliveries;
mod documents;
mod draft;
mod erasures;
mod failure;
mod filter;
mod jobs;
mod journal;
mod key;
mod ledger;
mod open;
mod purge;
mod read;
mod space;
mod value;

use background::Background;
use draft::Draft;
use failure::failed;
pub use open::Config;
use space::Spaces;

/// Never changes: nothing that was acknowledged is forgotten while this process lives, and the
/// next one claims its partitions anew.
const GENERATION: u64 = 0;

/// The embedded store. Clones share one database; it is closed when the last one is dropped,
/// which waits for a flush or compaction under way.
#[derive(Clone)]
pub struct EmbeddedStore {
    // Dropped first, so that the engine's last user is none of their threads. Compacting ends last:
    // what the other one writes may have to wait for it.
    _background: Arc<[Background; 2]>,
    engine: Arc<Engine>,
}

impl EmbeddedStore {
    /// Opens the store in a folder of its own, or makes it. Blocks while the journal is replayed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the folder cannot be read, or another process has it open.
    pub fn open(dir: &Path, config: Config) -> Result<Self, StoreError> {
        let engine = Arc::new(open::open(dir, config)?);
        let background = [engine.start_expelling()?, engine.start_compacting()?];
        Ok(Self { _background: Arc::new(background), engine })
    }

    /// Waits until the store has stopped for good, and says why: the process must then end with
    /// an error and be started anew. Never resolves while the store works.
    pub fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        let mut stopped = self.engine.stopped.subscribe();
        async move {
            loop {
                if let Some(reason) = &*stopped.borrow_and_update() {
                    return reason.clone();
                }
                if stopped.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Runs work that may block on a thread made for it.
    fn run<T, F>(&self, work: F) -> Answer<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static,
    {
        // Compactions go on until it is done, even if nobody waits for it any more.
        let store = self.clone();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || {
                let done = work(&store.engine);
                if let Err(StoreError::Stopped(reason)) = &done {
                    store.engine.stopped.send_replace(Some(reason.clone()));
                }
                done
            });
            done.await.unwrap_or_else(|e| Err(StoreError::Unavailable(e.to_string())))
        })
    }
}

/// What the blocking work runs on.
struct Engine {
    db: Database,
    spaces: Spaces,
    dir: PathBuf,
    disk_reserve_bytes: u64,
    journal_residue: Duration,
    /// What compactions judge by.
    filters: Arc<filter::Shared>,
    rewritten: compaction::Rewritten,
    /// Open for as long as the database is.
    _erasures: Arc<Keyspace>,
    /// Whether anything was erased since the last purge.
    has_erased: AtomicBool,
    /// One writer at a time: fjall's journal takes no more, and what is read before it is written
    /// is still so when it is.
    writer: Mutex<()>,
    /// One purge at a time, and no other work on files beside it.
    upkeep: Mutex<()>,
    /// Why the database takes no writes any more.
    stopped: watch::Sender<Option<String>>,
}

impl Engine {
    /// Begins a batch; waits for the one before.
    fn draft(&self) -> Draft<'_> {
        Draft::new(&self.db, &self.spaces, self.turn())
    }

    /// Waits until nobody else writes.
    fn turn(&self) -> MutexGuard<'_, ()> {
        // What it guards is on disk, so a writer that panicked leaves nothing half done.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.db.persist(PersistMode::SyncAll).map_err(failed)
    }
}

impl Store for EmbeddedStore {
    fn settle(&self) -> Duration {
        Duration::ZERO
    }

    fn generation(&self) -> Answer<'_, u64> {
        Box::pin(async { Ok(GENERATION) })
    }

    fn commit(&self, commit: Commit) -> Answer<'_, ()> {
        self.run(|engine| engine.commit(commit))
    }

    fn persist(&self) -> Answer<'_, ()> {
        self.run(Engine::persist)
    }

    fn claim(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        self.run(move |engine| engine.claim(topic, partition))
    }

    fn newest_epoch(&self, topic: Topic, partition: u32) -> Answer<'_, u64> {
        self.run(move |engine| engine.newest_epoch(topic, partition))
    }

    fn ledger(&self) -> Answer<'_, Vec<LedgerRow>> {
        self.run(Engine::ledger)
    }

    fn topic_base(&self, topic: Topic, partitions: u32) -> Answer<'_, Stamp> {
        self.run(move |engine| engine.topic_base(topic, partitions))
    }

    fn profiles(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Option<ProfileRow>>> {
        self.run(move |engine| engine.view().profiles(&users))
    }

    fn devices(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Devices>> {
        self.run(move |engine| engine.view().devices(&users))
    }

    fn claims(&self, project: &str, device_ids: Vec<String>) -> Answer<'_, Vec<Vec<Claim>>> {
        let project = project.to_owned();
        self.run(move |engine| engine.view().claims(&project, &device_ids))
    }

    fn events(&self, user: UserKey, query: EventQuery) -> Answer<'_, Vec<EventRow>> {
        self.run(move |engine| engine.view().events(&user, &query))
    }

    fn event_times(&self, ids: Vec<(UserKey, String)>) -> Answer<'_, Vec<Option<i64>>> {
        self.run(move |engine| engine.view().event_times(&ids))
    }

    fn erasures(&self, user: UserKey, topic: Topic) -> Answer<'_, Vec<Erasure>> {
        self.run(move |engine| engine.view().erasures(&user, topic))
    }

    fn job(&self, project: &str, job: Uuid) -> Answer<'_, Option<JobRow>> {
        let project = project.to_owned();
        self.run(move |engine| engine.view().job(&project, job))
    }

    fn jobs(
        &self,
        project: &str,
        before: Option<(i64, Uuid)>,
        limit: usize,
    ) -> Answer<'_, Vec<JobRow>> {
        let project = project.to_owned();
        self.run(move |engine| engine.view().jobs(&project, before, limit))
    }

    fn open_jobs(&self) -> Answer<'_, Vec<JobRow>> {
        self.run(|engine| engine.view().open_jobs())
    }

    fn complete_job(&self, project: &str, job: Uuid, completion: Completion) -> Answer<'_, bool> {
        let project = project.to_owned();
        self.run(move |engine| engine.complete_job(&project, job, completion))
    }

    fn rewind(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        self.run(move |engine| engine.rewind(topic, partition))
    }

    fn newest_receipt(&self, project: &str) -> Answer<'_, Option<NewestReceipt>> {
        let project = project.to_owned();
        self.run(move |engine| engine.newest_receipt(&project))
    }

    fn life_ends_claims(&self) -> bool {
        true
    }

    fn purge(&self) -> Answer<'_, ()> {
        self.run(Engine::purge)
    }

    fn residues(&self) -> Answer<'_, Vec<Residue>> {
        Box::pin(async { Ok(self.engine.residues()) })
    }

    fn put_delivery(&self, project: &str, job: Uuid, delivery: Delivery) -> Answer<'_, ()> {
        let project = project.to_owned();
        self.run(move |engine| engine.put_delivery(&project, job, &delivery))
    }

    fn deliveries(&self, project: &str, jobs: Vec<Uuid>) -> Answer<'_, Vec<Option<Delivery>>> {
        let project = project.to_owned();
        self.run(move |engine| engine.deliveries(&project, &jobs))
    }

    fn open_deliveries(&self) -> Answer<'_, Vec<(String, Uuid, Delivery)>> {
        self.run(Engine::open_deliveries)
    }
}

impl AccountStore for EmbeddedStore {
    fn create_project(&self, project: Project) -> Answer<'_, ()> {
        self.run(move |engine| engine.create_project(&project))
    }

    fn projects(&self) -> Answer<'_, Vec<Project>> {
        self.run(Engine::projects)
    }

    fn create_key(&self, key: ApiKey) -> Answer<'_, ()> {
        self.run(move |engine| engine.create_key(&key))
    }

    fn keys(&self) -> Answer<'_, Vec<ApiKey>> {
        self.run(Engine::keys)
    }

    fn revoke_key(&self, id: Uuid, revoked_us: i64) -> Answer<'_, bool> {
        self.run(move |engine| engine.revoke_key(id, revoked_us))
    }

    fn add_receipt_key(&self, key: ReceiptKey) -> Answer<'_, ()> {
        self.run(move |engine| engine.add_receipt_key(&key))
    }

    fn receipt_keys(&self) -> Answer<'_, Vec<ReceiptKey>> {
        self.run(Engine::receipt_keys)
    }

    fn set_webhook(&self, project: &str, url: Option<String>) -> Answer<'_, ()> {
        let project = project.to_owned();
        self.run(move |engine| engine.set_webhook(&project, url))
    }

    fn webhooks(&self) -> Answer<'_, Vec<Webhook>> {
        self.run(Engine::webhooks)
    }
}
