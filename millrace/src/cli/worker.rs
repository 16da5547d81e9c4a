//! What can be set of `millrace worker`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use millrace_schema::Topic;

use super::process::ProcessOptions;
use super::webhook::WebhookOptions;

/// How workers of a cluster run.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace worker --role events --kafka b1:9092 --cql n1:9042
  millrace worker --role profiles --role deletions --receipt-key receipts.pem \
    --admin-listen 0.0.0.0:9090

With --json one line {\"admin_url\"} is printed when it listens; /readyz there says when log and
store are reached, and why not. While a server is away it waits. SIGTERM and SIGINT let it finish
its batches; exit code 0 says that nothing was cut short. A second one stops at once.")]
pub(crate) struct WorkerOptions {
    /// What it works on; may be repeated
    #[arg(long = "role", env = "MILLRACE_ROLE", value_delimiter = ',', hide_env_values = true)]
    #[arg(value_name = "ROLE", required = true)]
    pub(crate) roles: Vec<Role>,

    #[command(flatten)]
    pub(crate) settings: WorkerSettings,
}

/// What can be set whatever the role.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkerSettings {
    #[command(flatten)]
    pub(crate) process: ProcessOptions,
    #[command(flatten)]
    pub(crate) events: EventRetention,
    #[command(flatten)]
    pub(crate) receipts: ReceiptOptions,
    #[command(flatten)]
    pub(crate) webhooks: WebhookOptions,
}

impl WorkerSettings {
    /// What is missing for a role.
    pub(super) fn problem(&self, roles: &[Role]) -> Option<String> {
        let signs = roles.contains(&Role::Deletions);
        (signs && self.receipts.receipt_key.is_none()).then(|| {
            "the role deletions signs receipts: give it the file of its key with --receipt-key \
             (MILLRACE_RECEIPT_KEY), which is made at the first use"
                .to_owned()
        })
    }
}

/// What a worker works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Events
    Events,
    /// Profiles and devices
    Profiles,
    /// Deletion jobs
    Deletions,
}

impl Role {
    /// The topics that it consumes.
    pub(crate) const fn topics(self) -> &'static [Topic] {
        match self {
            Self::Events => &[Topic::Events],
            Self::Profiles => &[Topic::Profiles, Topic::Devices],
            Self::Deletions => &[Topic::Deletions],
        }
    }

    /// The binary that does this alone.
    pub(crate) const fn binary(self) -> &'static str {
        match self {
            Self::Events => "events-worker",
            Self::Profiles => "profiles-worker",
            Self::Deletions => "deletions-worker",
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Retention")]
pub(crate) struct EventRetention {
    /// Days that an event is kept after its receipt
    #[arg(long, env = "MILLRACE_EVENT_RETENTION_DAYS", default_value = "395")]
    #[arg(hide_env_values = true, value_name = "DAYS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) event_retention_days: u32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Receipts of deletions")]
pub(crate) struct ReceiptOptions {
    /// The private key that signs receipts (PKCS#8 PEM, mode 0600), made at the first use; not the
    /// key that makes API keys. Its public half stays in the store for good. The role deletions
    /// needs it [default of `millrace dev`: keys/receipts.pem in the data folder]
    #[arg(long, env = "MILLRACE_RECEIPT_KEY", hide_env_values = true, value_name = "FILE")]
    pub(crate) receipt_key: Option<PathBuf>,

    /// Who receipts say has issued them
    #[arg(long, env = "MILLRACE_RECEIPT_ISSUER", default_value = "millrace", value_name = "NAME")]
    #[arg(hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) receipt_issuer: String,
}
