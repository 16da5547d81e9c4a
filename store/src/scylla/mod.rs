//! The store on a CQL database: ScyllaDB, or Cassandra, which speaks the same protocol.
//!
//! Owns the statements, what is one batch, and what a crash may make the database forget. Must not
//! know what a record means; a change says which rows it sets and which it erases. The tables are
//! in `schema/cql`.
//!
//! What the trait promises and the database does not give is made of this:
//!
//! - **Stamps**: every data write carries `USING TIMESTAMP` with its stamp, so the larger stamp
//!   wins in whatever order writes arrive, and a tombstone hides what is at or below it.
//! - **No atomicity** beyond one partition: a commit writes its rows, waits until all are
//!   acknowledged, and only then moves its ledger row. A commit cut short is written again.
//! - **Forgetting**: an acknowledged write that is younger than `settle` may be lost in a crash.
//!   The [generation](generation) shows that a node was restarted; it is asked of every node before
//!   the first write of a commit and again before its ledger row.
//! - **Epochs** are claimed by a conditional write, which a crash may undo as well. So an epoch is
//!   made of the clock and of chance, and none is given twice, whatever is forgotten.
//!
//! Projects, keys and completions are as durable as the database makes them: with its default
//! commit log, a crash of every replica at once forgets what is younger than its sync period.

use std::sync::Arc;
use std::time::Duration;

use millrace_schema::{Topic, UserKey};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    AccountStore, Answer, ApiKey, Claim, Commit, Completion, Delivery, Devices, Erasure,
    EventQuery, EventRow, JobRow, LedgerRow, NewestReceipt, ProfileRow, Project, ReceiptKey,
    Residue, Stamp, Store, StoreError, Webhook,
};

mod accounts;
mod audit;
mod commit;
mod completion;
mod config;
mod connect;
mod connection;
mod deliveries;
mod documents;
mod events;
mod failure;
mod gather;
mod generation;
mod jobs;
mod ledger;
mod migrate;
mod read;
mod rebase;
mod residues;
mod statements;
mod tls;
mod together;
mod topics;
mod value;
mod write;

pub use config::{Config, Credentials, Tls};
use connect::Link;
use connection::Connection;
use jobs::Closing;
pub use migrate::{Dialect, Report, migrate};
pub use rebase::rebase;
/// How many replicas must agree; the driver's.
pub use scylla::statement::Consistency;

/// A store on a CQL database. Clones share one connection; it is closed with the last one.
#[derive(Clone)]
pub struct CqlStore(Arc<Shared>);

struct Shared {
    config: Config,
    link: watch::Sender<Link>,
    closing: Closing,
}

impl CqlStore {
    /// Begins to connect, in the background; until it has, every call is
    /// [`StoreError::Unavailable`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the configuration cannot be meant so.
    pub fn open(config: Config) -> Result<Self, StoreError> {
        config.check()?;
        if let Some(tls) = &config.tls {
            tls::client(tls)?;
        }
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|e| StoreError::Invalid(format!("no runtime to connect on: {e}")))?;
        let link = watch::Sender::new(Link::Connecting("not connected yet".to_owned()));
        let shared = Arc::new(Shared { config, link, closing: Closing::default() });
        runtime.spawn(connect::keep(Arc::downgrade(&shared)));
        Ok(Self(shared))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Why it does not, or cannot be asked.
    pub fn health(&self) -> Result<(), String> {
        match &*self.0.link.borrow() {
            Link::Up { trouble: None, .. } => Ok(()),
            Link::Up { trouble: Some(reason), .. } => Err(reason.clone()),
            Link::Connecting(reason) | Link::Failed(reason) => Err(reason.clone()),
        }
    }

    /// Waits until it is certain that the database cannot be used as it is or as this process is
    /// configured, and says what to do: the process must then end with an error. Never resolves
    /// otherwise.
    pub fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        let mut link = self.0.link.subscribe();
        async move {
            loop {
                if let Link::Failed(reason) = &*link.borrow_and_update() {
                    return reason.clone();
                }
                if link.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        match &*self.0.link.borrow() {
            Link::Up { connection, .. } => Ok(Arc::clone(connection)),
            Link::Connecting(reason) => Err(StoreError::Unavailable(reason.clone())),
            Link::Failed(reason) => Err(StoreError::Stopped(reason.clone())),
        }
    }
}

impl Store for CqlStore {
    fn settle(&self) -> Duration {
        self.0.config.settle
    }

    fn generation(&self) -> Answer<'_, u64> {
        Box::pin(async { self.connection()?.generation().await })
    }

