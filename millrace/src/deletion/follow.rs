//! Follows jobs until all of them have ended.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc::UnboundedReceiver;

use super::api::Api;
use super::job::{Job, Status, jobs_table};
use super::progress::{Accepted, Progress, Totals};
use super::text::counted;
use crate::print::stdout;

const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Jobs that are asked for at once.
const ASKED_AT_ONCE: usize = 4;

/// A job that is followed.
struct Followed {
    accepted: Accepted,
    known: Option<Job>,
}

impl Followed {
    fn has_ended(&self) -> bool {
        self.known.as_ref().is_some_and(Job::has_ended)
    }
}

/// Who is followed, and what may be expected.
pub(super) struct Following<'a> {
    pub(super) api: &'a Api,
    pub(super) progress: Progress,
    /// Ids of the whole list, and jobs that it becomes, if that is known.
    pub(super) expected: Option<(u64, u64)>,
    /// How long a job may be unknown; `None`: it was accepted, so it will be known.
    pub(super) unknown_max: Option<Duration>,
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
        let (mut pause, since) = (LOOK_FIRST, Instant::now());
        loop {
            let last = incoming.is_closed();
            while let Ok(accepted) = incoming.try_recv() {
                self.progress.accepted(&accepted);
                jobs.push(Followed { accepted, known: None });
            }
            self.look(&mut jobs).await?;
            self.progress.update(self.totals(&jobs));
            if last && jobs.iter().all(Followed::has_ended) {
                break;
            }
            if self.unknown_max.is_some_and(|max| since.elapsed() > max)
                && let Some(unknown) = jobs.iter().find(|job| job.known.is_none())
            {
                bail!("the project has no job {}", unknown.accepted.job);
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
