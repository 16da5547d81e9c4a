//! What can be set of `millrace ingest`.

use std::path::PathBuf;

use clap::Args;

use super::front::FrontOptions;
use super::identity::IdentityOptions;

/// How a front door of a cluster runs.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace ingest --kafka b1:9092,b2:9092 --cql n1:9042,n2:9042 --verify-key signing.pub.pem
  millrace ingest --verify-key a.pem --token-secrets-file token.secret \
    --smtp-url smtp://mail.example.com:25 --public-url https://app.example.com
  millrace ingest --json --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --verify-key a.pem

With --json one line {\"url\", \"admin_url\"} is printed when it listens; /readyz says when it is
ready, and why not. While a server is away it waits. SIGTERM and SIGINT stop in order; exit code 0
says that nothing was cut short. A second one stops at once.")]
pub(crate) struct IngestOptions {
    /// Public keys (PEM) that API keys are checked with: `keys/signing.pub.pem` of the data folder
    /// that they are made in; may be repeated
    #[arg(long = "verify-key", env = "MILLRACE_VERIFY_KEY", value_delimiter = ',')]
    #[arg(hide_env_values = true, value_name = "FILE", required = true)]
    pub(crate) verify_keys: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) front: FrontOptions,
    #[command(flatten)]
    pub(crate) identity: IdentityOptions,
}

impl IngestOptions {
    /// What contradicts itself, or is missing.
    pub(super) fn problem(&self) -> Option<String> {
        self.front.problem().or_else(|| self.identity.problem_without_folder())
    }
}