    fn commit(&self, commit: Commit) -> Answer<'_, ()> {
        Box::pin(async move { self.connection()?.commit(&commit).await })
    }

    /// Nothing to do: see [`Store::settle`].
    fn persist(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn claim(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        Box::pin(async move { self.connection()?.claim(topic, partition).await })
    }

    fn rewind(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        Box::pin(async move { self.connection()?.rewind(topic, partition).await })
    }

    fn newest_epoch(&self, topic: Topic, partition: u32) -> Answer<'_, u64> {
        Box::pin(async move { self.connection()?.newest_epoch(topic, partition).await })
    }

    fn ledger(&self) -> Answer<'_, Vec<LedgerRow>> {
        Box::pin(async { self.connection()?.ledger().await })
    }

    fn topic_base(&self, topic: Topic, partitions: u32) -> Answer<'_, Stamp> {
        Box::pin(async move { self.connection()?.topic_base(topic, partitions).await })
    }

    fn profiles(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Option<ProfileRow>>> {
        Box::pin(async move { self.connection()?.profiles(&users).await })
    }

    fn devices(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Devices>> {
        Box::pin(async move { self.connection()?.devices(&users).await })
    }

    fn claims(&self, project: &str, device_ids: Vec<String>) -> Answer<'_, Vec<Vec<Claim>>> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.claims(&project, &device_ids).await })
    }

    fn events(&self, user: UserKey, query: EventQuery) -> Answer<'_, Vec<EventRow>> {
        Box::pin(async move { self.connection()?.events(&user, &query).await })
    }

    fn event_times(&self, ids: Vec<(UserKey, String)>) -> Answer<'_, Vec<Option<i64>>> {
        Box::pin(async move { self.connection()?.event_times(&ids).await })
    }

    fn erasures(&self, user: UserKey, topic: Topic) -> Answer<'_, Vec<Erasure>> {
        Box::pin(async move { self.connection()?.erasures(&user, topic).await })
    }

    fn job(&self, project: &str, job: Uuid) -> Answer<'_, Option<JobRow>> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.job(&project, job).await })
    }

    fn jobs(
        &self,
        project: &str,
        before: Option<(i64, Uuid)>,
        limit: usize,
    ) -> Answer<'_, Vec<JobRow>> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.jobs(&project, before, limit).await })
    }

    fn open_jobs(&self) -> Answer<'_, Vec<JobRow>> {
        Box::pin(async {
            let Shared { closing, config, .. } = &*self.0;
            self.connection()?.open_jobs(closing, config.settle).await
        })
    }

    fn complete_job(&self, project: &str, job: Uuid, completion: Completion) -> Answer<'_, bool> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.complete_job(&project, job, &completion).await })
    }

    fn newest_receipt(&self, project: &str) -> Answer<'_, Option<NewestReceipt>> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.newest_receipt(&project).await })
    }

    fn life_ends_claims(&self) -> bool {
        false
    }

    /// Nothing to do: the database compacts when it finds it worth its while.
    fn purge(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn residues(&self) -> Answer<'_, Vec<Residue>> {
        Box::pin(async { self.connection()?.residues().await })
    }

    fn put_delivery(&self, project: &str, job: Uuid, delivery: Delivery) -> Answer<'_, ()> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.put_delivery(&project, job, &delivery).await })
    }

    fn deliveries(&self, project: &str, jobs: Vec<Uuid>) -> Answer<'_, Vec<Option<Delivery>>> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.deliveries(&project, &jobs).await })
    }

    fn open_deliveries(&self) -> Answer<'_, Vec<(String, Uuid, Delivery)>> {
        Box::pin(async { self.connection()?.open_deliveries(self.0.config.settle).await })
    }
}

impl AccountStore for CqlStore {
    fn create_project(&self, project: Project) -> Answer<'_, ()> {
        Box::pin(async move { self.connection()?.create_project(&project).await })
    }

    fn projects(&self) -> Answer<'_, Vec<Project>> {
        Box::pin(async { self.connection()?.projects().await })
    }

    fn create_key(&self, key: ApiKey) -> Answer<'_, ()> {
        Box::pin(async move { self.connection()?.create_key(&key).await })
    }

    fn keys(&self) -> Answer<'_, Vec<ApiKey>> {
        Box::pin(async { self.connection()?.keys().await })
    }

    fn revoke_key(&self, id: Uuid, revoked_us: i64) -> Answer<'_, bool> {
        Box::pin(async move { self.connection()?.revoke_key(id, revoked_us).await })
    }

    fn add_receipt_key(&self, key: ReceiptKey) -> Answer<'_, ()> {
        Box::pin(async move { self.connection()?.add_receipt_key(&key).await })
    }

    fn receipt_keys(&self) -> Answer<'_, Vec<ReceiptKey>> {
        Box::pin(async { self.connection()?.receipt_keys().await })
    }

    fn set_webhook(&self, project: &str, url: Option<String>) -> Answer<'_, ()> {
        let project = project.to_owned();
        Box::pin(async move { self.connection()?.set_webhook(&project, url.as_deref()).await })
    }

    fn webhooks(&self) -> Answer<'_, Vec<Webhook>> {
        Box::pin(async { self.connection()?.webhooks().await })
    }
}
