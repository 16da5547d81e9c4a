//! `GET /v1/api/profile/user/deletion-job…`: how far deletion jobs are.

use std::time::Duration;

use hyper::StatusCode;
use millrace_schema::Topic;
use millrace_schema::record::Reach;
use millrace_schema::time::{Micros, format_us, wall_clock_us};
use millrace_store::{Delivery, DeliveryState, JobRow};
use serde::Serialize;
use uuid::Uuid;

use super::{cursor, invalid, page_start};
use crate::context::Context;
use crate::error::ApiError;
use crate::query::Query;
use crate::response::{Response, json};
use crate::resume_points::Resumes;

/// Jobs of one page.
const JOBS_PER_PAGE: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Accepted,
    Running,
    Completed,
    Failed,
}

#[derive(Serialize)]
struct Job<'a> {
    job_id: Uuid,
    status: Status,
    users: u64,
    users_done: u64,
    progress: f64,
    users_per_second: Option<f64>,
    erase: &'a [Reach],
    accepted_at: String,
    expected_at: Option<String>,
    completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<Webhook<'a>>,
}

/// How the delivery of the job's receipt goes.
#[derive(Serialize)]
struct Webhook<'a> {
    state: DeliveryState,
    attempts: u32,
    error: Option<&'a str>,
    updated_at: String,
}

#[derive(Serialize)]
struct Page<'a> {
    jobs: Vec<Job<'a>>,
    next_cursor: Option<String>,
}

/// One deletion job.
///
/// # Errors
/// 404 with `Retry-After` while the job is not known.
pub(crate) async fn job(ctx: &Context, project: &str, segment: &str) -> Result<Response, ApiError> {
    let row = find(ctx, project, segment).await?;
    let standing = Standing::read(ctx).await?;
    let deliveries = ctx.parts.store.deliveries(project, vec![row.job.job]).await?;
    let delivery = deliveries.first().and_then(Option::as_ref);
    Ok(json(StatusCode::OK, &standing.shape(&row, delivery)))
}

/// The job that a path names.
///
/// # Errors
/// 400 if it names none, 404 with `Retry-After` while the job is not known.
pub(super) async fn find(ctx: &Context, project: &str, segment: &str) -> Result<JobRow, ApiError> {
    let Ok(id) = Uuid::try_parse(segment) else {
        return Err(invalid("job_id", "`job_id` must be the UUID from the `Location` of the 202"));
    };
    ctx.parts.store.job(project, id).await?.ok_or(ApiError::NotYetKnown(
        "there is no such job, or it was accepted a moment ago and has not been read yet",
    ))
}

/// A page of a project's deletion jobs.
///
/// # Errors
/// The cursor is invalid, or the store is away.
pub(crate) async fn jobs(
    ctx: &Context,
    project: &str,
    query: Query<'_>,
) -> Result<Response, ApiError> {
    let before = page_start(query.get("cursor"), cursor::job)?;
    // One more than is shown says whether there is a next page.
    let mut rows = ctx.parts.store.jobs(project, before, JOBS_PER_PAGE + 1).await?;
    let more = rows.len() > JOBS_PER_PAGE;
    rows.truncate(JOBS_PER_PAGE);
    let standing = Standing::read(ctx).await?;
    let ids = rows.iter().map(|row| row.job.job).collect();
    let deliveries = ctx.parts.store.deliveries(project, ids).await?;
    let last = rows.last().filter(|_| more);
    let with_delivery = rows.iter().zip(&deliveries);
    let page = Page {
        jobs: with_delivery.map(|(row, d)| standing.shape(row, d.as_ref())).collect(),
        next_cursor: last.map(|row| cursor::after_job(row.accepted_us, row.job.job)),
    };
    Ok(json(StatusCode::OK, &page))
}

/// What a job is held against: the time, and the resume point of every partition that has one.
struct Standing {
    now_us: Micros,
    /// What the store may forget of a completion.
    settle: Duration,
    resumes: Resumes,
}

