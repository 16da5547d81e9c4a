//! What can be set of a front door.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;
use millrace_schema::limits::Limits;
use millrace_schema::net::Net;

use super::process::ProcessOptions;

/// How a front door behaves.
#[derive(Clone, Debug, Args)]
pub(crate) struct FrontOptions {
    /// Where clients call; port 0 picks a free one
    #[arg(long, env = "MILLRACE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    #[arg(hide_env_values = true)]
    pub(crate) listen: SocketAddr,

    /// A net of proxies, as 10.0.0.0/8, that may say in X-Forwarded-For whom a request is from;
    /// may be repeated
    #[arg(long = "trusted-proxy", env = "MILLRACE_TRUSTED_PROXY", hide_env_values = true)]
    #[arg(value_name = "CIDR", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<Net>,

    #[command(flatten)]
    pub(crate) process: ProcessOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) timeouts: TimeoutOptions,
}

impl FrontOptions {
    /// A limit that makes another one senseless.
    pub(super) fn problem(&self) -> Option<String> {
        let limits = &self.limits;
        let body = limits.body_bytes_max;
        if limits.item_bytes_max > body {
            let item = limits.item_bytes_max;
            return Some(format!("--item-bytes-max {item} is above --body-bytes-max {body}"));
        }
        if body > limits.admission_bytes {
            let all = limits.admission_bytes;
            return Some(format!("--body-bytes-max {body} is above --admission-bytes {all}"));
        }
        if body > limits.log_queue_bytes {
            let queue = limits.log_queue_bytes;
            return Some(format!("--body-bytes-max {body} is above --log-queue-bytes {queue}"));
        }
        None
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Bytes of one body, on the wire and after decompression
    #[arg(long, env = "MILLRACE_BODY_BYTES_MAX", default_value_t = Limits::default().body_bytes)]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) body_bytes_max: usize,

    /// Bytes of one item
    #[arg(long, env = "MILLRACE_ITEM_BYTES_MAX", default_value_t = Limits::default().item_bytes)]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) item_bytes_max: usize,

    /// Connections open at once
    #[arg(long, env = "MILLRACE_CONNECTIONS_MAX", default_value = "10000")]
    #[arg(hide_env_values = true, value_name = "CONNECTIONS")]
    pub(crate) connections_max: NonZeroUsize,

    /// Bytes of bodies in memory at once; beyond them requests are refused with 503
    #[arg(long, env = "MILLRACE_ADMISSION_BYTES", default_value = "268435456")]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) admission_bytes: usize,

    /// Items a second that one project may send [default: no limit]
    #[arg(long, env = "MILLRACE_RATE_ITEMS_PER_S", hide_env_values = true, value_name = "ITEMS")]
    pub(crate) rate_items_per_s: Option<NonZeroU32>,

    /// Bytes of records that may wait for the log to take them; beyond them requests get 503
    #[arg(long, env = "MILLRACE_LOG_QUEUE_BYTES", default_value = "67108864")]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) log_queue_bytes: usize,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Timeouts")]
pub(crate) struct TimeoutOptions {
    /// For a request's head; idle connections too
    #[arg(long, env = "MILLRACE_HEADER_TIMEOUT_MS", default_value = "30000")]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) header_timeout_ms: u64,

    /// For a request's body
    #[arg(long, env = "MILLRACE_BODY_TIMEOUT_MS", default_value = "30000")]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) body_timeout_ms: u64,

    /// For the log's acknowledgement
    #[arg(long, env = "MILLRACE_APPEND_TIMEOUT_MS", default_value = "10000")]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) append_timeout_ms: u64,

    /// Between two looks at the list of revoked keys
    #[arg(long, env = "MILLRACE_REVOCATION_REFRESH_MS", default_value = "3000")]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) revocation_refresh_ms: u64,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        let problem = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["millrace", "dev"], args].concat()).unwrap();
            let Command::Dev(options) = cli.command else { panic!("{cli:?}") };
            options.front.problem()
        };
        assert_eq!(problem(&[]), None);
        for (flag, value, other) in [
            ("--item-bytes-max", "10485761", "--body-bytes-max"),
            ("--admission-bytes", "10485759", "--body-bytes-max"),
            ("--log-queue-bytes", "10485759", "--body-bytes-max"),
        ] {
            let text = problem(&[flag, value]).unwrap();
            assert!(text.contains(flag) && text.contains(other), "{text}");
        }
    }
}
