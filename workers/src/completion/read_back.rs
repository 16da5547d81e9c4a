//! Reads a job's sample back: whether anything is there that stood before the job's markers.

use millrace_log::Log;
use millrace_schema::record::{Fence, Reach};
use millrace_schema::topic::partition_of;
use millrace_schema::user::write_user_key;
use millrace_schema::{UserKey, limits};
use millrace_store::{Cell, EventQuery, JobRow, Stamp, Store, StoreError};

/// The stamps of the job's first and last marker in a partition.
#[derive(Clone, Copy)]
struct Marked {
    first: Stamp,
    last: Stamp,
}

/// How many of the sampled users still have anything.
pub(super) async fn found(
    log: &dyn Log,
    store: &dyn Store,
    job: &JobRow,
) -> Result<u64, StoreError> {
    let mut found = 0;
    for user in &job.job.sample {
        let user = UserKey::new(&*job.project, &**user);
        if outlived(log, store, job, &user).await? {
            found += 1;
        }
    }
    Ok(found)
}

/// What was written since the markers belongs to a new life.
async fn outlived(
    log: &dyn Log,
    store: &dyn Store,
    job: &JobRow,
    user: &UserKey,
) -> Result<bool, StoreError> {
    for reach in Reach::ALL {
        if !job.reaches(reach) {
            continue;
        }
        let Some(marked) = marked(log, store, job, reach, user).await? else { continue };
        let found = match reach {
            Reach::Profile => profile(store, user, marked).await?,
            Reach::Devices => devices(store, user, marked).await?,
            Reach::Events => events(store, user, marked).await?,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the job's markers stand in the user's partition of a topic.
async fn marked(
    log: &dyn Log,
    store: &dyn Store,
    job: &JobRow,
    reach: Reach,
    user: &UserKey,
) -> Result<Option<Marked>, StoreError> {
    let mut key = Vec::new();
    write_user_key(&mut key, &user.project, &user.user);
    let here = (reach.topic(), partition_of(&key, log.partitions()));
    let is_here = |fence: &&Fence| (fence.topic, fence.partition) == here;
    let Some(fence) = job.job.fence.iter().find(is_here) else { return Ok(None) };
    let base = store.topic_base(reach.topic(), log.partitions()).await?;
    Ok(Some(Marked { first: base.at(fence.first), last: base.at(fence.last) }))
}

async fn profile(store: &dyn Store, user: &UserKey, marked: Marked) -> Result<bool, StoreError> {
    let rows = store.profiles(vec![user.clone()]).await?;
    Ok(rows.into_iter().flatten().any(|row| row.cells.values().any(|cell| is_old(cell, marked))))
}

async fn devices(store: &dyn Store, user: &UserKey, marked: Marked) -> Result<bool, StoreError> {
    let of_user = store.devices(vec![user.clone()]).await?;
    Ok(of_user.iter().any(|devices| {
        // A later marker may have hidden rows of a later life, which are its own to erase.
        let ended = devices.life.is_some_and(|life| life <= marked.last);
        let mut cells = devices.rows.values().flat_map(|row| row.cells.values());
        (ended && !devices.hidden.is_empty()) || cells.any(|cell| is_old(cell, marked))
    }))
}

async fn events(store: &dyn Store, user: &UserKey, marked: Marked) -> Result<bool, StoreError> {
    let limit = limits::EVENTS_PER_PAGE;
    let mut before = None;
    loop {
        let query = EventQuery { from_us: None, to_us: None, before, limit };
        let events = store.events(user.clone(), query).await?;
        if events.iter().any(|event| event.stamp < marked.first) {
            return Ok(true);
        }
        let Some(last) = events.into_iter().next_back() else { return Ok(false) };
        before = Some((last.time_us, last.id));
    }
}

fn is_old(cell: &Cell, marked: Marked) -> bool {
    cell.version.stamp < marked.first
}
