//! Deletion jobs: a row by id, entries by time, and an entry among the open ones until it ends.
//!
//! The row decides. An entry by time counts if the row says the same time, and one among the open
//! jobs if the row has no completion; so no two partitions must ever agree.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use millrace_schema::time::Micros;
use scylla::response::PagingState;
use tokio::time::Instant;
use uuid::Uuid;

use super::connection::Connection;
use super::statements::Prepared;
use super::value::{json, key, read_json, values};
use crate::{JobRow, StoreError};

const MONTH_US: i64 = 30 * 24 * 3600 * 1_000_000;
/// The partitions of the open jobs, and of the open deliveries.
const SLOTS: u8 = 8;
/// Entries by time asked for at once.
const PAGE_JOBS: i32 = 100;

/// A project's partition of jobs by time.
pub(super) fn month(accepted_us: Micros) -> i32 {
    i32::try_from(accepted_us.div_euclid(MONTH_US)).unwrap_or(i32::MAX)
}

/// A job's partition among the open ones.
pub(super) fn slot(job: Uuid) -> i32 {
    let [.., last] = *job.as_bytes();
    i32::from(last % SLOTS)
}

/// The row and the sample, apart: the sample is to be forgotten.
pub(super) fn encode(row: &JobRow) -> Result<(String, String), StoreError> {
    let mut kept = row.clone();
    let sample = std::mem::take(&mut kept.job.sample);
    kept.completion = None;
    Ok((json(&kept)?, json(&sample)?))
}

/// An entry among the open jobs: project and job.
type Entry = (String, Uuid);

/// Entries of completed jobs, and since when each is known to be one: (generation, then).
#[derive(Default)]
pub(super) struct Closing(Mutex<HashMap<Entry, (u64, Instant)>>);

impl Closing {
    /// Of all entries those whose jobs must be read: the others are known to be completed, with no
    /// node restarted since, and must wait yet.
    fn to_read(&self, entries: Vec<Entry>, generation: u64, settle: Duration) -> Vec<Entry> {
        let all: HashSet<&Entry> = entries.iter().collect();
        let mut known = self.lock();
        known.retain(|entry, (then, _)| *then == generation && all.contains(entry));
        let waits = |entry: &Entry| known.get(entry).is_some_and(|since| !is_over(since, settle));
        entries.into_iter().filter(|entry| !waits(entry)).collect()
    }

