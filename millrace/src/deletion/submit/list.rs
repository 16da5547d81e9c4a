//! The list that is submitted: a first look at all of it, then its parts one by one.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest;
use millrace_schema::receipt::hex;
use tokio::sync::mpsc;

use crate::cli::{InputOptions, SubmitOptions};
use crate::deletion::api::Api;
use crate::deletion::input::{Chunk, Cutter, Faults, entries};
use crate::deletion::say;
use crate::deletion::state::Plan;
use crate::deletion::text::counted;
use crate::deletion::thread::{apart, start};

const READ_BYTES: usize = 256 * 1024;

/// What a first look at a file finds.
pub(super) struct Survey {
    sha256: String,
    bytes: u64,
    pub(super) ids: u64,
    pub(super) jobs: u64,
    pub(super) faults: Faults,
}

impl Survey {
    /// What these options make of it.
    pub(super) fn plan(&self, api: &Api, options: &SubmitOptions) -> Plan {
        let InputOptions { format, column, delimiter, skip_bad, keep_spaces, ids_per_job } =
            &options.input;
        Plan {
            sha256: self.sha256.clone(),
            bytes: self.bytes,
            server: api.server().to_owned(),
            project: api.project().to_owned(),
            erase: options.erase(),
            format: format.map(|format| format.to_string()),
            column: column.as_ref().map(ToString::to_string),
            delimiter: *delimiter,
            skip_bad: *skip_bad,
            keep_spaces: *keep_spaces,
            ids_per_job: ids_per_job.get(),
        }
    }
}

/// Reads a file to its end, before anything is sent.
///
/// # Errors
/// It cannot be read, or is not what it is said to be.
pub(super) async fn surveyed(file: &File, options: &SubmitOptions) -> Result<Survey> {
    let file = rewound(file)?;
    let (path, input) = (options.file.clone(), options.input.clone());
    let what = path.display().to_string();
    let survey = apart(move || {
        let (sha256, bytes) = sha256(&file)?;
        let mut cutter = cutter(rewound(&file)?, &path, &input)?;
        let (mut ids, mut jobs) = (0, 0);
        for chunk in cutter.by_ref() {
            ids += chunk?.ids.len() as u64;
            jobs += 1;
        }
        Ok(Survey { sha256, bytes, ids, jobs, faults: cutter.faults })
    });
    survey.await.context(what)
}

/// A file from its beginning. All share one position.
///
/// # Errors
/// It cannot be read from elsewhere than where it is.
pub(super) fn rewound(file: &File) -> Result<File> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    Ok(file)
}

fn sha256(mut file: &File) -> Result<(String, u64)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut buffer, mut total) = (vec![0; READ_BYTES], 0);
    loop {
        let bytes = file.read(&mut buffer)?;
        if bytes == 0 {
            return Ok((hex(context.finish().as_ref()), total));
        }
        context.update(buffer.get(..bytes).unwrap_or_default());
        total += bytes as u64;
    }
}

fn cutter(from: impl Read + Send + 'static, path: &Path, input: &InputOptions) -> Result<Cutter> {
    Ok(Cutter::new(entries(from, path, input)?, input.ids_per_job.get()))
}

/// Says which lines are left out.
pub(super) fn skipped(faults: &Faults) {
    if faults.total > 0 {
        let lines = counted(faults.total, "bad line");
        say(&format!("Leaving out {lines}:{}", faults.listing()));
    }
}

/// Reads a list part by part, on a thread. Parts wait until they are wanted.
///
/// # Errors
/// The thread cannot start.
pub(super) fn read_ahead(
    from: impl Read + Send + 'static,
    options: &SubmitOptions,
    quiet: bool,
) -> Result<mpsc::Receiver<Result<Chunk>>> {
    let (sender, chunks) = mpsc::channel(1);
    let (path, input) = (options.file.clone(), options.input.clone());
    start(move || {
        let list = path.display();
        let read = || -> Result<()> {
            let mut cutter = cutter(from, &path, &input)?;
            while let Some(chunk) = cutter.next().transpose()? {
                refuse_bad(&cutter.faults, &input)?;
                if sender.blocking_send(Ok(chunk)).is_err() {
                    // Nobody wants more.
                    return Ok(());
                }
            }
            refuse_bad(&cutter.faults, &input)?;
            if !quiet {
                skipped(&cutter.faults);
            }
            Ok(())
        };
        if let Err(error) = read() {
            let _ = sender.blocking_send(Err(error.context(list.to_string())));
        }
    })?;
    Ok(chunks)
}

fn refuse_bad(faults: &Faults, input: &InputOptions) -> Result<()> {
    ensure!(
        faults.total == 0 || input.skip_bad,
        "stopped before the job with {}. Mend them, or leave them out with --skip-bad, and send \
         the input again with the same --submission:{}",
        counted(faults.total, "bad line"),
        faults.listing()
    );
    Ok(())
}
