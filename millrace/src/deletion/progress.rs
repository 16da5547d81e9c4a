//! Says how far jobs are: a bar on a terminal, plain lines elsewhere, JSON lines for machines.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use uuid::Uuid;

use super::job::{Job, Status};
use super::text::{counted, duration, grouped};
use crate::print::stdout;

/// How often a plain line comes while numbers change.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often one comes while nothing changes.
const SAME_LINE_EVERY: Duration = Duration::from_secs(60);
const BAR: &str = "{bar:32} {wide_msg}";

/// Who says that a job was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaidBy {
    /// The server, to this process.
    Server,
    /// The state of a submission that began before.
    State,
    /// Whoever typed the command.
    User,
}

/// A job that was accepted, often of a part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) job: Uuid,
    pub(super) said_by: SaidBy,
    /// Ids that were sent; 0 if it was not this process that did.
    pub(super) ids: u64,
    pub(super) lines: (u64, u64),
}

/// How far all jobs are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) users: u64,
    pub(super) users_done: u64,
    /// That will be, if it is known.
    pub(super) jobs: Option<u64>,
    pub(super) jobs_accepted: u64,
    pub(super) jobs_ended: u64,
}

enum Style {
    Bar(ProgressBar),
    Lines { last: Option<(Instant, Totals)> },
    Json { last: Option<Totals> },
}

/// Where it is said.
pub(super) struct Progress {
    style: Style,
    rate: Rate,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let style = if json {
            Style::Json { last: None }
        } else if stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(BAR).map(|style| style.progress_chars("#>-"));
            Style::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
        } else {
            Style::Lines { last: None }
        };
        Self { style, rate: Rate::default() }
    }

    /// A job was accepted.
    pub(super) fn accepted(&self, accepted: &Accepted) {
        let Accepted { job, ids, lines: (first, last), .. } = accepted;
        match &self.style {
            Style::Json { .. } => print(&json!({
                "event": "accepted", "job_id": job, "ids": ids, "first_line": first,
                "last_line": last,
            })),
            Style::Lines { .. } if *ids > 0 => super::say(&format!(
                "Job {job}: accepted, {} (lines {} to {}).",
                counted(*ids, "id"),
                grouped(*first),
                grouped(*last)
            )),
            _ => {}
        }
    }

    /// A job has ended.
    pub(super) fn ended(&self, job: &Job) {
        match &self.style {
            Style::Json { .. } => print(&json!({
                "event": "ended", "job_id": job.job_id, "status": job.status, "users": job.users,
            })),
            Style::Lines { .. } => super::say(&format!(
                "Job {}: {}, {}.",
                job.job_id,
                job.status.name(),
                counted(job.users, "user")
            )),
            Style::Bar(bar) if job.status == Status::Failed => {
                bar.println(format!("Job {}: failed.", job.job_id));
            }
            Style::Bar(_) => {}
        }
    }

    /// Something may have changed.
    pub(super) fn update(&mut self, totals: Totals) {
        let now = Instant::now();
        let rate = self.rate.at(now, totals.users_done);
        match &mut self.style {
            Style::Bar(bar) => {
                bar.set_length(totals.users.max(1));
                bar.set_position(totals.users_done);
                bar.set_message(text(&totals, rate));
            }
            Style::Lines { last } => {
                let due = last.is_none_or(|(at, was)| {
                    let every = if was == totals { SAME_LINE_EVERY } else { LINE_EVERY };
                    now.duration_since(at) >= every
                        || (was.users_done < totals.users && totals.users_done == totals.users)
                });
                if due {
                    *last = Some((now, totals));
                    super::say(&format!("{}.", text(&totals, rate)));
                }
            }
            Style::Json { last } => {
                if last.replace(totals) != Some(totals) {
                    print(&json!({
                        "event": "progress", "users": totals.users,
                        "users_done": totals.users_done, "jobs": totals.jobs,
                        "jobs_accepted": totals.jobs_accepted, "jobs_ended": totals.jobs_ended,
                        "users_per_second": rate,
                    }));
                }
            }
        }
    }

    /// Says something besides.
    pub(super) fn say(&self, text: &str) {
        match &self.style {
            Style::Bar(bar) => bar.println(text),
            Style::Lines { .. } | Style::Json { .. } => super::say(text),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Style::Bar(bar) = &self.style {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// One line of JSON. A reader that is gone has read enough.
pub(super) fn print(event: &Value) {
    let _ = stdout(&format!("{event}\n"));
}

fn text(totals: &Totals, rate: Option<f64>) -> String {
    let mut parts = Vec::new();
    if let Some(jobs) = totals.jobs.filter(|jobs| totals.jobs_accepted < *jobs) {
        parts.push(format!("{} of {} sent", grouped(totals.jobs_accepted), counted(jobs, "job")));
    }
    let (done, users) = (totals.users_done, totals.users);
    parts.push(format!("{} of {} erased", grouped(done), counted(users, "user")));
    match rate {
        _ if done == users => parts.push("the last checks are made".to_owned()),
        Some(rate) if rate > 0.0 => {
            parts.push(format!("{} users/s", grouped(rate.round() as u64)));
            let left = Duration::try_from_secs_f64((users.saturating_sub(done)) as f64 / rate);
            parts.extend(left.map(|left| format!("{} left", duration(left))));
        }
        _ => {}
    }
    parts.join(", ")
}

/// Users a second since the first look.
#[derive(Debug, Default)]
struct Rate(Option<(Instant, u64)>);

impl Rate {
    fn at(&mut self, now: Instant, done: u64) -> Option<f64> {
        let (since, at_first) = *self.0.get_or_insert((now, done));
        let seconds = now.duration_since(since).as_secs_f64();
        (seconds > 0.0).then(|| done.saturating_sub(at_first) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(users_done: u64, jobs_accepted: u64) -> Totals {
        Totals { users: 1_000, users_done, jobs: Some(3), jobs_accepted, jobs_ended: 0 }
    }

    #[test]
    fn a_line_says_what_is_sent_done_and_left() {
        let sending = text(&totals(250, 1), Some(12.5));
        assert_eq!(
            sending,
            "1 of 3 jobs sent, 250 of 1,000 users erased, 13 users/s, 1 min 0 s left"
        );
        assert_eq!(text(&totals(0, 3), Some(0.0)), "0 of 1,000 users erased");
        let done = text(&totals(1_000, 3), Some(9.0));
        assert_eq!(done, "1,000 of 1,000 users erased, the last checks are made");
        assert_eq!(text(&totals(1, 3), Some(1e-300)), "1 of 1,000 users erased, 0 users/s");
    }

    #[test]
    fn the_rate_counts_from_the_first_look() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert_eq!(rate.at(start, 100), None);
        assert_eq!(rate.at(start + Duration::from_secs(2), 200), Some(50.0));
        assert_eq!(rate.at(start + Duration::from_secs(4), 100), Some(0.0));
    }
}
