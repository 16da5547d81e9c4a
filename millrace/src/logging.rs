//! Where log lines go: always to stderr, so that stdout holds answers only.

use std::io::{IsTerminal, stderr};

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How the process logs.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogOptions {
    /// What to log to stderr: a level, or a filter as in `info,millrace_workers=debug`
    /// [default: info for what serves, else warn]
    #[arg(long = "log", env = "MILLRACE_LOG", global = true)]
    #[arg(value_name = "FILTER", hide_env_values = true)]
    pub(crate) filter: Option<String>,

    /// How log lines look
    #[arg(long, env = "MILLRACE_LOG_FORMAT", default_value = "text", global = true)]
    #[arg(hide_env_values = true)]
    pub(crate) log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

pub(crate) fn init(options: &LogOptions, default_filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(options.filter.as_deref().unwrap_or(default_filter))
        .map_err(|error| anyhow!("--log (MILLRACE_LOG): {error}"))?;
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // It would say on stderr that stderr is gone, and panic.
        .log_internal_errors(false);
    let done = match options.log_format {
        LogFormat::Text => builder.with_ansi(colours).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    done.map_err(|error| anyhow!("logging cannot begin: {error}"))
}
