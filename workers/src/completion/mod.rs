//! Completes deletion jobs: when every partition's resume point has passed a job's markers, what is
//! erased is purged, the sample read back, and a receipt signed.
//!
//! Each job is completed by whoever holds its partition of the topic of deletions. Where two think
//! so, [`millrace_store::Store::complete_job`] decides.

mod meters;
mod purge_schedule;
mod put_off;
mod read_back;
mod receipt;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{StreamExt, iter};
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
use put_off::PutOff;
use read_back::ReadBack;
use receipt::{Ended, Remaining};
pub use receipt::{Receipts, Sign};

/// Reading the open jobs takes at most this share of the time, as its reciprocal.
const LOOKING_SHARE: u32 = 20;
/// The longest wait for the next look, however long the last one took, or how often it failed.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(30);
/// Projects whose jobs are completed at the same time.
const PROJECTS_AT_ONCE: usize = 8;
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
    // A purge, or a store that hangs, must not keep the age of the oldest job still.
    tokio::join!(completer.run(), meters.keep_age());
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

/// The least delay of the next look: after a failure twice that of the last one.
fn next_delay(interval: Duration, last: Duration, failed: bool) -> Duration {
    if failed { interval.max(last.saturating_mul(2).min(LOOK_WAIT_MAX)) } else { interval }
}

type JobKey = (String, Uuid);

fn key_of(job: &JobRow) -> JobKey {
    (job.project.clone(), job.job.job)
}

/// Jobs by their project, in their order.
fn by_project(jobs: Vec<JobRow>) -> BTreeMap<String, Vec<JobRow>> {
    let mut by_project: BTreeMap<String, Vec<JobRow>> = BTreeMap::new();
    for job in jobs {
        by_project.entry(job.project.clone()).or_default().push(job);
    }
    by_project
}

/// The wait until the open jobs are read again, given how long that took.
fn look_wait(interval: Duration, took: Duration) -> Duration {
    interval.max(took.saturating_mul(LOOKING_SHARE).min(LOOK_WAIT_MAX))
}

struct Completer<'s> {
    shared: &'s Shared,
    receipts: &'s Receipts,
    meters: &'s Meters,
    schedule: PurgeSchedule,
    /// When it was first seen that all of a job had settled.
    settled: HashMap<JobKey, Micros>,
    put_off: PutOff,
}

impl<'s> Completer<'s> {
    fn new(shared: &'s Shared, receipts: &'s Receipts, meters: &'s Meters) -> Self {
        let config = &shared.config;
        let schedule = PurgeSchedule::new(config.purge_gather_max, config.purge_rest);
        let (settled, put_off) = (HashMap::new(), PutOff::default());
        Self { shared, receipts, meters, schedule, settled, put_off }
    }

    async fn run(&mut self) {
        // Deliveries are signed with it too, also of receipts that another process has signed.
        while let Err(error) = self.register_key().await {
            warn!(%error, "the key of receipts could not be registered yet");
            tokio::time::sleep(self.shared.config.retry_max).await;
        }
        let interval = self.shared.config.completion_interval;
        let (mut wait, mut delay) = (interval, interval);
        loop {
            tokio::time::sleep(wait.max(delay)).await;
            let began = Instant::now();
            let open = open_jobs(self.shared).await;
            wait = look_wait(interval, began.elapsed());
            let looked = match open {
                Ok((open, resumes)) => self.look(open, &resumes).await,
                Err(error) => Err(error.into()),
            };
            delay = next_delay(interval, delay, looked.is_err());
            if let Err(error) = looked {
                warn!(%error, "open deletion jobs could not be completed yet");
            }
        }
    }

