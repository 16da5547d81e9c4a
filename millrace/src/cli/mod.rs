//! What can be typed: commands, flags, and the variables that stand for them.

mod accounts;
mod binary;
mod cluster;
mod deletion;
mod dev;
mod front;
mod identity;
mod ingest;
mod migrate;
mod process;
mod user;
mod webhook;
mod worker;

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use self::accounts::{KeyCommand, ProjectCommand};
pub(crate) use self::binary::{IngestCli, WorkerCli};
pub(crate) use self::cluster::{Addresses, ClusterOptions, Consistency, Password};
pub(crate) use self::deletion::{
    ApiKey, Column, DeletionCommand, FormatName, InputOptions, ListOptions, ReceiptOptions,
    ServerOptions, ShowOptions, SubmitOptions, VerifyOptions, WaitOptions,
};
pub(crate) use self::dev::DevOptions;
pub(crate) use self::front::FrontOptions;
pub(crate) use self::identity::{GoogleOptions, IdentityOptions, MailOptions};
pub(crate) use self::ingest::IngestOptions;
pub(crate) use self::migrate::{Dialect, MigrateOptions};
use self::user::UserCommand;
pub(crate) use self::webhook::WebhookOptions;
pub use self::worker::Role;
pub(crate) use self::worker::{EventRetention, WorkerOptions, WorkerSettings};
use crate::logging::LogOptions;

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
  millrace deletion submit ids.txt               erase people, and watch it
  millrace ledger                                what became of every record

On Kafka and ScyllaDB or Cassandra, with MILLRACE_KAFKA and MILLRACE_CQL set:
  millrace migrate                               make topics and tables, or check them
  millrace ingest --verify-key signing.pub.pem   the front door
  millrace worker --role events                  what applies the log to the database";

/// Takes customer data over HTTP, makes it durable, and keeps it where it can be read and erased.
#[derive(Clone, Debug, Parser)]
#[command(name = "millrace", version, about, propagate_version = true, max_term_width = 100)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"), subcommand_required = true)]
pub(crate) struct Cli {
    /// The data folder
    #[arg(long, env = "MILLRACE_DATA", default_value = "./millrace-data", value_name = "FOLDER")]
    #[arg(global = true, hide_env_values = true)]
    pub(crate) data: PathBuf,

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
        match cli.problem() {
            Some(problem) => Err(Self::command().error(ErrorKind::ValueValidation, problem)),
            None => Ok(cli),
        }
    }

    /// What contradicts itself.
    fn problem(&self) -> Option<String> {
        let cluster = &self.common.cluster;
        let own = match &self.command {
            Command::Dev(options) => options.problem(),
            Command::Ingest(options) => cluster.missing("ingest").or(options.problem()),
            Command::Worker(options) => {
                cluster.missing("worker").or(options.settings.problem(&options.roles))
            }
            Command::Migrate(options) => cluster.missing("migrate").or(options.problem()),
            Command::Deletion(command) => command.problem(&self.data),
            Command::Log(_) if cluster.is_named() => Some(
                "`millrace log` is about the files of the embedded log; leave out --kafka and \
                 --cql (MILLRACE_KAFKA, MILLRACE_CQL)"
                    .to_owned(),
            ),
            _ => None,
        };
        cluster.problem().or(own)
    }
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Print JSON on stdout, for machines
    #[arg(long, env = "MILLRACE_JSON", action = ArgAction::SetTrue, global = true)]
    #[arg(value_parser = FalseyValueParser::new(), hide_env_values = true)]
    pub(crate) json: bool,

    /// Partitions of every topic; fixed when the log is made [default: 4, on a cluster 32]
    #[arg(long, env = "MILLRACE_PARTITIONS", global = true, hide_env_values = true)]
    #[arg(value_name = "N")]
    partitions: Option<NonZeroU32>,

    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
}

impl Common {
    pub(crate) fn partitions(&self) -> u32 {
        let default = if self.cluster.is_named() { 32 } else { 4 };
        self.partitions.map_or(default, NonZeroU32::get)
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: front door, log, workers, store
    Dev(Box<DevOptions>),
    /// Run a front door of a cluster
    Ingest(Box<IngestOptions>),
    /// Run workers of a cluster
    Worker(Box<WorkerOptions>),
    /// Make topics and tables of a cluster, or check them
    Migrate(MigrateOptions),
    /// Make and list projects, and set where their receipts are sent
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Make, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make and list those who sign in, set their passwords, and let them sign in no more
    #[command(subcommand)]
    User(UserCommand),
    /// Erase people, follow the jobs, and check their receipts; of a server anywhere
    #[command(subcommand)]
    Deletion(DeletionCommand),
    /// Show what became of every record, per topic and partition; exit 1 if it does not add up
    Ledger,
    /// Have the workers read the whole log again, from its first record; what is stored or erased
    /// ends as it is
    Replay,
    /// Look into the embedded log, and mend it
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Read all segments and report what is wrong with them; changes nothing, also beside a server
    Inspect,
    /// Cut the log where it is damaged; the server must be stopped
    Repair,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        let cli = Cli::command();
        let serving = ["dev", "ingest", "worker", "migrate"];
        let commands = serving.map(|name| cli.find_subcommand(name).unwrap());
        let of_commands = commands.into_iter().flat_map(clap::Command::get_arguments);
        for arg in cli.get_arguments().chain(of_commands) {
            let Some(long) = arg.get_long() else { continue };
            // To go on after a topic was made anew is an act, and no setting.
            if matches!(long, "help" | "version" | "recreated") {
                continue;
            }
            let variable = arg.get_env().unwrap_or_else(|| panic!("--{long} has no variable"));
            let expected = format!("MILLRACE_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(variable.to_str(), Some(expected.as_str()));
        }
    }

    #[test]
    fn every_command_that_runs_by_itself_shows_examples() {
        for name in ["dev", "ingest", "worker", "migrate"] {
            let cli = Cli::command();
            let help = cli.find_subcommand(name).unwrap().get_after_help().unwrap().to_string();
            assert!(help.contains(&format!("  millrace {name}")), "{help}");
        }
    }

    #[test]
    fn commands_of_a_cluster_need_one_and_commands_of_files_none() {
        let problem =
            |args: &[&str]| Cli::try_parse_from([&["millrace"], args].concat()).unwrap().problem();
        let cluster = ["--kafka", "a:1", "--cql", "b:2"];
        let needing = [&["ingest", "--verify-key", "f"][..], &["worker", "--role", "events"]];
        for args in needing.into_iter().chain([&["migrate"][..]]) {
            assert!(problem(args).unwrap().contains("--kafka and --cql"), "{args:?}");
            assert_eq!(problem(&[args, &cluster].concat()), None, "{args:?}");
        }
        let inspect = ["log", "inspect"];
        assert_eq!(problem(&inspect), None);
        assert!(problem(&[&inspect[..], &cluster].concat()).unwrap().contains("embedded log"));
    }

    #[test]
    fn the_default_number_of_partitions_is_the_engines() {
        let of = |args: &[&str]| {
            Cli::try_parse_from([&["millrace", "dev"], args].concat()).unwrap().common.partitions()
        };
        let cluster = ["--kafka", "a:1", "--cql", "b:2"];
        assert_eq!((of(&[]), of(&cluster)), (4, 32));
        assert_eq!(of(&[&cluster[..], &["--partitions", "8"]].concat()), 8);
    }
}
