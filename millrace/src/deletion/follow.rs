//! Follows jobs until all of them have ended.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures::stream::{self, StreamExt, TryStreamExt};
use millrace_schema::time::{format_us, wall_clock_us};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use uuid::Uuid;

use super::api::Api;
use super::job::{Job, Status, jobs_table};
use super::progress::{Accepted, Progress, SaidBy, Totals};
use super::text::{counted, duration};
use crate::print::stdout;

const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Jobs that are asked for at once.
const ASKED_AT_ONCE: usize = 4;
/// How long a worker may lag behind the log, if nobody saw that the job was accepted.
const UNKNOWN_MAX: Duration = Duration::from_secs(300);
/// How long a job is unknown before that is said.
const UNKNOWN_QUIETLY: Duration = Duration::from_secs(2);

/// A job that is followed.
struct Followed {
    accepted: Accepted,
    since: Instant,
    known: Option<Job>,
}

impl Followed {
    fn has_ended(&self) -> bool {
        self.known.as_ref().is_some_and(Job::has_ended)
    }

    fn is_unknown_for(&self, time: Duration) -> bool {
        self.known.is_none() && self.since.elapsed() >= time
    }

    /// Whether it will not be known any more.
    fn is_lost(&self) -> bool {
        self.accepted.said_by != SaidBy::Server && self.is_unknown_for(UNKNOWN_MAX)
    }

    /// What is said while it is waited for.
    fn not_yet(&self) -> String {
        let job = self.accepted.job;
        if self.accepted.said_by == SaidBy::Server {
            return format!(
                "Job {job} is accepted, and no worker has read it yet; waiting for it."
            );
        }
        let left = UNKNOWN_MAX.saturating_sub(self.since.elapsed()).as_secs();
        let until_s = wall_clock_us() / 1_000_000 + i64::try_from(left).unwrap_or(i64::MAX);
        let until = format_us(until_s.saturating_mul(1_000_000));
        format!("Job {job} is not known yet; waiting for it until {until}.")
    }
}

/// How jobs are followed, and what may be expected.
pub(super) struct Following<'a> {
    pub(super) api: &'a Api,
    pub(super) progress: Progress,
    /// Ids of the whole list, and jobs that it becomes, if that is known.
    pub(super) expected: Option<(u64, u64)>,
}

impl Following<'_> {
    /// Follows the jobs that come, until no more can come and all have ended.
    ///
    /// # Errors
    /// The server refuses or stays away, or a job stays unknown.
    pub(super) async fn run(
        mut self,
        mut incoming: UnboundedReceiver<Accepted>,
    ) -> Result<Vec<Job>> {
        let mut jobs: Vec<Followed> = Vec::new();
        let (mut pause, mut said) = (LOOK_FIRST, false);
        loop {
            let last = incoming.is_closed();
            while let Ok(accepted) = incoming.try_recv() {
                self.progress.accepted(&accepted);
                jobs.push(Followed { accepted, since: Instant::now(), known: None });
            }
            self.look(&mut jobs).await?;
            self.progress.update(self.totals(&jobs));
            if last && jobs.iter().all(Followed::has_ended) {
                break;
            }
            if let Some(Followed { accepted, .. }) = jobs.iter().find(|job| job.is_lost()) {
                return Err(lost(accepted.job, accepted.said_by));
            }
            let late = jobs.iter().find(|job| job.is_unknown_for(UNKNOWN_QUIETLY));
            if let Some(late) = late.filter(|_| !said) {
                said = true;
                self.progress.say(&late.not_yet());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_MAX);
        }
        self.progress.finish();
        Ok(jobs.into_iter().filter_map(|job| job.known).collect())
    }

    /// Asks for every job that has not ended.
    async fn look(&self, jobs: &mut [Followed]) -> Result<()> {
        let open = jobs.iter_mut().filter(|job| !job.has_ended());
        let asked = open.map(|job| async {
            if let Some((_, is)) = self.api.job(job.accepted.job).await? {
                if is.has_ended() {
                    self.progress.ended(&is);
                }
                job.known = Some(is);
            }
            anyhow::Ok(())
        });
        stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).try_collect().await
    }

    fn totals(&self, jobs: &[Followed]) -> Totals {
        let known = |job: &Followed| job.known.as_ref().map_or(job.accepted.ids, |job| job.users);
        let accepted: u64 = jobs.iter().map(known).sum();
        let sent: u64 = jobs.iter().map(|job| job.accepted.ids).sum();
        let unsent = self.expected.map_or(0, |(ids, _)| ids.saturating_sub(sent));
        Totals {
            users: accepted.saturating_add(unsent),
            users_done: jobs.iter().filter_map(|job| Some(job.known.as_ref()?.users_done)).sum(),
            jobs: self.expected.map(|(_, jobs)| jobs),
            jobs_accepted: jobs.len() as u64,
            jobs_ended: jobs.iter().filter(|job| job.has_ended()).count() as u64,
        }
    }
}