    async fn look(&mut self, open: Vec<JobRow>, resumes: &Resumes) -> Result<(), Failure> {
        self.meters.open(&open, resumes);
        let all = open.len();
        let mut passed = open;
        passed.retain(|job| resumes.have_passed(job));
        self.note_passed(&passed);
        let others = all > passed.len();
        let now = Instant::now();
        passed.retain(|job| !self.put_off.holds(&key_of(job), now));
        if !self.schedule.is_due(now, !passed.is_empty(), others) {
            return Ok(());
        }
        let store = &*self.shared.store;
        let remaining = Remaining::of(&*self.shared.log, store.residues().await?).await?;
        store.persist().await?;
        self.purge().await?;
        // Each time before anything is signed with it, because the store may have forgotten it.
        self.register_key().await?;
        let webhooks = self.receipts.accounts.webhooks().await?;
        let webhooks: HashMap<String, String> =
            webhooks.into_iter().map(|webhook| (webhook.project, webhook.url)).collect();
        let turns = by_project(passed).into_iter().map(|(project, jobs)| {
            let webhook = webhooks.get(&project);
            self.complete_in_turn(jobs, &remaining, webhook)
        });
        let failed: Vec<Vec<JobKey>> =
            iter(turns).buffer_unordered(PROJECTS_AT_ONCE).collect().await;
        for job in failed.into_iter().flatten() {
            self.put_off.add(job, Instant::now());
        }
        Ok(())
    }

    /// Completes jobs of one project; those that could not be.
    async fn complete_in_turn(
        &self,
        jobs: Vec<JobRow>,
        remaining: &Remaining,
        webhook: Option<&String>,
    ) -> Vec<JobKey> {
        let mut failed = Vec::new();
        for job in &jobs {
            if let Err(error) = self.complete(job, remaining, webhook).await {
                warn!(job = %job.job.job, %error, "a deletion job could not be completed yet");
                failed.push(key_of(job));
            }
        }
        failed
    }

    async fn register_key(&self) -> Result<(), StoreError> {
        self.receipts.accounts.add_receipt_key(self.receipts.key.clone()).await
    }

    /// Of the jobs that all resume points have passed. One that is not among them any more was
    /// completed, or begins again.
    fn note_passed(&mut self, passed: &[JobRow]) {
        let keys: HashSet<JobKey> = passed.iter().map(key_of).collect();
        self.put_off.retain(|key| keys.contains(key));
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
        let mut read_back = ReadBack::new(log, store, job);
        let found = read_back.found().await?;
        self.meters.read_back_cut.increment(read_back.cut);
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
        self.meters.jobs_failed.increment(1);
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

#[cfg(test)]
mod tests {
    use millrace_schema::record::Job;

    use super::*;

    #[test]
    fn each_project_has_its_jobs_in_their_order() {
        let row = |(project, id): (&str, u128)| {
            let job = Job { job: Uuid::from_u128(id), users: 1, ..Job::default() };
            JobRow { project: project.to_owned(), accepted_us: 1, job, completion: None }
        };
        let jobs = [("q", 3), ("p", 2), ("q", 1), ("p", 4)].map(row);
        let ids = |jobs: &Vec<JobRow>| jobs.iter().map(|job| job.job.job.as_u128()).collect();
        let of_each: Vec<Vec<u128>> = by_project(jobs.into()).values().map(ids).collect();
        assert_eq!(of_each, [[2, 4], [3, 1]]);
    }

    #[test]
    fn a_look_that_fails_is_repeated_ever_later_and_one_that_does_not_in_time() {
        let s = Duration::from_secs;
        let mut delay = s(1);
        let mut next = |failed| {
            delay = next_delay(s(1), delay, failed);
            delay.as_secs()
        };
        assert_eq!([(); 6].map(|()| next(true)), [2, 4, 8, 16, 30, 30]);
        assert_eq!([next(false), next(true)], [1, 2]);
    }

    #[test]
    fn open_jobs_are_read_a_twentieth_of_the_time_and_every_half_minute_at_least() {
        let ms = Duration::from_millis;
        assert_eq!(look_wait(ms(250), ms(5)), ms(250));
        assert_eq!(look_wait(ms(250), ms(100)), ms(2_000));
        assert_eq!(look_wait(ms(250), ms(60_000)), LOOK_WAIT_MAX);
        assert_eq!(look_wait(LOOK_WAIT_MAX * 2, ms(60_000)), LOOK_WAIT_MAX * 2);
    }
}
