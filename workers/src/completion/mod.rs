//! Completes deletion jobs: when every partition's resume point has passed a job's markers, what is
//! erased is purged, the sample read back, and a receipt signed.
//!
//! Each job is completed by whoever holds its partition of the topic of deletions. Where two think
//! so, [`millrace_store::Store::complete_job`] decides.

mod meters;
mod purge_schedule;
mod read_back;
mod receipt;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_log::LogError;
use millrace_schema::Topic;
use millrace_schema::time::{Micros, wall_clock_us};
use millrace_schema::topic::partition_of;
use millrace_schema::user::write_user_key;
use millrace_store::{
    Completion, Delivery, DeliveryState, IssuedReceipt, JobRow, LedgerRow, StoreError,
};
use tokio::time::Instant;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::partition::Shared;
use meters::Meters;
use purge_schedule::PurgeSchedule;
use receipt::{Ended, Remaining};
pub use receipt::{Receipts, Sign};

/// How often the gauges are set.
const METERS_EVERY: Duration = Duration::from_secs(1);
/// How often a receipt is signed anew because another took its number, before the job is left for
/// the next look.
const SIGNATURES_MAX: u32 = 16;

/// Why jobs could not be completed now. All of it is tried again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the receipt could not be signed: {0}")]
    Signing(String),
}

/// Looks after the open jobs for ever.
pub(crate) async fn complete_jobs(shared: Arc<Shared>, receipts: Receipts) {
    let meters = Meters::new();
    let mut completer = Completer::new(&shared, &receipts, &meters);
    // A purge that hangs must not keep the gauges still.
    tokio::join!(completer.run(), keep_meters(&shared, &meters));
}

async fn keep_meters(shared: &Shared, meters: &Meters) {
    loop {
        if let Ok((jobs, resumes)) = open_jobs(shared).await {
            meters.open(&jobs, &resumes);
        }
        tokio::time::sleep(METERS_EVERY).await;
    }
}

/// The open jobs that are this process's to complete, and where the partitions stand.
async fn open_jobs(shared: &Shared) -> Result<(Vec<JobRow>, Resumes), StoreError> {
    let mut jobs = shared.store.open_jobs().await?;
    jobs.retain(|job| is_ours(shared, job));
    if jobs.is_empty() {
        return Ok((jobs, Resumes::default()));
    }
    let resumes = Resumes::of(&shared.store.ledger().await?);
    Ok((jobs, resumes))
}

fn is_ours(shared: &Shared, job: &JobRow) -> bool {
    let mut key = Vec::new();
    write_user_key(&mut key, &job.project, &job.job.job.to_string());
    let partition = partition_of(&key, shared.log.partitions());
    shared.progress.holds((Topic::Deletions, partition))
}

/// The resume point of every partition that has one.
#[derive(Default)]
struct Resumes(HashMap<(Topic, u32), u64>);

impl Resumes {
    fn of(ledger: &[LedgerRow]) -> Self {
        Self(ledger.iter().map(|row| ((row.topic, row.partition), row.resume)).collect())
    }

    fn at(&self, topic: Topic, partition: u32) -> u64 {
        self.0.get(&(topic, partition)).copied().unwrap_or_default()
    }

    fn have_passed(&self, job: &JobRow) -> bool {
        job.job.fence.iter().all(|fence| self.at(fence.topic, fence.partition) > fence.last)
    }
}

type JobKey = (String, Uuid);

fn key_of(job: &JobRow) -> JobKey {
    (job.project.clone(), job.job.job)
}

struct Completer<'s> {
    shared: &'s Shared,
    receipts: &'s Receipts,
    meters: &'s Meters,
    schedule: PurgeSchedule,
    /// When it was first seen that all of a job had settled.
    settled: HashMap<JobKey, Micros>,
}

impl<'s> Completer<'s> {
    fn new(shared: &'s Shared, receipts: &'s Receipts, meters: &'s Meters) -> Self {
        let config = &shared.config;
        let schedule = PurgeSchedule::new(config.purge_gather_max, config.purge_rest);
        Self { shared, receipts, meters, schedule, settled: HashMap::new() }
    }

