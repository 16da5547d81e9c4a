//! Whether requests, or records, can be expected to be dealt with, and if not, why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_log::Log;
use serde::Serialize;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Work cannot be expected to succeed.
    NotReady(String),
    /// What matters most succeeds all the same.
    Degraded(String),
}

/// A condition of readiness. Called at every probe, so it must not wait.
pub type Check = Box<dyn Fn() -> Result<(), Problem> + Send + Sync>;

/// The conditions under which a process is ready: its log, and what else was asked for.
pub struct Readiness {
    log: Arc<dyn Log>,
    checks: Vec<Check>,
    stopping: AtomicBool,
}

/// The body of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    status: &'static str,
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
}

impl Readiness {
    /// Of a process that works with this log.
    pub fn new(log: Arc<dyn Log>, checks: Vec<Check>) -> Self {
        Self { log, checks, stopping: AtomicBool::new(false) }
    }

    /// Turns readiness off for good.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// How it is now.
    pub fn report(&self) -> Report {
        let mut reasons = Vec::new();
        let mut degraded = Vec::new();
        if self.stopping.load(Ordering::Relaxed) {
            reasons.push("shutting down".to_owned());
        }
        reasons.extend(self.log.health().err().map(|reason| format!("log: {reason}")));
        for problem in self.checks.iter().filter_map(|check| check().err()) {
            match problem {
                Problem::NotReady(reason) => reasons.push(reason),
                Problem::Degraded(reason) => degraded.push(reason),
            }
        }
        let status = if reasons.is_empty() { "ready" } else { "not ready" };
        Report { status, reasons, degraded }
    }
}

impl Report {
    /// Whether the process is ready.
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Why it is not.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }
}
