//! Where the cluster is, and how to speak to it.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Never a flag: others would see it in the list of processes.
const PASSWORD_VARIABLE: &str = "MILLRACE_CQL_PASSWORD";
const PASSWORD_BYTES_MAX: u64 = 4 * 1024;

/// Kafka and a CQL database in the place of the embedded engines.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterOptions {
    /// Kafka brokers to begin with; needs --cql
    #[arg(long, env = "MILLRACE_KAFKA", global = true, hide_env_values = true)]
    #[arg(value_name = "HOST:PORT,…")]
    pub(crate) kafka: Option<Addresses>,

    /// Nodes of ScyllaDB or Cassandra to begin with; needs --kafka
    #[arg(long, env = "MILLRACE_CQL", global = true, hide_env_values = true)]
    #[arg(value_name = "HOST:PORT,…")]
    pub(crate) cql: Option<Addresses>,

    /// What the names of topics and consumer groups begin with
    #[arg(long, env = "MILLRACE_KAFKA_PREFIX", default_value = "millrace", global = true)]
    #[arg(hide_env_values = true, value_name = "NAME")]
    pub(crate) kafka_prefix: String,

    /// A worker that Kafka has not heard of for this long loses its partitions
    #[arg(long, env = "MILLRACE_KAFKA_SESSION_TIMEOUT_MS", default_value = "10000", global = true)]
    #[arg(hide_env_values = true, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    pub(crate) kafka_session_timeout_ms: u64,

    /// Certificates (PEM) that those of the brokers must be signed with; turns TLS on
    #[cfg(feature = "kafka-tls")]
    #[arg(long, env = "MILLRACE_KAFKA_TLS_CA", global = true, hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub(crate) kafka_tls_ca: Option<PathBuf>,

    /// The keyspace
    #[arg(long, env = "MILLRACE_CQL_KEYSPACE", default_value = "millrace", global = true)]
    #[arg(hide_env_values = true, value_name = "NAME")]
    pub(crate) cql_keyspace: String,

    /// The database user; the password is in the variable MILLRACE_CQL_PASSWORD or in a file
    #[arg(long, env = "MILLRACE_CQL_USER", global = true, hide_env_values = true)]
    #[arg(value_name = "NAME")]
    pub(crate) cql_user: Option<String>,

    /// A file that holds the password of the database user
    #[arg(long, env = "MILLRACE_CQL_PASSWORD_FILE", global = true, hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub(crate) cql_password_file: Option<PathBuf>,

    /// Certificates (PEM) that those of the nodes must be signed with; turns TLS on
    #[arg(long, env = "MILLRACE_CQL_TLS_CA", global = true, hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub(crate) cql_tls_ca: Option<PathBuf>,

    /// How many replicas must have answered
    #[arg(long, env = "MILLRACE_CQL_CONSISTENCY", default_value = "local-quorum", global = true)]
    #[arg(hide_env_values = true, value_name = "LEVEL")]
    pub(crate) cql_consistency: Consistency,

    /// The data centre whose nodes are asked [default: all]
    #[arg(long, env = "MILLRACE_CQL_DATACENTER", global = true, hide_env_values = true)]
    #[arg(value_name = "NAME")]
    pub(crate) cql_datacenter: Option<String>,

    /// How long a crash of a node may still forget a write that it has acknowledged
    #[arg(long, env = "MILLRACE_CQL_SETTLE_MS", default_value = "30000", global = true)]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) cql_settle_ms: u64,

    /// Of the requests that a worker has in flight, how many percent may erase: the rest is kept for
    /// what is written meanwhile
    #[arg(long, env = "MILLRACE_CQL_ERASE_SHARE", default_value = "50", global = true)]
    #[arg(hide_env_values = true, value_name = "PERCENT")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) cql_erase_share: u8,
}

/// How many replicas must have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// More than half of those in this data centre
    LocalQuorum,
    /// More than half of all
    Quorum,
    /// All
    All,
    /// One in this data centre: what it acknowledged goes with it
    LocalOne,
    /// One
    One,
}

/// One or more of `host:port`, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<String>);

impl Addresses {
    pub(crate) fn to_vec(&self) -> Vec<String> {
        self.0.clone()
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl std::str::FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |part: &str| {
            let part = part.trim();
            let whole = part.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            match whole.map(|(_, port)| port.parse::<u16>()) {
                Some(Ok(1..)) => Ok(part.to_owned()),
                _ => Err(format!("{part:?} is not HOST:PORT")),
            }
        };
        text.split(',').map(address).collect::<Result<_, _>>().map(Self)
    }
}