    async fn run(&mut self) {
        // Deliveries are signed with it too, also of receipts that another process has signed.
        while let Err(error) = self.register_key().await {
            warn!(%error, "the key of receipts could not be registered yet");
            tokio::time::sleep(self.shared.config.retry_max).await;
        }
        loop {
            tokio::time::sleep(self.shared.config.completion_interval).await;
            if let Err(error) = self.look().await {
                warn!(%error, "open deletion jobs could not be completed yet");
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let (open, resumes) = open_jobs(self.shared).await?;
        let all = open.len();
        let passed: Vec<JobRow> = open.into_iter().filter(|job| resumes.have_passed(job)).collect();
        self.note_settled(&passed);
        let others = all > passed.len();
        if !self.schedule.is_due(Instant::now(), !passed.is_empty(), others) {
            return Ok(());
        }
        let store = &*self.shared.store;
        let remaining = Remaining::of(&*self.shared.log, store.residues()).await?;
        store.persist().await?;
        self.purge().await?;
        // Each time before anything is signed with it, because the store may have forgotten it.
        self.register_key().await?;
        let webhooks = self.receipts.accounts.webhooks().await?;
        let webhooks: HashMap<String, String> =
            webhooks.into_iter().map(|webhook| (webhook.project, webhook.url)).collect();
        for job in &passed {
            self.complete(job, &remaining, webhooks.get(&job.project)).await?;
        }
        Ok(())
    }

    async fn register_key(&self) -> Result<(), StoreError> {
        self.receipts.accounts.add_receipt_key(self.receipts.key.clone()).await
    }

    /// Of the jobs that all resume points have passed. One that is not among them any more was
    /// completed, or begins again.
    fn note_settled(&mut self, passed: &[JobRow]) {
        let keys: HashSet<JobKey> = passed.iter().map(key_of).collect();
        self.settled.retain(|key, _| keys.contains(key));
        let now_us = wall_clock_us();
        for key in keys {
            self.settled.entry(key).or_insert(now_us);
        }
    }

    async fn purge(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        let purged = self.shared.store.purge().await;
        self.schedule.purged(began, Instant::now());
        self.meters.purge_seconds.record(began.elapsed());
        purged
    }

    async fn complete(
        &self,
        job: &JobRow,
        remaining: &Remaining,
        webhook: Option<&String>,
    ) -> Result<(), Failure> {
        let (log, store) = (&*self.shared.log, &*self.shared.store);
        let found = read_back::found(log, store, job).await?;
        let completed_us = wall_clock_us();
        let settled_us = self.settled.get(&key_of(job)).copied().unwrap_or(completed_us);
        let ended = Ended { job, settled_us, completed_us, found };
        if found > 0 {
            return self.fail(&ended).await;
        }
        if let Some(url) = webhook {
            self.announce(job, pending(url, completed_us)).await?;
        }
        if self.certify(&ended, remaining).await? {
            self.meters.completed(job, completed_us);
            info!(job = %job.job.job, users = job.job.users, "a deletion is completed");
        }
        Ok(())
    }

    /// Begins the delivery of the receipt to come, unless another process has: that one may have
    /// been delivered already.
    async fn announce(&self, job: &JobRow, delivery: Delivery) -> Result<(), Failure> {
        let (store, id) = (&*self.shared.store, job.job.job);
        let known = store.deliveries(&job.project, vec![id]).await?;
        if known.iter().all(Option::is_none) {
            store.put_delivery(&job.project, id, delivery).await?;
        }
        Ok(())
    }

    async fn fail(&self, ended: &Ended<'_>) -> Result<(), Failure> {
        let job = ended.job;
        let sampled = job.job.sample.len() as u64;
        let (completed_us, found) = (ended.completed_us, ended.found);
        let completion = Completion { completed_us, sampled, found, receipt: None };
        self.shared.store.complete_job(&job.project, job.job.job, completion).await?;
        error!(job = %job.job.job, sampled, found, "a deletion left data behind");
        Ok(())
    }

    /// Completes the job with a signed receipt; `false`: another process did, or will.
    async fn certify(&self, ended: &Ended<'_>, remaining: &Remaining) -> Result<bool, Failure> {
        let (store, job) = (&*self.shared.store, ended.job);
        for _ in 0..SIGNATURES_MAX {
            let newest = store.newest_receipt(&job.project).await?;
            if newest.as_ref().is_some_and(|newest| newest.job == job.job.job) {
                return Ok(false);
            }
            let receipt = ended.receipt(&self.receipts.issuer, remaining, newest);
            let token = (self.receipts.sign)(&receipt).map_err(Failure::Signing)?;
            let completion = Completion {
                completed_us: ended.completed_us,
                sampled: receipt.read_back.sampled,
                found: receipt.read_back.found,
                receipt: Some(IssuedReceipt { number: receipt.number, token }),
            };
            if store.complete_job(&job.project, job.job.job, completion).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn pending(url: &str, now_us: Micros) -> Delivery {
    Delivery {
        url: url.to_owned(),
        state: DeliveryState::Pending,
        attempts: 0,
        error: None,
        updated_us: now_us,
    }
}
