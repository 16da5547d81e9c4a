//! What the binaries for one task each take: the options of the command of the same task.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use super::{Common, IngestOptions, Role, WorkerSettings};

/// Runs a front door of a cluster: `millrace ingest` as a binary.
#[derive(Clone, Debug, Parser)]
#[command(name = "ingest", version, about, max_term_width = 100)]
pub(crate) struct IngestCli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) options: IngestOptions,
}

impl IngestCli {
    /// What is typed, if it makes sense.
    ///
    /// # Errors
    /// What to print, to where, and the exit code; also for `--help`.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let cli = Self::try_parse()?;
        let cluster = &cli.common.cluster;
        let missing = cluster.problem().or_else(|| cluster.missing("ingest"));
        match missing.or_else(|| cli.options.problem()) {
            Some(problem) => Err(Self::command().error(ErrorKind::ValueValidation, problem)),
            None => Ok(cli),
        }
    }
}

/// Runs workers of one role of a cluster: `millrace worker` as a binary.
#[derive(Clone, Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct WorkerCli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) settings: WorkerSettings,
}

impl WorkerCli {
    /// What is typed, if it makes sense.
    ///
    /// # Errors
    /// What to print, to where, and the exit code; also for `--help`.
    pub(crate) fn read(role: Role) -> Result<Self, clap::Error> {
        Self::of(role, std::env::args_os())
    }

    fn of(role: Role, args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command().name(role.binary());
        let cli = Self::from_arg_matches(&command.try_get_matches_from_mut(args)?)?;
        let cluster = &cli.common.cluster;
        let missing = cluster.problem().or_else(|| cluster.missing("worker"));
        match missing.or_else(|| cli.settings.problem(&[role])) {
            Some(problem) => Err(command.error(ErrorKind::ValueValidation, problem)),
            None => Ok(cli),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binaries_take_what_their_commands_take() {
        IngestCli::command().debug_assert();
        let args = ["x", "--kafka", "a:1", "--cql", "b:2", "--shutdown-timeout-ms", "7"];
        let cli = WorkerCli::of(Role::Profiles, args.map(OsString::from)).unwrap();
        assert_eq!(cli.settings.process.shutdown_timeout_ms, 7);
        let error = WorkerCli::of(Role::Profiles, args[..3].iter().map(OsString::from));
        let error = error.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("without --cql"), "{error}");
    }
}