/// A password. Shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Password(pub(crate) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl ClusterOptions {
    /// Whether a cluster takes the place of the embedded engines.
    pub(crate) const fn is_named(&self) -> bool {
        self.kafka.is_some() && self.cql.is_some()
    }

    pub(crate) const fn settle(&self) -> Duration {
        Duration::from_millis(self.cql_settle_ms)
    }

    /// Why a command that works on a cluster only cannot be done.
    pub(super) fn missing(&self, command: &str) -> Option<String> {
        let text = || {
            format!(
                "`millrace {command}` works on a cluster: give --kafka and --cql (MILLRACE_KAFKA, \
                 MILLRACE_CQL); `millrace dev` works without one"
            )
        };
        (!self.is_named()).then(text)
    }

    /// Options that contradict each other.
    pub(super) fn problem(&self) -> Option<String> {
        let has_password = std::env::var_os(PASSWORD_VARIABLE).is_some();
        self.contradiction(has_password).map(str::to_owned)
    }

    fn contradiction(&self, has_password: bool) -> Option<&'static str> {
        let (file, user) = (self.cql_password_file.is_some(), self.cql_user.is_some());
        match (self.kafka.is_some(), self.cql.is_some()) {
            (true, false) => Some(
                "--kafka (MILLRACE_KAFKA) without --cql (MILLRACE_CQL): a cluster is both, or \
                 leave both out for the embedded engines",
            ),
            (false, true) => Some(
                "--cql (MILLRACE_CQL) without --kafka (MILLRACE_KAFKA): a cluster is both, or \
                 leave both out for the embedded engines",
            ),
            (false, false) => None,
            _ if file && has_password => Some(
                "the password is given twice: leave out --cql-password-file or the variable \
                 MILLRACE_CQL_PASSWORD",
            ),
            _ if user && !file && !has_password => Some(
                "--cql-user without a password: give --cql-password-file or the variable \
                 MILLRACE_CQL_PASSWORD",
            ),
            _ if !user && (file || has_password) => {
                Some("a password without its user: give --cql-user (MILLRACE_CQL_USER)")
            }
            _ => None,
        }
    }

    /// The database user and its password, if there is one.
    ///
    /// # Errors
    /// The file with the password cannot be read.
    pub(crate) fn credentials(&self) -> Result<Option<(String, Password)>> {
        let Some(user) = self.cql_user.clone() else { return Ok(None) };
        let password = match &self.cql_password_file {
            None => std::env::var(PASSWORD_VARIABLE).context(PASSWORD_VARIABLE)?,
            Some(path) => {
                let what = || format!("the password file {}", path.display());
                let mut text = String::new();
                let file = std::fs::File::open(path).with_context(what)?;
                #[expect(clippy::disallowed_methods, reason = "read under a cap")]
                file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).with_context(what)?;
                let password = text.lines().next().unwrap_or_default().to_owned();
                ensure!(!password.is_empty(), "{} has no password in its first line", what());
                password
            }
        };
        Ok(Some((user, Password(password))))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn options(args: &[&str]) -> ClusterOptions {
        let args = [&["millrace", "ledger"], args].concat();
        Cli::try_parse_from(args).unwrap().common.cluster
    }

    const BOTH: [&str; 4] = ["--kafka", "a:1", "--cql", "b:2"];

    #[test]
    fn a_cluster_is_both_or_neither() {
        assert_eq!(options(&[]).contradiction(false), None);
        assert_eq!(options(&BOTH).contradiction(false), None);
        for (args, other) in [(&BOTH[..2], "--cql"), (&BOTH[2..], "--kafka")] {
            let problem = options(args).contradiction(false).unwrap();
            assert!(problem.contains(&format!("without {other}")), "{problem}");
        }
    }

    #[test]
    fn a_password_has_a_user_and_one_place() {
        let with = |args: &[&str], has| options(&[&BOTH, args].concat()).contradiction(has);
        let (user, file) = (["--cql-user", "u"], ["--cql-password-file", "f"]);
        assert_eq!(with(&user, true), None);
        assert_eq!(with(&[user, file].concat(), false), None);
        assert!(with(&user, false).unwrap().contains("without a password"));
        assert!(with(&[], true).unwrap().contains("without its user"));
        assert!(with(&file, false).unwrap().contains("without its user"));
        assert!(with(&[user, file].concat(), true).unwrap().contains("twice"));
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file_and_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let args = ["--cql-user", "u", "--cql-password-file", file.path().to_str().unwrap()];
        let options = options(&[&BOTH[..], &args].concat());
        let error = options.credentials().unwrap_err().to_string();
        assert!(error.contains("has no password"), "{error}");
        std::fs::write(file.path(), "hush \nmore\n").unwrap();
        let credentials = options.credentials().unwrap().unwrap();
        assert_eq!(credentials.1.0, "hush ");
        assert!(!format!("{credentials:?} {options:?}").contains("hush"));
    }

    #[test]
    fn addresses_are_hosts_with_ports() {
        let parsed: Addresses = "a:1, [::1]:9092".parse().unwrap();
        assert_eq!(parsed.to_vec(), ["a:1", "[::1]:9092"]);
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:1,", "http://a"] {
            assert!(bad.parse::<Addresses>().is_err(), "{bad:?}");
        }
    }
}
