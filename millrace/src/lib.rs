//! The one binary that a newcomer meets: everything in one process, the same parts as processes of
//! a cluster, and the commands that manage it.
//!
//! Owns the command line, the data folder, and the order in which the parts start and stop. Must
//! not know how any of them does its work.

mod admin;
mod cli;
mod deletion;
mod dev;
mod engines;
mod folder;
mod http;
mod ingest;
mod keys;
mod local;
mod log_files;
mod logging;
mod metrics;
mod migrate;
mod password_stdin;
mod print;
mod priority;
mod serve;
mod table;
mod worker;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use millrace_accounts::PasswordSettings;
use tokio::runtime::{Builder, Runtime};

pub use crate::cli::Role;
use crate::cli::{Cli, Command, Common, IngestCli, WorkerCli};
pub use crate::engines::{Engines, Failed, Health};

/// The system's keeps about a third more memory under load.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Puts something before the engines of a command that serves.
type Wrap = Box<dyn FnOnce(Engines) -> Engines>;

/// Does what the command line says. `wrap` may put something before the engines of the commands
/// that serve, as tests do that break them on purpose.
pub fn main(wrap: impl FnOnce(Engines) -> Engines + 'static) -> ExitCode {
    outcome(Cli::read(), |cli| run(cli, Box::new(wrap)))
}

/// Runs a front door of a cluster, as the command line says.
pub fn ingest() -> ExitCode {
    outcome(IngestCli::read(), |IngestCli { common, options }| {
        serving(&common)?;
        ingest::run(&common, &options, Box::new(|engines| engines))
    })
}

/// Runs workers of one role of a cluster, as the command line says.
pub fn worker(role: Role) -> ExitCode {
    outcome(WorkerCli::read(role), |WorkerCli { common, settings }| {
        serving(&common)?;
        worker::run(&common, &[role], &settings, Box::new(|engines| engines))
    })
}

fn outcome<T>(read: Result<T, clap::Error>, run: impl FnOnce(T) -> Result<()>) -> ExitCode {
    let cli = match read {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout with code 0, a usage error to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Unlike `eprintln!`, without a panic if stderr is gone.
            let _ = writeln!(std::io::stderr(), "millrace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, wrap: Wrap) -> Result<()> {
    let Cli { data, common, command } = cli;
    match command {
        Command::Dev(options) => {
            serving(&common)?;
            dev::run(&data, &common, &options, wrap)
        }
        Command::Ingest(options) => {
            serving(&common)?;
            ingest::run(&common, &options, wrap)
        }
        Command::Worker(options) => {
            serving(&common)?;
            worker::run(&common, &options.roles, &options.settings, wrap)
        }
        Command::Migrate(options) => {
            managing(&common)?;
            runtime()?.block_on(migrate::run(&common, &options))
        }
        Command::Log(command) => {
            managing(&common)?;
            runtime()?.block_on(log_files::run(&data, common.json, command))
        }
        Command::Project(command) => {
            managed(&data, &common, admin::Command::Accounts(command.into()))
        }
        Command::Key(command) => managed(&data, &common, admin::Command::Accounts(command.into())),
        Command::User(command) => {
            let passwords = command.passwords();
            let command = admin::Command::Users(command.read()?);
            managed_hashing(&data, &common, command, passwords)
        }
        Command::Deletion(command) => {
            managing(&common)?;
            runtime()?.block_on(deletion::run(&data, common.json, command))
        }
        Command::Ledger => managed(&data, &common, admin::Command::Ledger),
        Command::Replay => managed(&data, &common, admin::Command::Replay),
    }
}

fn managed(data: &Path, common: &Common, command: admin::Command) -> Result<()> {
    managed_hashing(data, common, command, PasswordSettings::default())
}

fn managed_hashing(
    data: &Path,
    common: &Common,
    command: admin::Command,
    passwords: PasswordSettings,
) -> Result<()> {
    managing(common)?;
    let reply = runtime()?.block_on(local::execute(data, common, command, passwords))?;
    print::reply(&reply, common.json)
}

fn serving(common: &Common) -> Result<()> {
    // The driver tells of every try; the store says once what it means.
    logging::init(&common.log, "info,scylla=error")
}

fn managing(common: &Common) -> Result<()> {
    logging::init(&common.log, "warn,scylla=error")
}

fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("the runtime cannot start")
}
