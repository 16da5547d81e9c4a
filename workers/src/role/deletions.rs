//! Deletion jobs: a job is its first sealed attempt.

use std::collections::HashSet;

use bytes::Bytes;
use millrace_schema::Outcome;
use millrace_schema::record::{Body, Record};
use millrace_store::{Change, JobRow, Store, StoreError};
use uuid::Uuid;

use super::{Effects, Role, foreign};
use crate::arrival::{Arrival, Place};

#[derive(Default)]
pub(crate) struct Deletions {
    /// Of the batch's jobs, those that are registered.
    known: HashSet<(String, Uuid)>,
}

impl Role for Deletions {
    async fn load(&mut self, store: &dyn Store, batch: &[Arrival<'_>]) -> Result<(), StoreError> {
        self.known.clear();
        for record in batch.iter().filter_map(|arrival| arrival.record.as_ref().ok()) {
            let Body::Job(job) = &record.body else { continue };
            if store.job(&record.project, job.job).await?.is_some() {
                self.known.insert((record.project.clone().into_owned(), job.job));
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
        if !self.known.insert((project.clone(), job.job)) {
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
    use millrace_schema::record::Job;
    use millrace_store::Stamp;

    use super::*;

    #[test]
    fn a_repeated_job_is_registered_once() {
        let job = Job {
            job: Uuid::nil(),
            users: 1,
            erase: vec![],
            fence: vec![],
            salt: String::new(),
            ids_hash: String::new(),
            sample: vec![],
        };
        let record = Record { project: "p".into(), received_us: 1, body: Body::Job(job) };
        let mut role = Deletions::default();
        let mut outcomes = Vec::new();
        for offset in 0..2 {
            let place = Place { offset, base: Stamp(1), time_us: 0, detour: None };
            let mut effects = Effects::default();
            outcomes.push(role.apply(&place, &record, &Bytes::new(), &mut effects).unwrap());
        }
        assert_eq!(outcomes, [Outcome::Registered, Outcome::Duplicate]);
    }
}
