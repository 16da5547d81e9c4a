//! What can be typed: commands, flags, and the variables that stand for them.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use millrace_accounts::Scope;
use millrace_schema::limits::Limits;
use uuid::Uuid;

use crate::admin::Command as AdminCommand;
use crate::logging::LogOptions;

const DAY_SECONDS: u64 = 24 * 3600;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed; the reason is on stderr
  2  the command line is wrong

Every flag may be given as a variable; where both are, the flag wins.";

const EXAMPLES: &str = "\
Examples:
  millrace dev                                   try everything on this machine
  millrace project create shop --name 'My shop'
  millrace key create --project shop --scope write --expires-days 90
  millrace ledger                                what became of every record";

/// Takes customer data over HTTP, makes it durable, and keeps it where it can be read and erased.
#[derive(Clone, Debug, Parser)]
#[command(name = "millrace", version, about, propagate_version = true, max_term_width = 100)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"), subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What is typed, if it makes sense.
    ///
    /// # Errors
    /// What to print, to where, and the exit code; also for `--help`.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let cli = Self::try_parse()?;
        if let Command::Dev(options) = &cli.command
            && let Some(problem) = options.problem()
        {
            return Err(Self::command().error(ErrorKind::ValueValidation, problem));
        }
        Ok(cli)
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The data folder
    #[arg(long, env = "MILLRACE_DATA", default_value = "./millrace-data", value_name = "FOLDER")]
    #[arg(global = true, hide_env_values = true)]
    pub(crate) data: PathBuf,

    /// Print JSON on stdout, for machines
    #[arg(long, env = "MILLRACE_JSON", action = ArgAction::SetTrue, global = true)]
    #[arg(value_parser = FalseyValueParser::new(), hide_env_values = true)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) log: LogOptions,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: front door, log, workers, store
    Dev(Box<DevOptions>),
    /// Make and list projects
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Make, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show what became of every record, per topic and partition; exit 1 if it does not add up
    Ledger,
    /// Look into the log, and mend it
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Make a project
    #[command(after_help = "Example:\n  millrace project create shop --name 'My shop'")]
    Create {
        /// What callers send as `project_id`: 1 to 128 bytes
        id: String,
        /// A name for people [default: the id]
        #[arg(long)]
        name: Option<String>,
    },
    /// List all projects
    List,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; it is shown once and kept nowhere
    #[command(after_help = "\
Examples:
  millrace key create --project shop
  millrace key create --project shop --scope write --scope read --expires-days 90
  KEY=$(millrace key create --project shop --json | jq -r .api_key)")]
    Create {
        /// The project it belongs to
        #[arg(long, value_name = "ID")]
        project: String,
        /// What it may do; may be repeated [default: all three]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<ScopeName>,
        /// Days until it ends [default: it does not]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        expires_days: Option<u64>,
    },
    /// List keys, never the keys themselves
    List {
        /// Only those of a project
        #[arg(long, value_name = "ID")]
        project: Option<String>,
    },
    /// Make a successor with the same project and scopes, and revoke the old key
    Rotate {
        /// The key's id, as `millrace key list` shows it
        id: Uuid,
        /// Keep the old key until `millrace key revoke`, so that callers can move one by one
        #[arg(long)]
        keep_old: bool,
    },
    /// Refuse a key from now on, for good
    Revoke {
        /// The key's id, as `millrace key list` shows it
        id: Uuid,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Read all segments and report what is wrong with them; changes nothing, also beside a server
    Inspect,
    /// Cut the log where it is damaged; the server must be stopped
    Repair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    /// Send events, profiles and devices
    Write,
    /// Delete users
    Delete,
    /// Read back
    Read,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Write => Self::Write,
            ScopeName::Delete => Self::Delete,
            ScopeName::Read => Self::Read,
        }
    }
}

impl From<ProjectCommand> for AdminCommand {
    fn from(command: ProjectCommand) -> Self {
        match command {
            ProjectCommand::Create { id, name } => {
                Self::ProjectCreate { name: name.unwrap_or_else(|| id.clone()), id }
            }
            ProjectCommand::List => Self::ProjectList,
        }
    }
}

impl From<KeyCommand> for AdminCommand {
    fn from(command: KeyCommand) -> Self {
        match command {
            KeyCommand::Create { project, scopes, expires_days } => {
                let all = || Scope::ALL.to_vec();
                let scopes: Vec<Scope> = scopes.into_iter().map(Scope::from).collect();
                let scopes = if scopes.is_empty() { all() } else { scopes };
                let lifetime_seconds = expires_days.map(|days| days.saturating_mul(DAY_SECONDS));
                Self::KeyCreate { project, scopes, lifetime_seconds }
            }
            KeyCommand::List { project } => Self::KeyList { project },
            KeyCommand::Rotate { id, keep_old } => Self::KeyRotate { id, keep_old },
            KeyCommand::Revoke { id } => Self::KeyRevoke { id },
        }
    }
}

