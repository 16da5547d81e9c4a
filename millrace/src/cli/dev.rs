//! What can be set of `millrace dev`.

use clap::Args;

use super::front::FrontOptions;
use super::identity::IdentityOptions;
use super::webhook::WebhookOptions;
use super::worker::{EventRetention, ReceiptOptions};

/// How `millrace dev` runs.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace dev
  millrace dev --smtp-url smtp://mail.example.com:25 --public-url https://app.example.com
  millrace dev --data /var/lib/millrace --listen 0.0.0.0:8080
  millrace dev --json --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0
  millrace dev --kafka 127.0.0.1:9092 --cql 127.0.0.1:9042    (after `millrace migrate`)

With --json one line {\"url\", \"admin_url\", \"project_id\", \"api_key\"} is printed when ready.
SIGTERM and SIGINT stop in order; exit code 0 says that nothing was cut short. A second one stops
at once.")]
pub(crate) struct DevOptions {
    #[command(flatten)]
    pub(crate) front: FrontOptions,
    #[command(flatten)]
    pub(crate) identity: IdentityOptions,
    #[command(flatten)]
    pub(crate) events: EventRetention,
    #[command(flatten)]
    pub(crate) receipts: ReceiptOptions,
    #[command(flatten)]
    pub(crate) webhooks: WebhookOptions,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedLogOptions,
}

impl DevOptions {
    /// What contradicts itself.
    pub(super) fn problem(&self) -> Option<String> {
        self.front.problem().or_else(|| self.identity.problem())
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Embedded log")]
pub(crate) struct EmbeddedLogOptions {
    /// Bytes of disk that must stay free; with less, requests get 503
    #[arg(long, env = "MILLRACE_DISK_FLOOR_BYTES", default_value = "268435456")]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) disk_floor_bytes: u64,

    /// Seconds that a record stays in the log after every worker has passed it; of topics of a
    /// cluster, `millrace migrate` is told
    #[arg(long, env = "MILLRACE_LOG_RETENTION_SECONDS", default_value = "86400")]
    #[arg(hide_env_values = true, value_name = "SECONDS")]
    pub(crate) log_retention_seconds: u64,

    /// Bytes of the log beyond which records go as soon as every worker has passed them
    #[arg(long, env = "MILLRACE_LOG_RETENTION_BYTES", default_value = "1073741824")]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) log_retention_bytes: u64,
}