    /// Of the entries of completed jobs, those that can go: known since longer than that, and no
    /// node was restarted meanwhile, so that no crash can open the job again.
    fn due(
        &self,
        completed: Vec<(String, Stored)>,
        generation: u64,
        settle: Duration,
    ) -> Vec<(String, Stored)> {
        let entry = |(project, stored): &(String, Stored)| (project.clone(), stored.row.job.job);
        let read: HashSet<Entry> = completed.iter().map(entry).collect();
        let mut known = self.lock();
        // Read, and not completed any more.
        known.retain(|entry, since| read.contains(entry) || !is_over(since, settle));
        let is_due = |one: &(String, Stored)| {
            is_over(known.entry(entry(one)).or_insert((generation, Instant::now())), settle)
        };
        completed.into_iter().filter(is_due).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Entry, (u64, Instant)>> {
        // Whole even if a holder panicked: what is missing is noted anew.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over((_, since): &(u64, Instant), settle: Duration) -> bool {
    since.elapsed() >= settle * 2
}

/// A job as it is stored.
pub(super) struct Stored {
    pub(super) row: JobRow,
    /// As it is written, without sample and completion.
    pub(super) text: String,
    /// When the row was written last; of a completed job, by the server's clock.
    written_at: i64,
}

type Line = (Option<String>, Option<String>, Option<String>, Option<i64>);

impl Connection {
    pub(super) async fn job(&self, project: &str, job: Uuid) -> Result<Option<JobRow>, StoreError> {
        Ok(self.stored_job(project, job).await?.map(|stored| stored.row))
    }

    pub(super) async fn stored_job(
        &self,
        project: &str,
        job: Uuid,
    ) -> Result<Option<Stored>, StoreError> {
        let values = values![key(project)?, job];
        let line: Option<Line> = self.row(&self.statements.job, &values).await?;
        let Some((Some(text), sample, completion, Some(written_at))) = line else {
            return Ok(None);
        };
        let mut row: JobRow = read_json("jobs", &text)?;
        if let Some(completion) = completion {
            row.completion = Some(read_json("jobs", &completion)?);
        } else if let Some(sample) = sample {
            row.job.sample = read_json("jobs", &sample)?;
        }
        Ok(Some(Stored { row, text, written_at }))
    }

    /// Entries of completed jobs go in passing, once their completion has settled: were they to go
    /// before, a crash could leave a job that is neither completed nor open.
    pub(super) async fn open_jobs(
        &self,
        closing: &Closing,
        settle: Duration,
    ) -> Result<Vec<JobRow>, StoreError> {
        let (mut open, mut completed) = (Vec::new(), Vec::new());
        let entries = self.entries_of_all_slots(&self.statements.open_jobs).await?;
        if entries.is_empty() {
            return Ok(open);
        }
        // Before the jobs: a restart that comes after they are read must count.
        let generation = self.generation().await?;
        let entries = closing.to_read(entries, generation, settle);
        for (project, stored) in self.stored_jobs(entries).await? {
            match stored.row.completion {
                None => open.push(stored.row),
                Some(_) => completed.push((project, stored)),
            }
        }
        for (project, stored) in closing.due(completed, generation, settle) {
            let job = stored.row.job.job;
            let values = values![stored.written_at, slot(job), project, job];
            self.write(&self.statements.close_job, &values).await?;
        }
        Ok(open)
    }

    /// Entries whose job is not there yet are left out.
    async fn stored_jobs(&self, entries: Vec<Entry>) -> Result<Vec<(String, Stored)>, StoreError> {
        let read = entries.into_iter().map(async |(project, job)| {
            let stored = self.stored_job(&project, job).await?;
            Ok::<_, StoreError>(stored.map(|stored| (project, stored)))
        });
        Ok(try_join_all(read).await?.into_iter().flatten().collect())
    }

    pub(super) async fn entries_of_all_slots(
        &self,
        prepared: &Prepared,
    ) -> Result<Vec<Entry>, StoreError> {
        let slots = (0..SLOTS).map(|slot| values![i32::from(slot)]).collect();
        Ok(self.rows_of_each(prepared, slots).await?.into_iter().flatten().collect())
    }

    pub(super) async fn jobs(
        &self,
        project: &str,
        before: Option<(Micros, Uuid)>,
        limit: usize,
    ) -> Result<Vec<JobRow>, StoreError> {
        let mut rows = Vec::new();
        if limit == 0 {
            return Ok(rows);
        }
        let values = values![key(project)?];
        let months: Vec<(i32,)> = self.rows(&self.statements.job_months, &values).await?;
        let last = before.map_or(i32::MAX, |(accepted_us, _)| month(accepted_us));
        for (month, ..) in months.into_iter().filter(|(month,)| *month <= last) {
            self.jobs_of_month(project, month, before, limit, &mut rows).await?;
            if rows.len() >= limit {
                break;
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    async fn jobs_of_month(
        &self,
        project: &str,
        month: i32,
        before: Option<(Micros, Uuid)>,
        limit: usize,
        rows: &mut Vec<JobRow>,
    ) -> Result<(), StoreError> {
        let mut prepared = &self.statements.jobs_by_time;
        let mut values = values![project, month];
        if let Some((accepted_us, job)) = before {
            prepared = &self.statements.jobs_by_time_before;
            values.extend(values![accepted_us, job]);
        }
        let mut at = Some(PagingState::start());
        while rows.len() < limit
            && let Some(from) = at
        {
            let (entries, next): (Vec<(i64, Uuid)>, _) =
                self.page(prepared, &values, from, PAGE_JOBS).await?;
            let read = entries.iter().map(|(_, job)| self.job(project, *job));
            let found = try_join_all(read).await?.into_iter().zip(&entries);
            rows.extend(found.filter_map(|(row, (accepted_us, _))| {
                row.filter(|row| row.accepted_us == *accepted_us)
            }));
            at = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_slots_are_those_of_the_tables() {
        assert_eq!([-1, 0, MONTH_US - 1, MONTH_US].map(month), [-1, 0, 0, 1]);
        assert_eq!([0, 7, 8, 255].map(|n| slot(Uuid::from_u128(n))), [0, 7, 0, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_goes_when_its_completion_is_known_for_twice_the_settling_time() {
        let closing = Closing::default();
        let settle = Duration::from_secs(5);
        let stored = || {
            let row = JobRow {
                project: "p".into(),
                accepted_us: 0,
                job: Default::default(),
                completion: None,
            };
            vec![("p".to_owned(), Stored { row, text: String::new(), written_at: 0 })]
        };
        let entries = || vec![("p".to_owned(), Uuid::nil())];
        let due = |generation| {
            let read = closing.to_read(entries(), generation, settle);
            if read.is_empty() { 0 } else { closing.due(stored(), generation, settle).len() }
        };
        assert_eq!(due(1), 0);
        tokio::time::advance(settle).await;
        assert_eq!(due(1), 0);
        assert_eq!(due(2), 0, "a node was restarted: all over again");
        tokio::time::advance(settle).await;
        assert_eq!(due(2), 0);
        tokio::time::advance(settle).await;
        assert!(closing.due(vec![], 2, settle).is_empty());
        assert_eq!(due(2), 0, "it was open meanwhile");
        tokio::time::advance(settle * 2).await;
        assert_eq!(due(2), 1);
    }

    #[test]
    fn a_job_that_is_known_to_be_completed_is_not_read_again_until_a_node_was_restarted() {
        let closing = Closing::default();
        let entries = || vec![("p".to_owned(), Uuid::nil()), ("p".to_owned(), Uuid::max())];
        let known = (1, Instant::now());
        closing.lock().insert(("p".to_owned(), Uuid::nil()), known);
        let read = |generation, settle| closing.to_read(entries(), generation, settle);
        let minute = Duration::from_secs(60);
        assert_eq!(read(1, minute), [("p".to_owned(), Uuid::max())]);
        assert_eq!(read(1, Duration::ZERO), entries(), "it can go");
        assert_eq!(read(2, minute), entries());
        assert!(closing.to_read(vec![], 2, minute).is_empty() && closing.lock().is_empty());
    }
}
