//! `millrace deletion submit`: a list becomes jobs, each once, whatever comes between.
//!
//! The key of each call is the submission's id and the part's number, so the server gives the same
//! part the same job however often it is sent, and the job's id is known beforehand.

mod list;
mod send;

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use millrace_schema::id::new_id;
use millrace_schema::time::wall_clock_us;

use self::list::{rewound, skipped, surveyed};
use self::send::Sending;
use super::api::Api;
use super::follow::verdict;
use super::input::Source;
use super::say;
use super::state::{State, path_of};
use super::text::{counted, grouped};
use crate::cli::SubmitOptions;

/// Submits a list.
///
/// # Errors
/// It was refused or interrupted, or a job failed.
pub(super) async fn run(api: Api, json: bool, options: &SubmitOptions) -> Result<()> {
    let api = Arc::new(api);
    match Source::open(&options.file)? {
        Source::File(file) => of_file(api, json, options, file).await,
        Source::Stream(from) => {
            let named = options.submission.clone();
            let doubtful = named.is_some();
            let name = named.unwrap_or_else(|| new_id(wall_clock_us()).to_string());
            if !doubtful {
                say(&format!(
                    "Submission {name}: after an interruption, send the same input again with \
                     --submission {name}."
                ));
            }
            let sending = Sending::new(api, options, name, doubtful, None);
            let (jobs, _) = sending.run(json, options, from, None).await?;
            jobs.map_or(Ok(()), |jobs| verdict(&jobs, json))
        }
    }
}

async fn of_file(api: Arc<Api>, json: bool, options: &SubmitOptions, file: File) -> Result<()> {
    let before = file.metadata()?;
    let survey = surveyed(&file, options).await?;
    let list = options.file.display();
    if survey.faults.total > 0 && !options.input.skip_bad {
        bail!(
            "{list} has {}, and nothing was sent. Mend them, or leave them out with \
             --skip-bad:{}",
            counted(survey.faults.total, "bad line"),
            survey.faults.listing()
        );
    }
    ensure!(survey.ids > 0, "{list} has no ids");
    skipped(&survey.faults);
    let state = State::open(&options.file, &survey.plan(&api, options), options.new)?;
    if let Some(begun_at) = &state.begun_at {
        say(&format!(
            "Continuing the submission of {begun_at}: {} of {} accepted already.",
            grouped(state.accepted.len() as u64),
            counted(survey.jobs, "job")
        ));
    }
    let (name, doubtful) = (state.submission.to_string(), state.begun_at.is_some());
    let sending = Sending::new(api, options, name, doubtful, Some(state));
    let expected = Some((survey.ids, survey.jobs));
    let (jobs, state) = sending.run(json, options, rewound(&file)?, expected).await?;
    let now = file.metadata()?;
    ensure!(
        (before.len(), before.modified()?) == (now.len(), now.modified()?),
        "{list} was changed while it was read, and what was sent may be some of both; look at \
         `millrace deletion list`, and submit it again with --new"
    );
    let Some(jobs) = jobs else {
        say(&format!(
            "Their state is kept in {}; the same command without --no-wait follows them.",
            path_of(&options.file).display()
        ));
        return Ok(());
    };
    verdict(&jobs, json).context("to submit the whole list again, use --new")?;
    state.map_or(Ok(()), State::remove)
}
