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
use super::follow::{any_runs, verdict};
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
            check_following(&api, options).await?;
            ensure!(
                !doubtful || api.may_read().await?,
                "parts of the submission {name} may have been sent before, and this key may not \
                 ask: it lacks the scope `read`. Nothing was sent; use a key with `delete` and \
                 `read`, or leave out --submission"
            );
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
    // Before there is a state: a submission of which nothing was sent has not begun.
    check_following(&api, options).await?;
    let state = State::open(&options.file, &survey.plan(&api, options), options.new)?;
    if let Some(begun_at) = &state.begun_at {
        check_continuing(&api, options, &state, begun_at, survey.jobs).await?;
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

/// Refuses a key that may not follow jobs, if they are to be followed.
async fn check_following(api: &Api, options: &SubmitOptions) -> Result<()> {
    ensure!(
        options.no_wait || api.may_read().await?,
        "this key may not follow jobs: it lacks the scope `read`. Nothing was sent; use a key with \
         `delete` and `read`, or --no-wait"
    );
    Ok(())
}

/// Says what is continued, and refuses what would do nothing or the same twice.
async fn check_continuing(
    api: &Api,
    options: &SubmitOptions,
    state: &State,
    begun_at: &str,
    jobs: u64,
) -> Result<()> {
    let list = options.file.display();
    ensure!(
        api.may_read().await?,
        "{list} was submitted before, on {begun_at}, and this key may not ask what became of it: \
         it lacks the scope `read`. Nothing was sent; use a key with `delete` and `read`, or --new \
         to submit the whole list again"
    );
    let (accepted, total) = (state.accepted.len() as u64, counted(jobs, "job"));
    say(&format!(
        "Continuing the submission of {begun_at}: {} of {total} accepted already.",
        grouped(accepted)
    ));
    if options.no_wait && accepted == jobs {
        let ids: Vec<_> = state.accepted.values().copied().collect();
        ensure!(
            any_runs(api, &ids).await?,
            "{list} was submitted before, on {begun_at}, and its {total} ended since. Nothing was \
             sent; to submit it again, use --new"
        );
        say("Nothing is sent: these jobs are still under way.");
    }
    Ok(())
}
