//! Completes deletion jobs: when every partition's resume point has passed the job's markers, its
//! sample is read back.

use std::collections::HashMap;
use std::time::Duration;

use millrace_log::Log;
use millrace_schema::record::Reach;
use millrace_schema::time::wall_clock_us;
use millrace_schema::topic::partition_of;
use millrace_schema::user::write_user_key;
use millrace_schema::{Topic, UserKey, limits};
use millrace_store::{Cell, Completion, EventQuery, JobRow, LedgerRow, Stamp, Store, StoreError};
use tracing::{error, info, warn};

/// Looks after the open jobs, every `interval`, for ever.
pub(crate) async fn complete_jobs(interval: Duration, log: &dyn Log, store: &dyn Store) {
    loop {
        tokio::time::sleep(interval).await;
        if let Err(error) = complete_those_done(log, store).await {
            warn!(%error, "open deletion jobs could not be looked at");
        }
    }
}

async fn complete_those_done(log: &dyn Log, store: &dyn Store) -> Result<(), StoreError> {
    let open = store.open_jobs().await?;
    if open.is_empty() {
        return Ok(());
    }
    let ledger = store.ledger().await?;
    let resume = |row: &LedgerRow| ((row.topic, row.partition), row.resume);
    let resume_points: HashMap<(Topic, u32), u64> = ledger.iter().map(resume).collect();
    let done: Vec<JobRow> =
        open.into_iter().filter(|job| has_passed(job, &resume_points)).collect();
    if done.is_empty() {
        return Ok(());
    }
    store.persist().await?;
    for job in done {
        complete(log, store, job).await?;
    }
    Ok(())
}

fn has_passed(job: &JobRow, resume_points: &HashMap<(Topic, u32), u64>) -> bool {
    job.job.fence.iter().all(|fence| {
        resume_points.get(&(fence.topic, fence.partition)).is_some_and(|at| *at > fence.last)
    })
}

async fn complete(log: &dyn Log, store: &dyn Store, job: JobRow) -> Result<(), StoreError> {
    let mut found = 0;
    for user in &job.job.sample {
        let user = UserKey::new(&*job.project, &**user);
        if outlived(log, store, &job, user).await? {
            found += 1;
        }
    }
    let sampled = job.job.sample.len() as u64;
    let completion = Completion { completed_us: wall_clock_us(), sampled, found };
    store.complete_job(&job.project, job.job.job, completion).await?;
    if found > 0 {
        error!(job = %job.job.job, sampled, found, "a deletion left data behind");
    } else {
        info!(job = %job.job.job, users = job.job.users, sampled, "a deletion is completed");
    }
    Ok(())
}

/// Whether anything of a user is there that stood before the job's markers in its partition. What
/// was written since belongs to a new life.
async fn outlived(
    log: &dyn Log,
    store: &dyn Store,
    job: &JobRow,
    user: UserKey,
) -> Result<bool, StoreError> {
    for reach in Reach::ALL {
        if !job.reaches(reach) {
            continue;
        }
        let Some(marked_from) = first_marker(log, store, job, reach, &user).await? else {
            continue;
        };
        let old = |cell: &Cell| cell.version.stamp < marked_from;
        let found = match reach {
            Reach::Profile => {
                let rows = store.profiles(vec![user.clone()]).await?;
                rows.into_iter().flatten().any(|row| row.cells.values().any(old))
            }
            Reach::Devices => {
                let devices = store.devices(vec![user.clone()]).await?;
                let rows = devices.iter().flat_map(|devices| devices.rows.values());
                rows.flat_map(|row| row.cells.values()).any(old)
            }
            Reach::Events => {
                let limit = limits::EVENTS_PER_PAGE;
                let query = EventQuery { from_us: None, to_us: None, before: None, limit };
                let events = store.events(user.clone(), query).await?;
                events.iter().any(|event| event.stamp < marked_from)
            }
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The stamp of the job's first marker in the user's partition.
async fn first_marker(
    log: &dyn Log,
    store: &dyn Store,
    job: &JobRow,
    reach: Reach,
    user: &UserKey,
) -> Result<Option<Stamp>, StoreError> {
    let mut key = Vec::new();
    write_user_key(&mut key, &user.project, &user.user);
    let partition = partition_of(&key, log.partitions());
    let topic = reach.topic();
    let here = |fence: &&millrace_schema::record::Fence| {
        (fence.topic, fence.partition) == (topic, partition)
    };
    let Some(fence) = job.job.fence.iter().find(here) else { return Ok(None) };
    let base = store.topic_base(topic, log.partitions()).await?;
    Ok(Some(base.at(fence.first)))
}
