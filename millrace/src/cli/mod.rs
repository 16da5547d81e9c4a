//! What can be typed: commands, flags, and the variables that stand for them.

mod dev;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use millrace_accounts::Scope;
use uuid::Uuid;

pub(crate) use self::dev::DevOptions;
use crate::admin::Command as AdminCommand;
use crate::logging::LogOptions;

const DAY_SECONDS: u64 = 24 * 3600;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed; the reason is on stderr
  2  the command line is wrong

Settings may be given as the variables that --help names; where both are, the flag wins.";

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
        #[arg(long, env = "MILLRACE_PROJECT", value_name = "ID", hide_env_values = true)]
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
        #[arg(long, env = "MILLRACE_PROJECT", value_name = "ID", hide_env_values = true)]
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
    fn a_key_without_scopes_gets_all_of_them() {
        let cli = Cli::try_parse_from(["millrace", "key", "create", "--project", "p"]).unwrap();
        let Command::Key(command) = cli.command else { panic!("{cli:?}") };
        let AdminCommand::KeyCreate { scopes, lifetime_seconds, .. } = command.into() else {
            panic!("another command")
        };
        assert_eq!((scopes, lifetime_seconds), (Scope::ALL.to_vec(), None));
    }
}