impl Standing {
    async fn read(ctx: &Context) -> Result<Self, ApiError> {
        let resumes = ctx.resume_points.read(&ctx.parts.store.ledger().await?);
        Ok(Self { now_us: wall_clock_us(), settle: ctx.parts.store.settle(), resumes })
    }

    fn resume(&self, topic: Topic, partition: u32) -> u64 {
        self.resumes.get(&(topic, partition)).copied().unwrap_or_default()
    }

    fn shape<'a>(&self, row: &'a JobRow, delivery: Option<&'a Delivery>) -> Job<'a> {
        let (done, markers) = row.markers_done(|topic, partition| self.resume(topic, partition));
        let users_done = row.users_done(|topic, partition| self.resume(topic, partition));
        let completion = row.settled_completion(self.now_us, self.settle);
        let job = &row.job;
        let status = match completion {
            Some(completion) if completion.found > 0 => Status::Failed,
            Some(_) => Status::Completed,
            None if done == 0 => Status::Accepted,
            None => Status::Running,
        };
        let until_us = completion.map_or(self.now_us, |completion| completion.completed_us);
        let rate = users_per_second(users_done, until_us.saturating_sub(row.accepted_us));
        let left = job.users.saturating_sub(users_done);
        let running = status == Status::Running;
        let expected_us = rate.filter(|_| running).map(|rate| at_this_rate(until_us, left, rate));
        Job {
            job_id: job.job,
            status,
            users: job.users,
            users_done,
            progress: if done == markers { 1.0 } else { done as f64 / markers as f64 },
            users_per_second: rate,
            erase: &job.erase,
            accepted_at: format_us(row.accepted_us),
            expected_at: expected_us.map(format_us),
            completed_at: completion.map(|completion| format_us(completion.completed_us)),
            webhook: delivery.map(Webhook::of),
        }
    }
}

impl<'a> Webhook<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        Self {
            state: delivery.state,
            attempts: delivery.attempts,
            error: delivery.error.as_deref(),
            updated_at: format_us(delivery.updated_us),
        }
    }
}

/// On the average since the job was accepted, to a tenth; `None` before anything is done.
fn users_per_second(users_done: u64, took_us: Micros) -> Option<f64> {
    // Clocks may differ, and a microsecond is never the whole truth.
    let seconds = took_us.max(1_000) as f64 / 1e6;
    (users_done > 0).then(|| (users_done as f64 / seconds * 10.0).round() / 10.0)
}

/// When the rest is done.
fn at_this_rate(now_us: Micros, users_left: u64, users_per_second: f64) -> Micros {
    // A cast of a float saturates.
    let left_us = users_left as f64 / users_per_second.max(0.1) * 1e6;
    now_us.saturating_add(left_us as Micros)
}

#[cfg(test)]
mod tests {
    use millrace_schema::record::{self, Fence};
    use millrace_store::Completion;

    use super::*;

    fn row(completion: Option<Completion>) -> JobRow {
        let fence =
            |topic, partition, first, last, count| Fence { topic, partition, first, last, count };
        let job = record::Job {
            job: Uuid::from_u128(9),
            users: 3,
            erase: vec![Reach::Profile, Reach::Events],
            fence: vec![
                fence(Topic::Profiles, 0, 10, 19, 2),
                fence(Topic::Profiles, 1, 0, 0, 1),
                fence(Topic::Events, 0, 5, 7, 3),
            ],
            ..record::Job::default()
        };
        JobRow { project: "p".into(), accepted_us: 1_737_092_362_000_000, job, completion }
    }

    /// Two seconds after it was accepted.
    fn standing(resumes: [u64; 3]) -> Standing {
        let places = [(Topic::Profiles, 0), (Topic::Profiles, 1), (Topic::Events, 0)];
        let resumes = places.into_iter().zip(resumes).collect();
        Standing { now_us: 1_737_092_364_000_000, settle: Duration::ZERO, resumes }
    }

