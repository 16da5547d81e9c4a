//! `millrace log inspect` and `millrace log repair`: the log's files, without opening the log.

use std::fmt::Display;
use std::path::Path;

use anyhow::{Context, Result, bail};
use millrace_log::embedded::inspect;
use serde::Serialize;

use crate::cli::LogCommand;
use crate::engines::embedded::repair_log;
use crate::folder::{DataFolder, Layout};
use crate::print;

/// Does one of them.
///
/// # Errors
/// It cannot be done, or the log is damaged.
pub(crate) async fn run(data: &Path, json: bool, command: LogCommand) -> Result<()> {
    let layout = Layout::existing(data)?;
    let log = layout.log();
    let what = || format!("the log in {}", log.display());
    match command {
        LogCommand::Inspect => {
            let report = inspect(&log).with_context(what)?;
            show(&report, json)?;
            if !report.is_whole() {
                bail!("{} is damaged; stop the server and run `millrace log repair`", what());
            }
        }
        LogCommand::Repair => {
            let folder = DataFolder::open(layout.clone())?;
            show(&repair_log(&folder).await?, json)?;
        }
    }
    Ok(())
}

fn show(report: &(impl Display + Serialize), json: bool) -> Result<()> {
    let text = if json { serde_json::to_string(report)? + "\n" } else { report.to_string() };
    Ok(print::stdout(&text)?)
}
