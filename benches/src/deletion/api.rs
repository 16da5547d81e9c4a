//! The calls of a client that deletes: submit, look, count.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::http::{self, Answer};
use crate::request::Target;

/// A job as it is read back.
#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) status: String,
    pub(super) users: u64,
}

#[derive(Deserialize)]
struct Accounting {
    topics: BTreeMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    outcomes: BTreeMap<String, u64>,
}

impl Target {
    /// Submits a job; where it is to be seen.
    pub(super) fn delete(&self, ids: &[String]) -> Result<String> {
        let body = json!({ "user_ids": ids }).to_string();
        let path = "/v1/api/profile/user/deletion-job/bulk";
        let answer = self.call("POST", path, body.as_bytes())?;
        ensure!(answer.status == 202, "{}: {}", answer.status, text(&answer));
        answer.location.context("a job without Location")
    }

    /// A job; `None` while the worker has not read it.
    pub(super) fn job(&self, location: &str) -> Result<Option<Job>> {
        let path = location.split('?').next().unwrap_or_default();
        let answer = self.call("GET", path, b"")?;
        if answer.status == 404 {
            return Ok(None);
        }
        ensure!(answer.status == 200, "{location}: {}: {}", answer.status, text(&answer));
        serde_json::from_slice(&answer.body).with_context(|| text(&answer)).map(Some)
    }

    /// Events that the workers have stored so far.
    pub(super) fn events_stored(&self) -> Result<u64> {
        let answer = self.call("GET", "/v1/api/accounting", b"")?;
        ensure!(answer.status == 200, "{}: {}", answer.status, text(&answer));
        let accounting: Accounting = serde_json::from_slice(&answer.body)?;
        let events = accounting.topics.get("events");
        Ok(events.and_then(|topic| topic.outcomes.get("stored")).copied().unwrap_or_default())
    }

    fn call(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let path = format!("{path}?project_id={}", self.project);
        let headers = format!("authorization: Bearer {}\r\n", self.api_key);
        http::call(self.address, method, &path, &headers, body)
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