    fn at(resumes: [u64; 3]) -> (Status, u64, f64) {
        let row = row(None);
        let job = standing(resumes).shape(&row, None);
        (job.status, job.users_done, job.progress)
    }

    #[test]
    fn progress_follows_the_resume_points_and_never_goes_back() {
        assert_eq!(at([0, 0, 0]), (Status::Accepted, 0, 0.0));
        assert_eq!(at([15, 0, 0]), (Status::Running, 0, 1.0 / 6.0));
        assert_eq!(at([20, 1, 0]), (Status::Running, 1, 0.5));
        let mut last = 0.0;
        for step in 0..=20 {
            let (_, users_done, progress) = at([step, step / 2, step / 2]);
            assert!(progress >= last && users_done <= 3);
            last = progress;
        }
    }

    #[test]
    fn one_marker_short_is_not_all() {
        let (status, users_done, progress) = at([20, 1, 7]);
        assert_eq!((status, users_done), (Status::Running, 2));
        assert!(progress < 1.0);
    }

    #[test]
    fn all_markers_passed_are_all_users_but_only_a_completion_completes() {
        assert_eq!(at([20, 1, 8]), (Status::Running, 3, 1.0));
        let completion = |found| Completion {
            completed_us: 1_737_092_363_500_000,
            sampled: 2,
            found,
            receipt: None,
        };
        let done = row(Some(completion(0)));
        assert_eq!(
            serde_json::to_string(&standing([0; 3]).shape(&done, None)).unwrap(),
            concat!(
                r#"{"job_id":"00000000-0000-0000-0000-000000000009","status":"completed","#,
                r#""users":3,"users_done":3,"progress":1.0,"users_per_second":2.0,"#,
                r#""erase":["profile","events"],"accepted_at":"2025-01-17T05:39:22Z","#,
                r#""expected_at":null,"completed_at":"2025-01-17T05:39:23.5Z"}"#,
            )
        );
        let failed = row(Some(completion(1)));
        assert_eq!(standing([20, 1, 8]).shape(&failed, None).status, Status::Failed);
    }

    #[test]
    fn a_running_job_has_a_rate_and_an_expected_end() {
        let row = row(None);
        let standing = standing([20, 1, 0]);
        let job = standing.shape(&row, None);
        assert_eq!((job.users_done, job.users_per_second), (1, Some(0.5)));
        assert_eq!(job.expected_at.as_deref(), Some("2025-01-17T05:39:28Z"));
        let standing = super::Standing { now_us: i64::MIN, ..standing };
        assert!(standing.shape(&row, None).users_per_second.is_some_and(f64::is_finite));
        let accepted = self::standing([0; 3]);
        let accepted = accepted.shape(&row, None);
        assert_eq!((accepted.users_per_second, accepted.expected_at), (None, None));
    }

    #[test]
    fn a_delivery_is_shown_with_its_job() {
        let row = row(None);
        let mut delivery = Delivery {
            url: "https://secret.example/token".to_owned(),
            state: DeliveryState::Pending,
            attempts: 2,
            error: Some("503".to_owned()),
            updated_us: 1_737_092_364_000_000,
        };
        let shown = |delivery: &Delivery| {
            let standing = standing([0; 3]);
            serde_json::to_value(standing.shape(&row, Some(delivery))).unwrap()["webhook"].take()
        };
        let updated_at = "2025-01-17T05:39:24Z";
        let expected = serde_json::json!({
            "state": "pending", "attempts": 2, "error": "503", "updated_at": updated_at,
        });
        assert_eq!(shown(&delivery), expected);
        delivery = Delivery { state: DeliveryState::Delivered, error: None, ..delivery };
        let expected = serde_json::json!({
            "state": "delivered", "attempts": 2, "error": null, "updated_at": updated_at,
        });
        assert_eq!(shown(&delivery), expected);
    }
}
