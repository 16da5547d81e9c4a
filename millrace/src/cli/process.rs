//! What can be set of every process that serves.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

/// Where operators look, and how long stopping may take.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProcessOptions {
    /// Where health and metrics are served, not for clients; port 0 picks a free one
    #[arg(long, env = "MILLRACE_ADMIN_LISTEN", default_value = "127.0.0.1:9090")]
    #[arg(value_name = "ADDRESS", hide_env_values = true)]
    pub(crate) admin_listen: SocketAddr,

    /// For requests, and then for workers, to finish when the process stops
    #[arg(long, env = "MILLRACE_SHUTDOWN_TIMEOUT_MS", default_value = "20000")]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) shutdown_timeout_ms: u64,
}

impl ProcessOptions {
    pub(crate) const fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}
