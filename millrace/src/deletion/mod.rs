//! `millrace deletion`: erases the users of a list, follows the jobs, and checks their receipts.
//!
//! Owns the client's side of the API, of a server anywhere. Must not know how a server works.

mod access;
mod api;
mod follow;
mod input;
mod job;
mod progress;
mod receipt;
mod state;
#[cfg(test)]
mod stub;
mod submit;
mod text;
mod thread;
mod verify;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use self::access::Access;
use self::api::Api;
use self::follow::Following;
use self::progress::{Accepted, Progress, SaidBy};
use crate::cli::{DeletionCommand, ListOptions, ShowOptions, WaitOptions};
use crate::print::stdout;
use crate::serve::Signals;

/// Does what the command says. A signal ends it.
///
/// # Errors
/// It failed or was refused, a job failed, or something that was to be verified does not hold.
pub(crate) async fn run(data: &Path, json: bool, command: DeletionCommand) -> Result<()> {
    let mut signals = Signals::watch()?;
    let hint = match &command {
        DeletionCommand::Submit(options) if options.is_stdin() => {
            "; the same input under the same --submission continues it"
        }
        DeletionCommand::Submit(_) => "; the same command continues it",
        _ => "",
    };
    tokio::select! {
        done = execute(data, json, command) => done,
        signal = signals.next() => bail!("interrupted by {signal}{hint}"),
    }
}

async fn execute(data: &Path, json: bool, command: DeletionCommand) -> Result<()> {
    let access = || Access::of(command.server(), data);
    let api = || Api::new(command.server(), Some(access()?));
    match &command {
        DeletionCommand::Submit(options) => submit::run(api()?, json, options).await,
        DeletionCommand::List(options) => list(&api()?, json, options).await,
        DeletionCommand::Show(options) => show(&api()?, json, options).await,
        DeletionCommand::Wait(options) => wait(&api()?, json, options).await,
        DeletionCommand::Receipt(options) => receipt::run(&api()?, options).await,
        DeletionCommand::Verify(options) => {
            let access = options.calls_the_project().then(access).transpose()?;
            verify::run(&Api::new(&options.server, access)?, json, options).await
        }
    }
}

async fn list(api: &Api, json: bool, options: &ListOptions) -> Result<()> {
    let mut cursor = options.cursor.clone();
    let mut jobs = Vec::new();
    loop {
        let (text, page) = api.jobs(cursor.as_deref()).await?;
        if json {
            stdout(&format!("{}\n", text.trim_end()))?;
        }
        jobs.extend(page.jobs);
        cursor = page.next_cursor;
        if cursor.is_none() || !options.all {
            break;
        }
    }
    if json {
        return Ok(());
    }
    stdout(&job::jobs_table(&jobs))?;
    if let Some(cursor) = cursor {
        say(&format!("There are more: --all, or --cursor {cursor}"));
    }
    Ok(())
}

async fn show(api: &Api, json: bool, options: &ShowOptions) -> Result<()> {
    let found = api.job(options.job).await?;
    let (text, job) = found.with_context(|| {
        format!(
            "the project has no job {}, or it was accepted a moment ago and has not been read yet",
            options.job
        )
    })?;
    Ok(stdout(&if json { format!("{}\n", text.trim_end()) } else { job::job_text(&job) })?)
}

async fn wait(api: &Api, json: bool, options: &WaitOptions) -> Result<()> {
    let (sender, incoming) = mpsc::unbounded_channel();
    let mut ids = options.jobs.clone();
    ids.sort_unstable();
    ids.dedup();
    for job in ids {
        sender.send(Accepted { job, said_by: SaidBy::User, ids: 0, lines: (0, 0) })?;
    }
    drop(sender);
    let progress = Progress::new(json);
    let following = Following { api, progress, expected: None };
    let jobs = following.run(incoming).await?;
    follow::verdict(&jobs, json)
}

/// Says something to people, on stderr; unlike `eprintln!`, without a panic if it is gone.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
