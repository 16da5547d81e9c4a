//! `GET /v1/api/profile/user/deletion-job…`: how far deletion jobs are.

use std::collections::HashMap;

use hyper::StatusCode;
use millrace_schema::Topic;
use millrace_schema::record::Reach;
use millrace_schema::time::format_us;
use millrace_store::{JobRow, LedgerRow};
use serde::Serialize;
use uuid::Uuid;

use super::{cursor, invalid, page_start};
use crate::context::Context;
use crate::error::ApiError;
use crate::query::Query;
use crate::response::{Response, json};

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
    erase: &'a [Reach],
    accepted_at: String,
    completed_at: Option<String>,
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
    let Ok(id) = Uuid::try_parse(segment) else {
        return Err(invalid("job_id", "`job_id` must be the UUID from the `Location` of the 202"));
    };
    let Some(row) = ctx.parts.store.job(project, id).await? else {
        return Err(ApiError::NotYetKnown(
            "there is no such job, or it was accepted a moment ago and has not been read yet",
        ));
    };
    let positions = Positions::of(&ctx.parts.store.ledger().await?);
    Ok(json(StatusCode::OK, &shape(&row, &positions)))
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
    let positions = Positions::of(&ctx.parts.store.ledger().await?);
    let last = rows.last().filter(|_| more);
    let page = Page {
        jobs: rows.iter().map(|row| shape(row, &positions)).collect(),
        next_cursor: last.map(|row| cursor::after_job(row.accepted_us, row.job.job)),
    };
    Ok(json(StatusCode::OK, &page))
}

/// The resume point of every partition that has one.
struct Positions(HashMap<(Topic, u32), u64>);

impl Positions {
    fn of(ledger: &[LedgerRow]) -> Self {
        Self(ledger.iter().map(|row| ((row.topic, row.partition), row.resume)).collect())
    }

    fn resume(&self, topic: Topic, partition: u32) -> u64 {
        self.0.get(&(topic, partition)).copied().unwrap_or_default()
    }
}

fn shape<'a>(row: &'a JobRow, positions: &Positions) -> Job<'a> {
    let (done, markers) = markers_done(row, positions);
    let job = &row.job;
    let completion = row.completion.as_ref();
    Job {
        job_id: job.job,
        status: match completion {
            Some(completion) if completion.found > 0 => Status::Failed,
            Some(_) => Status::Completed,
            None if done == 0 => Status::Accepted,
            None => Status::Running,
        },
        users: job.users,
        users_done: share(job.users, done, markers),
        progress: if done == markers { 1.0 } else { done as f64 / markers as f64 },
        erase: &job.erase,
        accepted_at: format_us(row.accepted_us),
        completed_at: completion.map(|completion| format_us(completion.completed_us)),
    }
}

/// How many of a job's markers are behind the resume points, and how many there are. Equal only
/// when every fence is passed.
fn markers_done(row: &JobRow, positions: &Positions) -> (u64, u64) {
    let fences = &row.job.fence;
    let markers = fences.iter().map(|fence| fence.count).fold(0, u64::saturating_add);
    if row.completion.is_some() {
        return (markers, markers);
    }
    let resume = |topic, partition| positions.resume(topic, partition);
    let done = fences.iter().map(|f| JobRow::done(f, resume(f.topic, f.partition)));
    (done.fold(0, u64::saturating_add), markers)
}

/// `users` × `done` ÷ `markers`, rounded down, so that all users are done only with all markers.
fn share(users: u64, done: u64, markers: u64) -> u64 {
    if done == markers {
        return users;
    }
    let share = u128::from(users) * u128::from(done) / u128::from(markers).max(1);
    u64::try_from(share).unwrap_or(users)
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
            salt: String::new(),
            ids_hash: String::new(),
            sample: Vec::new(),
        };
        JobRow { project: "p".into(), accepted_us: 1_737_092_362_000_000, job, completion }
    }

    fn positions(resumes: [u64; 3]) -> Positions {
        let places = [(Topic::Profiles, 0), (Topic::Profiles, 1), (Topic::Events, 0)];
        let ledger: Vec<LedgerRow> = places
            .into_iter()
            .zip(resumes)
            .map(|((topic, partition), resume)| LedgerRow {
                resume,
                frontier: u64::MAX,
                ..LedgerRow::new(topic, partition)
            })
            .collect();
        Positions::of(&ledger)
    }

    fn at(resumes: [u64; 3]) -> (Status, u64, f64) {
        let row = row(None);
        let job = shape(&row, &positions(resumes));
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
        let completion =
            |found| Completion { completed_us: 1_737_092_363_500_000, sampled: 2, found };
        let done = row(Some(completion(0)));
        assert_eq!(
            serde_json::to_string(&shape(&done, &positions([0; 3]))).unwrap(),
            concat!(
                r#"{"job_id":"00000000-0000-0000-0000-000000000009","status":"completed","#,
                r#""users":3,"users_done":3,"progress":1.0,"erase":["profile","events"],"#,
                r#""accepted_at":"2025-01-17T05:39:22Z","completed_at":"2025-01-17T05:39:23.5Z"}"#,
            )
        );
        let failed = row(Some(completion(1)));
        assert_eq!(shape(&failed, &positions([20, 1, 8])).status, Status::Failed);
    }
}
