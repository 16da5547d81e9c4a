//! The one binary that a newcomer meets: everything in one process, and the commands that manage
//! it.
//!
//! Owns the command line, the data folder, and the order in which the parts start and stop. Must
//! not know how any of them does its work.

mod admin;
mod cli;
mod dev;
mod engines;
mod folder;
mod keys;
mod local;
mod log_files;
mod logging;
mod metrics;
mod print;
mod priority;
mod table;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Command};
pub use crate::engines::{Engines, Failed};

/// Puts something before the engines of `millrace dev`.
type Wrap = Box<dyn FnOnce(Engines) -> Engines>;

/// Does what the command line says. `wrap` may put something before the engines of
/// `millrace dev`, as tests do that break them on purpose.
pub fn main(wrap: impl FnOnce(Engines) -> Engines + 'static) -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout with code 0, a usage error to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli, Box::new(wrap)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Unlike `eprintln!`, without a panic if stderr is gone.
            let _ = writeln!(std::io::stderr(), "millrace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, wrap: Wrap) -> Result<()> {
    let common = cli.common;
    let default_filter = if matches!(cli.command, Command::Dev(_)) { "info" } else { "warn" };
    logging::init(&common.log, default_filter)?;
    let command = match cli.command {
        Command::Dev(options) => return dev::run(&common.data, common.json, &options, wrap),
        Command::Log(command) => {
            return runtime()?.block_on(log_files::run(&common.data, common.json, command));
        }
        Command::Project(command) => command.into(),
        Command::Key(command) => command.into(),
        Command::Ledger => admin::Command::Ledger,
    };
    let reply = runtime()?.block_on(local::execute(&common.data, command))?;
    print::reply(&reply, common.json)
}

fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot start")
}
