//! The five calls as data, a server to throw things at, and what must hold afterwards.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use millrace_tests::client::{Answer, Client, Request};
use millrace_tests::generator::path;
use millrace_tests::observe;
use millrace_tests::process::{Launch, Server};
use serde::Deserialize;
use tempfile::TempDir;

/// One of the five calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    /// The member that holds the items, and a good item, where there are items.
    pub(crate) list: Option<(&'static str, &'static str)>,
    /// A good body.
    pub(crate) good: &'static str,
    /// The `message` of its 400.
    pub(crate) message: &'static str,
}

const INVALID: &str = "Invalid request parameters.";

pub(crate) const EVENTS: Call = Call {
    path: path::EVENTS,
    list: Some(("events", r#"{"user_id":"u","name":"n"}"#)),
    good: r#"{"events":[{"user_id":"u","name":"n","properties":{"a":[1,"ü"]}}]}"#,
    message: INVALID,
};
pub(crate) const PROFILES: Call = Call {
    path: path::PROFILES,
    list: Some(("profiles", r#"{"user_id":"u"}"#)),
    good: r#"{"profiles":[{"user_id":"u","properties":{"a":true},"timestamp":"2025-01-17T05:39:22Z"}]}"#,
    message: INVALID,
};
pub(crate) const DEVICES: Call = Call {
    path: path::DEVICES,
    list: Some(("devices", r#"{"user_id":"u","device_id":"d","platform":"web"}"#)),
    good: r#"{"devices":[{"user_id":"u","device_id":"gaid:1","platform":"ios","remove_user_id":false}]}"#,
    message: INVALID,
};
pub(crate) const DELETE: Call = Call {
    path: path::DELETE,
    list: None,
    good: r#"{"user_id":"u","erase":["events"]}"#,
    message: INVALID,
};
pub(crate) const DELETE_BULK: Call = Call {
    path: path::DELETE_BULK,
    list: None,
    good: r#"{"user_ids":["u","v"]}"#,
    message: "Invalid request.",
};
pub(crate) const CALLS: [Call; 5] = [EVENTS, PROFILES, DEVICES, DELETE, DELETE_BULK];

impl Call {
    /// A body with these items (or, without a list, the only one as it is).
    pub(crate) fn body(&self, items: &[String]) -> String {
        match self.list {
            Some((list, _)) => format!("{{\"{list}\":[{}]}}", items.join(",")),
            None => items.concat(),
        }
    }
}

/// The body of an error.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) total: usize,
    #[serde(default)]
    pub(crate) errors: Vec<Fault>,
}

/// One of its errors.
#[derive(Debug, Deserialize)]
pub(crate) struct Fault {
    pub(crate) index: Option<usize>,
    pub(crate) field: Option<String>,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A server that must not be impressed.
pub(crate) struct Target {
    pub(crate) folder: TempDir,
    pub(crate) server: Server,
    pub(crate) client: Client,
}

impl Target {
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let launch = Launch::dev(&folder.path().join("data"))?;
        let server = args.iter().fold(launch, |launch, arg| launch.arg(arg)).start()?;
        let client = server.client();
        Ok(Self { folder, server, client })
    }

    /// Sends a body to a call.
    pub(crate) fn send(&mut self, call: Call, body: impl Into<Vec<u8>>) -> Result<Answer> {
        let request = self.client.call(call.path, body);
        self.client.send(&request)
    }

    /// Sends a request that must be answered with this status, and reads the refusal.
    pub(crate) fn refused(&mut self, request: &Request, status: u16) -> Result<Refusal> {
        let answer = self.client.send(request)?;
        let shown: String = String::from_utf8_lossy(&request.body).chars().take(300).collect();
        ensure!(answer.status == status, "{} {} to {shown}", answer.status, answer.text());
        let kind = answer.header("content-type").unwrap_or_default();
        ensure!(kind.starts_with("application/json"), "{status} of type {kind:?}");
        ensure!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "no request id");
        answer.json()
    }

    /// Sends a body that must be a 400 with the call's own message.
    pub(crate) fn bad(&mut self, call: Call, body: impl Into<Vec<u8>>) -> Result<Refusal> {
        let request = self.client.call(call.path, body);
        let refusal = self.refused(&request, 400)?;
        ensure!(refusal.code == "INVALID_REQUEST", "{refusal:?}");
        ensure!(refusal.message == call.message, "{refusal:?}");
        ensure!(refusal.total >= 1 && !refusal.errors.is_empty(), "nothing is named: {refusal:?}");
        ensure!(refusal.errors.iter().all(|e| !e.message.is_empty()), "{refusal:?}");
        Ok(refusal)
    }

    /// Nothing was stored, nothing panicked, and the server still takes what is good.
    pub(crate) fn untouched(mut self) -> Result<()> {
        let stored: u64 = observe::ledger(&self.server)?.iter().map(|p| p.log_end).sum();
        ensure!(stored == 0, "{stored} records are in the log");
        self.alive()
    }

    /// Nothing panicked, and the server still takes what is good.
    pub(crate) fn alive(&mut self) -> Result<()> {
        // An idle connection may have been closed meanwhile.
        self.client = self.server.client();
        for call in CALLS {
            let answer = self.send(call, call.good)?;
            ensure!(answer.status == 202, "{call:?}: {} {}", answer.status, answer.text());
        }
        ensure!(!self.server.panicked()?, "a panic:\n{}", self.server.stderr());
        observe::wait_idle(&self.server, &[].into()).context("after bad input")?;
        let dead: u64 = observe::accounting(&mut self.client)?
            .topics
            .values()
            .map(|t| t.outcomes.get("dead").copied().unwrap_or(0))
            .sum();
        ensure!(dead == 0, "{dead} dead letters");
        Ok(())
    }

    /// Runs a command of the same binary on the same folder, and reads its JSON.
    pub(crate) fn command(&self, args: &[&str]) -> Result<BTreeMap<String, serde_json::Value>> {
        let mut command = std::process::Command::new(&self.server.launch().binary);
        command.args(args).arg("--json").arg("--data").arg(self.folder.path().join("data"));
        let output = command.output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "millrace {args:?}: {error}");
        serde_json::from_slice(&output.stdout).context(error)
    }
}