/// How `millrace dev` runs.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace dev
  millrace dev --data /var/lib/millrace --listen 0.0.0.0:8080
  millrace dev --json --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0

With --json one line {\"url\", \"admin_url\", \"project_id\", \"api_key\"} is printed when ready.
SIGTERM and SIGINT stop in order; exit code 0 says that nothing was cut short. A second one stops
at once.")]
pub(crate) struct DevOptions {
    /// Where clients call; port 0 picks a free one
    #[arg(long, env = "MILLRACE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    #[arg(hide_env_values = true)]
    pub(crate) listen: SocketAddr,

    /// Where metrics and the ledger are served, not for clients; port 0 picks a free one
    #[arg(long, env = "MILLRACE_ADMIN_LISTEN", default_value = "127.0.0.1:9090")]
    #[arg(value_name = "ADDRESS", hide_env_values = true)]
    pub(crate) admin_listen: SocketAddr,

    /// Partitions of every topic; fixed when the log is made
    #[arg(long, env = "MILLRACE_PARTITIONS", default_value = "4", hide_env_values = true)]
    pub(crate) partitions: NonZeroU32,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) timeouts: TimeoutOptions,
    #[command(flatten)]
    pub(crate) retention: RetentionOptions,
}

impl DevOptions {
    /// A limit that makes another one senseless.
    fn problem(&self) -> Option<String> {
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

    /// Bytes of records that may wait to be written to the log; beyond them requests get 503
    #[arg(long, env = "MILLRACE_LOG_QUEUE_BYTES", default_value = "67108864")]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) log_queue_bytes: usize,

    /// Bytes of disk that must stay free; with less, requests get 503
    #[arg(long, env = "MILLRACE_DISK_FLOOR_BYTES", default_value = "268435456")]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) disk_floor_bytes: u64,
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

    /// For requests, and then for workers, to finish when the process stops
    #[arg(long, env = "MILLRACE_SHUTDOWN_TIMEOUT_MS", default_value = "20000")]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) shutdown_timeout_ms: u64,

    /// Between two looks at the list of revoked keys
    #[arg(long, env = "MILLRACE_REVOCATION_REFRESH_MS", default_value = "3000")]
    #[arg(hide_env_values = true, value_name = "MS")]
    pub(crate) revocation_refresh_ms: u64,
}

impl TimeoutOptions {
    pub(crate) fn shutdown(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Retention")]
pub(crate) struct RetentionOptions {
    /// Days that an event is kept after its receipt
    #[arg(long, env = "MILLRACE_EVENT_RETENTION_DAYS", default_value = "395")]
    #[arg(hide_env_values = true, value_name = "DAYS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) event_retention_days: u32,

    /// Seconds that a record stays in the log after every worker has passed it
    #[arg(long, env = "MILLRACE_LOG_RETENTION_SECONDS", default_value = "86400")]
    #[arg(hide_env_values = true, value_name = "SECONDS")]
    pub(crate) log_retention_seconds: u64,

    /// Bytes of the log beyond which records go as soon as every worker has passed them
    #[arg(long, env = "MILLRACE_LOG_RETENTION_BYTES", default_value = "1073741824")]
    #[arg(hide_env_values = true, value_name = "BYTES")]
    pub(crate) log_retention_bytes: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        let cli = Cli::command();
        let dev = cli.find_subcommand("dev").unwrap();
        for arg in cli.get_arguments().chain(dev.get_arguments()) {
            let Some(long) = arg.get_long() else { continue };
            if matches!(long, "help" | "version") {
                continue;
            }
            let variable = arg.get_env().unwrap_or_else(|| panic!("--{long} has no variable"));
            let expected = format!("MILLRACE_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(variable.to_str(), Some(expected.as_str()));
        }
    }

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        let problem = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["millrace", "dev"], args].concat()).unwrap();
            let Command::Dev(options) = cli.command else { panic!("{cli:?}") };
            options.problem()
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

    #[test]
    fn a_key_without_scopes_gets_all_of_them() {
        let cli = Cli::try_parse_from(["millrace", "key", "create", "--project", "p"]).unwrap();
        let Command::Key(command) = cli.command else { panic!("{cli:?}") };
        let AdminCommand::KeyCreate { scopes, lifetime_seconds, .. } = command.into() else {
            panic!("another command")
        };
        assert_eq!((scopes, lifetime_seconds), (Scope::ALL.to_vec(), None));
    }
}
