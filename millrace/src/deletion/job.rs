//! Deletion jobs as the API shows them, and as people read them.

use millrace_schema::record::Reach;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::grouped;
use crate::table::table;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Accepted,
    Running,
    Completed,
    Failed,
}

impl Status {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) job_id: Uuid,
    pub(super) status: Status,
    pub(super) users: u64,
    pub(super) users_done: u64,
    pub(super) erase: Vec<Reach>,
    pub(super) accepted_at: String,
    pub(super) completed_at: Option<String>,
    pub(super) users_per_second: Option<f64>,
    pub(super) expected_at: Option<String>,
    pub(super) webhook: Option<Webhook>,
}

/// How far the sending of its receipt is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Webhook {
    state: String,
    attempts: u64,
    error: Option<String>,
}

/// A page of jobs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Page {
    pub(super) jobs: Vec<Job>,
    pub(super) next_cursor: Option<String>,
}

impl Job {
    /// Whether nothing more will happen.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Failed)
    }
}

/// Names of what is erased.
pub(super) fn reaches(erase: &[Reach]) -> String {
    let names = erase.iter().map(|reach| match reach {
        Reach::Profile => "profile",
        Reach::Devices => "devices",
        Reach::Events => "events",
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Jobs as a table.
pub(super) fn jobs_table(jobs: &[Job]) -> String {
    let cells = |cells: [&str; 6]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![cells(["job", "status", "accepted", "completed", "users", "done"])];
    rows.extend(jobs.iter().map(|job| {
        cells([
            &job.job_id.to_string(),
            job.status.name(),
            &job.accepted_at,
            job.completed_at.as_deref().unwrap_or("-"),
            &grouped(job.users),
            &grouped(job.users_done),
        ])
    }));
    table(&rows, 4)
}

/// One job, line by line.
pub(super) fn job_text(job: &Job) -> String {
    let done = format!("{} of {}", grouped(job.users_done), grouped(job.users));
    let mut lines = vec![
        ("job", job.job_id.to_string()),
        ("status", job.status.name().to_owned()),
        ("users done", done),
        ("erases", reaches(&job.erase)),
        ("accepted", job.accepted_at.clone()),
    ];
    if let Some(rate) = job.users_per_second.filter(|rate| *rate > 0.0) {
        lines.push(("users/s", format!("{rate:.0}")));
    }
    let named = [("expected", &job.expected_at), ("completed", &job.completed_at)];
    let known = named.into_iter().filter_map(|(name, at)| Some((name, at.clone()?)));
    lines.extend(known);
    if let Some(webhook) = &job.webhook {
        let error = webhook.error.as_deref().map(|error| format!("; the last error: {error}"));
        let text = format!("{}, {} attempts", webhook.state, webhook.attempts);
        lines.push(("webhook", text + &error.unwrap_or_default()));
    }
    let rows: Vec<_> =
        lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&rows, 2)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::deletion) fn job(status: Status, users: u64, users_done: u64) -> Job {
        Job {
            job_id: Uuid::from_u128(users.into()),
            status,
            users,
            users_done,
            erase: Reach::ALL.to_vec(),
            accepted_at: "2026-01-17T05:39:22Z".to_owned(),
            completed_at: None,
            users_per_second: None,
            expected_at: None,
            webhook: None,
        }
    }

    #[test]
    fn a_job_of_any_server_is_read() {
        let text = r#"{"job_id":"00000000-0000-0000-0000-000000000003","status":"running",
            "users":3,"users_done":1,"progress":0.3,"erase":["profile","devices","events"],
            "accepted_at":"2026-01-17T05:39:22Z","completed_at":null}"#;
        assert_eq!(serde_json::from_str::<Job>(text).unwrap(), job(Status::Running, 3, 1));
    }

    #[test]
    fn a_job_shows_what_is_known_of_it() {
        let mut job = job(Status::Running, 1_000, 250);
        job.users_per_second = Some(83.3);
        job.expected_at = Some("2026-01-17T05:39:31Z".to_owned());
        let error = Some("no answer".to_owned());
        job.webhook = Some(Webhook { state: "pending".to_owned(), attempts: 2, error });
        let text = job_text(&job);
        for part in ["running", "250 of 1,000", "profile, devices, events", "05:39:31", " 83\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("pending, 2 attempts; the last error: no answer"), "{text}");
        assert!(!text.contains("completed"), "{text}");
    }
}
