//! Sends the parts of a list and keeps what was accepted.

use std::io::Read;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use futures::future::{Either, select};
use millrace_schema::id::derived_id;
use millrace_schema::record::Reach;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::list::read_ahead;
use crate::cli::SubmitOptions;
use crate::deletion::api::{Api, CallError, Submission};
use crate::deletion::follow::Following;
use crate::deletion::input::Chunk;
use crate::deletion::job::Job;
use crate::deletion::progress::{Accepted, Progress, SaidBy, print};
use crate::deletion::say;
use crate::deletion::state::State;
use crate::deletion::text::grouped;
use crate::print::stdout;

/// Sends the parts of a list.
pub(super) struct Sending {
    api: Arc<Api>,
    submission: String,
    /// Parts may have been sent before.
    doubtful: bool,
    erase: Vec<Reach>,
    parallel: usize,
    state: Option<Arc<Mutex<State>>>,
}

/// How the jobs ended; `None`: nobody waited.
type Jobs = Option<Vec<Job>>;

impl Sending {
    pub(super) fn new(
        api: Arc<Api>,
        options: &SubmitOptions,
        submission: String,
        doubtful: bool,
        state: Option<State>,
    ) -> Self {
        let state = state.map(|state| Arc::new(Mutex::new(state)));
        let (erase, parallel) = (options.erase(), usize::from(options.parallel));
        Self { api, submission, doubtful, erase, parallel, state }
    }

    /// Sends all parts and follows their jobs, unless nobody is to wait. `expected`: ids and parts,
    /// if they are known.
    ///
    /// # Errors
    /// The list cannot be read, a part was not accepted, or a job cannot be followed.
    pub(super) async fn run(
        self,
        json: bool,
        options: &SubmitOptions,
        from: impl Read + Send + 'static,
        expected: Option<(u64, u64)>,
    ) -> Result<(Jobs, Option<State>)> {
        if json {
            let (ids, jobs) = expected.unzip();
            print(&json!({
                "event": "submission", "submission": self.submission, "ids": ids, "jobs": jobs,
            }));
        }
        let chunks = read_ahead(from, options, expected.is_some())?;
        let (accepted, incoming) = mpsc::unbounded_channel();
        let progress = Progress::new(json);
        let jobs = if options.no_wait {
            self.send(chunks, accepted).await?;
            announce(incoming, &progress, json)?;
            None
        } else {
            let api = Arc::clone(&self.api);
            let following = pin!(Following { api: &api, progress, expected }.run(incoming));
            let jobs = match select(pin!(self.send(chunks, accepted)), following).await {
                Either::Left((sent, following)) => {
                    sent?;
                    following.await?
                }
                Either::Right((jobs, sending)) => {
                    if jobs.is_err() {
                        say(
                            "The jobs cannot be followed any more; waiting for the calls under way.",
                        );
                    }
                    let sent = sending.await;
                    let jobs = jobs?;
                    sent?;
                    jobs
                }
            };
            ensure!(!jobs.is_empty(), "{} has no ids", options.file.display());
            Some(jobs)
        };
        let state = self.state.and_then(Arc::into_inner);
        Ok((jobs, state.map(|state| state.into_inner().unwrap_or_else(PoisonError::into_inner))))
    }

    /// Sends parts, a few at once, and tells of each that is accepted, as long as anybody listens.
    async fn send(
        &self,
        mut chunks: mpsc::Receiver<Result<Chunk>>,
        accepted: mpsc::UnboundedSender<Accepted>,
    ) -> Result<()> {
        let (mut calls, mut more, mut failure) = (JoinSet::new(), true, None);
        while more || !calls.is_empty() {
            let failed = tokio::select! {
                Some(done) = calls.join_next() => done.context("a call ended early").flatten().err(),
                chunk = chunks.recv(), if more && calls.len() < self.parallel => match chunk {
                    Some(Ok(chunk)) => {
                        calls.spawn(self.call(chunk, accepted.clone()));
                        None
                    }
                    Some(Err(error)) => Some(error),
                    None => {
                        more = false;
                        None
                    }
                },
                () = accepted.closed(), if more => {
                    more = false;
                    None
                }
            };
            // What is under way is brought to its end, so that it is known what was accepted.
            if let Some(error) = failed {
                more = false;
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Makes a job of a part.
    fn call(
        &self,
        chunk: Chunk,
        accepted: mpsc::UnboundedSender<Accepted>,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let (api, state, doubtful) = (Arc::clone(&self.api), self.state.clone(), self.doubtful);
        let key = format!("{}/{}", self.submission, chunk.number);
        let body = chunk.body(&self.erase);
        async move {
            let (ids, lines) = (chunk.ids.len() as u64, chunk.lines());
            let known = state.as_ref().and_then(|s| held(s).accepted.get(&chunk.number).copied());
            let (job, said_by) = match known {
                Some(job) => (job, SaidBy::State),
                None => {
                    let body = body?;
                    let parts = [api.project().as_bytes(), key.as_bytes(), &body];
                    let submission = Submission { job: derived_id(&parts), key, body };
                    let called = api.submit(&submission, doubtful).await;
                    let job = called.map_err(|error| refused(&chunk, error))?;
                    if let Some(state) = &state {
                        held(state).accept(chunk.number, job)?;
                    }
                    (job, SaidBy::Server)
                }
            };
            // Nobody listens any more if the following failed.
            let _ = accepted.send(Accepted { job, said_by, ids, lines });
            Ok(())
        }
    }
}

fn held(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of a call, with the lines that it is about.
fn refused(chunk: &Chunk, error: CallError) -> anyhow::Error {
    let mut text = String::new();
    if let CallError::Refused(refusal) = &error {
        for item in &refusal.errors {
            if let Some((line, _)) = item.index.and_then(|index| chunk.ids.get(index)) {
                text.push_str(&format!("\n  line {line}: {}", item.message));
            }
        }
    }
    let (first, last) = chunk.lines();
    let (number, first, last) = (grouped(chunk.number + 1), grouped(first), grouped(last));
    let what = format!("job {number} of the list (lines {first} to {last}) was not accepted");
    anyhow!("{error}{text}").context(what)
}

/// Tells of jobs that nobody follows.
fn announce(
    mut incoming: mpsc::UnboundedReceiver<Accepted>,
    progress: &Progress,
    json: bool,
) -> Result<()> {
    while let Ok(accepted) = incoming.try_recv() {
        progress.accepted(&accepted);
        if !json {
            stdout(&format!("{}\n", accepted.job))?;
        }
    }
    Ok(())
}
