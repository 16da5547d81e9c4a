//! Deletion jobs: a row by id, an entry by time, and an entry among the open ones until it ends.
//! Their completion makes the order of a project's receipts.

use millrace_schema::receipt::token_hash;
use uuid::Uuid;

use crate::embedded::draft::Draft;
use crate::embedded::space::Space;
use crate::embedded::{Engine, key, value};
use crate::{Completion, IssuedReceipt, JobRow, NewestReceipt, Stamp, StoreError};

/// Registers a job. One that is completed stays as it is: its sample is to be forgotten.
pub(super) fn put(draft: &mut Draft<'_>, stamp: Stamp, row: &JobRow) -> Result<(), StoreError> {
    let (project, id) = (row.project.as_str(), row.job.job);
    let key = key::job(project, id).finish()?;
    if let Some((stored_at, stored)) = read(draft, &key)? {
        if stored_at > stamp || stored.completion.is_some() {
            return Ok(());
        }
        let by_time = key::job_by_time(project, stored.accepted_us, id).finish()?;
        draft.remove(Space::JobsByTime, by_time);
    }
    let by_time = key::job_by_time(project, row.accepted_us, id).finish()?;
    draft.put(Space::JobsByTime, by_time, Vec::new());
    match row.completion {
        None => draft.put(Space::OpenJobs, key.clone(), Vec::new()),
        Some(_) => draft.remove(Space::OpenJobs, key.clone()),
    }
    draft.put(Space::Jobs, key, value::stamped(stamp, &[&value::json(row)?]));
    Ok(())
}

impl Engine {
    pub(super) fn complete_job(
        &self,
        project: &str,
        job: Uuid,
        completion: Completion,
    ) -> Result<bool, StoreError> {
        let mut draft = self.draft();
        let key = key::job(project, job).finish()?;
        let Some((stamp, mut row)) = read(&draft, &key)? else {
            return Err(StoreError::Invalid(format!("there is no job {job} to complete")));
        };
        if row.completion.is_some() {
            // The first call may have failed between its write and its sync.
            return self.persist().map(|()| true);
        }
        if let Some(issued) = &completion.receipt
            && !issue(&mut draft, project, job, issued)?
        {
            return Ok(false);
        }
        row.completion = Some(completion);
        row.job.sample.clear();
        draft.remove(Space::OpenJobs, key.clone());
        draft.put(Space::Jobs, key, value::stamped(stamp, &[&value::json(&row)?]));
        draft.commit_durably().map(|()| true)
    }

    pub(super) fn newest_receipt(
        &self,
        project: &str,
    ) -> Result<Option<NewestReceipt>, StoreError> {
        newest_receipt(&self.draft(), project)
    }
}

/// Makes a receipt the newest of its project. `false`: its number is not the next one.
fn issue(
    draft: &mut Draft<'_>,
    project: &str,
    job: Uuid,
    issued: &IssuedReceipt,
) -> Result<bool, StoreError> {
    let newest = newest_receipt(draft, project)?.map_or(0, |newest| newest.number);
    if newest.checked_add(1) != Some(issued.number) {
        return Ok(false);
    }
    let hash = token_hash(&issued.token);
    let newest = NewestReceipt { number: issued.number, job, hash };
    draft.put(Space::Receipts, key::project(project).finish()?, value::plain(&newest)?);
    Ok(true)
}

fn newest_receipt(draft: &Draft<'_>, project: &str) -> Result<Option<NewestReceipt>, StoreError> {
    let stored = draft.get(Space::Receipts, &key::project(project).finish()?)?;
    stored.map(|stored| value::read_plain(Space::Receipts, &stored)).transpose()
}

fn read(draft: &Draft<'_>, key: &[u8]) -> Result<Option<(Stamp, JobRow)>, StoreError> {
    let Some(stored) = draft.get(Space::Jobs, key)? else {
        return Ok(None);
    };
    let (stamp, json) = value::read_stamped(Space::Jobs, &stored)?;
    Ok(Some((stamp, value::read_json(Space::Jobs, json)?)))
}
