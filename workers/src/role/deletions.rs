//! Deletion jobs: a job is its first sealed attempt.

use std::collections::HashMap;

use bytes::Bytes;
use millrace_schema::Outcome;
use millrace_schema::record::{Body, Fence, Record};
use millrace_store::{Change, JobRow, Store, StoreError};
use uuid::Uuid;

use super::{Effects, Role, foreign};
use crate::arrival::{Arrival, Place};

#[derive(Default)]
pub(crate) struct Deletions {
    /// Of the batch's jobs, those that are registered: where the markers of that attempt stand.
    known: HashMap<(String, Uuid), Vec<Fence>>,
}

impl Role for Deletions {
    async fn load(&mut self, store: &dyn Store, batch: &[Arrival<'_>]) -> Result<(), StoreError> {
        self.known.clear();
        for record in batch.iter().filter_map(|arrival| arrival.record.as_ref().ok()) {
            let Body::Job(job) = &record.body else { continue };
            if let Some(row) = store.job(&record.project, job.job).await? {
                self.known.insert((row.project, row.job.job), row.job.fence);
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        _value: &Bytes,
        effects: &mut Effects,
    ) -> Result<Outcome, String> {
        let Body::Job(job) = &record.body else { return Err(foreign(record)) };
        let project = record.project.clone().into_owned();
        let known = self.known.entry((project.clone(), job.job));
        // Its own fence: this very attempt, replayed onto a store that may have forgotten part.
        if *known.or_insert_with(|| job.fence.clone()) != job.fence {
            return Ok(Outcome::Duplicate);
        }
        let (accepted_us, job, completion) = (record.received_us, job.clone(), None);
        let job = JobRow { project, accepted_us, job, completion };
        effects.write(place, Change::PutJob { job });
        Ok(Outcome::Registered)
    }

    fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use millrace_schema::Topic;
    use millrace_schema::record::{Job, Reach};
    use millrace_store::Stamp;

    use super::*;

    fn job(offset: u64) -> Record<'static> {
        let topic = Topic::Events;
        let job = Job {
            job: Uuid::nil(),
            users: 1,
            erase: vec![Reach::Events],
            fence: vec![Fence { topic, partition: 0, first: offset, last: offset, count: 1 }],
            ..Job::default()
        };
        Record { project: "p".into(), received_us: 1, body: Body::Job(job) }
    }

    fn apply(role: &mut Deletions, offset: u64, record: &Record<'_>) -> (Outcome, usize) {
        let place = Place { offset, base: Stamp(1), time_us: 0, detour: None };
        let mut effects = Effects::default();
        let outcome = role.apply(&place, record, &Bytes::new(), &mut effects).unwrap();
        (outcome, effects.writes.len())
    }

    #[test]
    fn a_second_attempt_at_a_job_is_not_registered() {
        let mut role = Deletions::default();
        assert_eq!(apply(&mut role, 0, &job(7)), (Outcome::Registered, 1));
        assert_eq!(apply(&mut role, 1, &job(8)), (Outcome::Duplicate, 0));
    }

    #[test]
    fn a_replayed_job_is_written_again_for_a_store_that_forgot_a_part_of_it() {
        let mut role = Deletions::default();
        for _ in 0..2 {
            assert_eq!(apply(&mut role, 0, &job(7)), (Outcome::Registered, 1));
        }
    }
}
