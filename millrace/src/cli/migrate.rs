//! What can be set of `millrace migrate`.

use std::num::NonZeroU64;

use clap::{Args, ValueEnum};
use millrace_schema::Topic;
use millrace_schema::limits::Limits;

/// What topics and tables are to be.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace migrate --kafka b1:9092 --cql n1:9042
  millrace migrate --kafka 127.0.0.1:9092 --cql 127.0.0.1:9042 --replication-factor 1
  millrace migrate --recreated events            after the topic was made anew; see the manual

What is there already is checked and left as it is; a mismatch ends with exit code 1 and with what
to do. With --json one object says what was done.")]
pub(crate) struct MigrateOptions {
    /// Copies of every partition and of every row
    #[arg(long, env = "MILLRACE_REPLICATION_FACTOR", default_value = "3", value_name = "N")]
    #[arg(hide_env_values = true, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) replication_factor: u16,

    /// Copies of every row [default: as --replication-factor]
    #[arg(long, env = "MILLRACE_CQL_REPLICATION_FACTOR", value_name = "N", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=32))]
    cql_replication_factor: Option<u16>,

    /// Copies of a record that must be there before it is acknowledged [default: 1 of 1, else 2]
    #[arg(long, env = "MILLRACE_MIN_INSYNC_REPLICAS", value_name = "N", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=32))]
    min_insync_replicas: Option<u16>,

    /// Seconds that a record stays in its topic
    #[arg(long, env = "MILLRACE_LOG_RETENTION_SECONDS", default_value = "604800")]
    #[arg(hide_env_values = true, value_name = "SECONDS")]
    pub(crate) log_retention_seconds: NonZeroU64,

    /// Bytes of the largest item that a front door is to take
    #[arg(long, env = "MILLRACE_ITEM_BYTES_MAX", default_value_t = Limits::default().item_bytes)]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) item_bytes_max: usize,

    /// What the tables are written in [default: as the database is]
    #[arg(long, env = "MILLRACE_DIALECT", value_name = "DIALECT", hide_env_values = true)]
    pub(crate) dialect: Option<Dialect>,

    /// Goes on after this topic was made anew or cut: its ledger begins again at offset 0, with
    /// stamps above all used before. Every front door and worker must be stopped
    #[arg(long, value_name = "TOPIC", value_parser = consumed)]
    pub(crate) recreated: Option<Topic>,
}

/// What tables are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// What every CQL database understands
    Portable,
    /// With what only ScyllaDB understands
    Scylladb,
}

impl MigrateOptions {
    pub(crate) fn min_insync_replicas(&self) -> u16 {
        self.min_insync_replicas.unwrap_or(self.replication_factor.min(2))
    }

    pub(crate) fn cql_replication_factor(&self) -> u16 {
        self.cql_replication_factor.unwrap_or(self.replication_factor)
    }

    /// Numbers that contradict each other.
    pub(super) fn problem(&self) -> Option<String> {
        let (least, all) = (self.min_insync_replicas(), self.replication_factor);
        let text = || format!("--min-insync-replicas {least} is above --replication-factor {all}");
        (least > all).then(text)
    }
}

fn consumed(name: &str) -> Result<Topic, String> {
    let is = |topic: &Topic| topic.short_name() == name;
    Topic::CONSUMED.into_iter().find(is).ok_or_else(|| {
        let names = Topic::CONSUMED.map(Topic::short_name).join(", ");
        format!("a topic that workers consume is one of {names}")
    })
}