/// Whether any of the jobs of an earlier submission still runs, as soon as that can be said.
///
/// # Errors
/// The server refuses or stays away, or a job stays unknown.
pub(super) async fn any_runs(api: &Api, jobs: &[Uuid]) -> Result<bool> {
    let since = Instant::now();
    loop {
        let asked = stream::iter(jobs).map(|job| api.job(*job)).buffered(ASKED_AT_ONCE);
        let known: Vec<_> = asked.try_collect().await?;
        if known.iter().flatten().any(|(_, job)| !job.has_ended()) {
            return Ok(true);
        }
        let unknown = jobs.iter().zip(&known).find(|(_, known)| known.is_none());
        let Some((unknown, _)) = unknown else { return Ok(false) };
        if since.elapsed() >= UNKNOWN_MAX {
            return Err(lost(*unknown, SaidBy::State));
        }
        tokio::time::sleep(LOOK_MAX).await;
    }
}

/// A job that has been unknown for too long.
fn lost(job: Uuid, said_by: SaidBy) -> anyhow::Error {
    let waited = duration(UNKNOWN_MAX);
    match said_by {
        SaidBy::User => anyhow!("the project has no job {job}; waited {waited} for it"),
        SaidBy::Server | SaidBy::State => anyhow!(
            "job {job} was accepted before, and the server does not know it after {waited}: has it \
             lost its data, or is no worker running? To submit the whole list again, use --new"
        ),
    }
}

/// Says how jobs have ended.
///
/// # Errors
/// One of them failed.
pub(super) fn verdict(jobs: &[Job], json: bool) -> Result<()> {
    let failed: Vec<&Job> = jobs.iter().filter(|job| job.status == Status::Failed).collect();
    if json {
        let completed = jobs.len() - failed.len();
        super::progress::print(&serde_json::json!({
            "event": "done", "completed": completed, "failed": failed.len(),
        }));
    } else {
        stdout(&jobs_table(jobs))?;
    }
    if let Some(job) = failed.first() {
        bail!(
            "{} of {} failed, first {}: users were read back and found after they had been erased. \
             Submit them again, and see the server's log",
            failed.len(),
            counted(jobs.len() as u64, "job"),
            job.job_id
        );
    }
    if !json {
        super::say(
            "The signed receipts: `millrace deletion receipt JOB`, and `verify JOB` checks one.",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::{job, stub};
    use super::*;

    const JOB: Uuid = Uuid::from_u128(7);

    fn known(status: Status) -> String {
        let job = job::tests::job(status, 3, 3);
        stub::answer("200 OK", &serde_json::to_string(&job).unwrap())
    }

    /// Follows one job of a server that answers so.
    async fn follow(
        said_by: SaidBy,
        answer: impl Fn() -> String + Send + 'static,
    ) -> Result<Vec<Job>> {
        let api = stub::api(&stub::server(answer).await);
        let (sender, incoming) = mpsc::unbounded_channel();
        sender.send(Accepted { job: JOB, said_by, ids: 3, lines: (1, 3) }).unwrap();
        drop(sender);
        let following = Following { api: &api, progress: Progress::new(true), expected: None };
        following.run(incoming).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_the_server_accepted_is_waited_for_however_long_its_worker_lags() {
        let since = Instant::now();
        let lags = move || match since.elapsed() > 2 * UNKNOWN_MAX {
            true => known(Status::Completed),
            false => stub::answer("404 Not Found", "{}"),
        };
        let jobs = follow(SaidBy::Server, lags).await.unwrap();
        assert_eq!(jobs.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_a_server_without_its_data_does_not_know_ends_with_the_way_to_begin_anew() {
        let since = Instant::now();
        let unknown = || stub::answer("404 Not Found", "{}");
        let error = follow(SaidBy::State, unknown).await.unwrap_err().to_string();
        assert!(error.contains(&JOB.to_string()) && error.contains("--new"), "{error}");
        assert!(since.elapsed() >= UNKNOWN_MAX);
        let error = follow(SaidBy::User, unknown).await.unwrap_err().to_string();
        assert!(error.contains("no job") && !error.contains("--new"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_of_an_earlier_submission_are_asked_for_until_it_is_clear_whether_one_runs() {
        let runs = async |answer: fn() -> String| {
            let api = stub::api(&stub::server(answer).await);
            any_runs(&api, &[JOB, JOB]).await
        };
        assert!(runs(|| known(Status::Running)).await.unwrap());
        assert!(!runs(|| known(Status::Completed)).await.unwrap());
        assert!(!runs(|| known(Status::Failed)).await.unwrap());
        let error = runs(|| stub::answer("404 Not Found", "{}")).await.unwrap_err().to_string();
        assert!(error.contains("--new"), "{error}");
    }
}
