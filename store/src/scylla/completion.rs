//! Completions of jobs: those of a project take turns, so that its receipts are one chain.
//!
//! A completion takes two steps. The first moves the project's head, by condition, from the turn
//! that was read to the next one: the head then holds the completion whole, and, if it has a
//! receipt, is the newest of the chain. The second writes the job itself. Nobody takes the next turn
//! before the job at the head is completed; who finds it open completes it, with what the head
//! holds. So whatever is cut short, and whoever completes the same job at the same time, each job
//! ends once, and with the one receipt that is in the chain. Where the answer to a step is lost,
//! the next call finds out by reading the head.
//!
//! A crash may make the database forget both steps, or the second. After the second alone the job
//! at the head is completed again, as it was. After both the job is open again, is looked at again
//! and gets another receipt in the place of the old one, which nobody was told of: a completion is
//! told when it has settled. A head that was forgotten though the job's own row was not, because the
//! one lay in the commit log and the other was flushed already, leaves a receipt that is signed and
//! true but is not in the chain. No
//! receipt is given for an erasure that was forgotten, because a job is completed at resume points
//! only, which are older than what a crash takes.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use millrace_schema::receipt::token_hash;
use uuid::Uuid;

use super::connection::Connection;
use super::value::{big, json, key, values};
use crate::{Completion, NewestReceipt, StoreError};

/// How often a turn is tried for while others take theirs.
const TURN_TRIES: usize = 12;

/// turn, job_id, job, completion, number, receipt_job, receipt_hash.
type HeadLine = (
    Option<i64>,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<Uuid>,
    Option<String>,
);

/// Where a project's completions are.
struct Head {
    /// `None` before the first.
    turn: Option<i64>,
    newest: Option<NewestReceipt>,
}

/// A job with its completion, as both are written.
struct Completed {
    job: Uuid,
    row: String,
    completion: String,
}

impl Head {
    /// Whether a completion can come next: its receipt continues the chain, or it has none.
    fn is_followed_by(&self, completion: &Completion) -> bool {
        let newest = self.newest.as_ref().map_or(0, |newest| newest.number);
        let receipt = completion.receipt.as_ref();
        receipt.is_none_or(|receipt| Some(receipt.number) == newest.checked_add(1))
    }
}

impl Connection {
    pub(super) async fn newest_receipt(
        &self,
        project: &str,
    ) -> Result<Option<NewestReceipt>, StoreError> {
        Ok(self.finished_head(project).await?.newest)
    }

    pub(super) async fn complete_job(
        &self,
        project: &str,
        job: Uuid,
        completion: &Completion,
    ) -> Result<bool, StoreError> {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(5))
            .with_max_delay(Duration::from_millis(200))
            .with_max_times(TURN_TRIES)
            .with_jitter();
        for delay in delays.build() {
            // In this order: a job that had its turn before the head was read is completed.
            let head = self.finished_head(project).await?;
            let Some(stored) = self.stored_job(project, job).await? else {
                return Err(StoreError::Invalid(format!("there is no job {job} to complete")));
            };
            if stored.row.completion.is_some() {
                return Ok(true);
            }
            if !head.is_followed_by(completion) {
                return Ok(false);
            }
            let next = Completed { job, row: stored.text, completion: json(completion)? };
            if self.take_turn(project, &head, &next, completion).await? {
                self.finish(project, next).await?;
                return Ok(true);
            }
            tokio::time::sleep(delay).await;
        }
        Err(StoreError::Unavailable("other jobs of the project are being completed".to_owned()))
    }

    /// The head, after the job at it is completed.
    async fn finished_head(&self, project: &str) -> Result<Head, StoreError> {
        let values = values![key(project)?];
        let line: Option<HeadLine> = self.row(&self.statements.head, &values).await?;
        let (turn, job, row, completion, number, receipt_job, hash) = line.unwrap_or_default();
        if let (Some(job), Some(row), Some(completion)) = (job, row, completion) {
            self.finish(project, Completed { job, row, completion }).await?;
        }
        let number = number.and_then(|number| u64::try_from(number).ok());
        let newest = match (number, receipt_job, hash) {
            (Some(number), Some(job), Some(hash)) => Some(NewestReceipt { number, job, hash }),
            _ => None,
        };
        Ok(Head { turn, newest })
    }

    async fn take_turn(
        &self,
        project: &str,
        head: &Head,
        next: &Completed,
        completion: &Completion,
    ) -> Result<bool, StoreError> {
        let turn = head.turn.map_or(1, |turn| turn.saturating_add(1));
        let receipt = completion.receipt.as_ref();
        let number = receipt.map(|receipt| big(receipt.number));
        let hash = receipt.map(|receipt| token_hash(&receipt.token));
        let mut values = values![turn, next.job, &*next.row, &*next.completion];
        values.extend(values![number, receipt.map(|_| next.job), hash, project]);
        match head.turn {
            None => self.apply(&self.statements.first_turn, &values).await,
            Some(turn) => {
                values.extend(values![turn]);
                self.apply(&self.statements.next_turn, &values).await
            }
        }
    }

    /// Completion, row and the end of the sample are one statement. Its timestamp is the server's
    /// clock, which is above every stamp, so nothing that is replayed changes any of them.
    async fn finish(&self, project: &str, completed: Completed) -> Result<(), StoreError> {
        let Completed { job, row, completion } = completed;
        let stored = self.stored_job(project, job).await?;
        if stored.is_some_and(|stored| stored.row.completion.is_some()) {
            return Ok(());
        }
        let values = values![completion, row, project, job];
        // Where the condition does not hold another call has done it.
        self.apply(&self.statements.complete_job, &values).await.map(drop)
    }
}
