//! Reads a job's sample back: whether anything is there that stood before a user's marker.
//!
//! Old events can have any time, and a user may have millions of a later life. Of those dated before
//! the job was accepted and of those dated since, the newest [`EVENT_PAGES_MAX`] pages are looked at.

use millrace_log::Log;
use millrace_schema::record::{Fence, Reach};
use millrace_schema::time::Micros;
use millrace_schema::topic::partition_of;
use millrace_schema::user::write_user_key;
use millrace_schema::{UserKey, limits};
use millrace_store::{Cell, EventQuery, JobRow, Stamp, Store, StoreError};

/// Pages of [`limits::EVENTS_PER_PAGE`] events.
const EVENT_PAGES_MAX: usize = 4;

/// A look at the sample of a job.
pub(super) struct ReadBack<'j> {
    log: &'j dyn Log,
    store: &'j dyn Store,
    job: &'j JobRow,
    /// How many times a user had more events than were looked at.
    pub(super) cut: u64,
}

/// Where markers of the job stand.
#[derive(Clone, Copy)]
struct Marked {
    /// The user's own; the first one of the partition if it is not known.
    own: Stamp,
    /// The last one of the partition.
    last: Stamp,
}

impl<'j> ReadBack<'j> {
    pub(super) fn new(log: &'j dyn Log, store: &'j dyn Store, job: &'j JobRow) -> Self {
        Self { log, store, job, cut: 0 }
    }

    /// How many of the sampled users still have anything.
    pub(super) async fn found(&mut self) -> Result<u64, StoreError> {
        let job = self.job;
        let mut found = 0;
        for user in &job.job.sample {
            let user = UserKey::new(&*job.project, &**user);
            found += u64::from(self.outlived(&user).await?);
        }
        Ok(found)
    }

    /// What was written since the markers belongs to a new life.
    async fn outlived(&mut self, user: &UserKey) -> Result<bool, StoreError> {
        for reach in Reach::ALL {
            if !self.job.reaches(reach) {
                continue;
            }
            let Some(marked) = self.marked(reach, user).await? else { continue };
            let found = match reach {
                Reach::Profile => self.profile(user, marked).await?,
                Reach::Devices => self.devices(user, marked).await?,
                Reach::Events => self.events(user, marked).await?,
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn marked(&self, reach: Reach, user: &UserKey) -> Result<Option<Marked>, StoreError> {
        let (topic, partitions) = (reach.topic(), self.log.partitions());
        let mut key = Vec::new();
        write_user_key(&mut key, &user.project, &user.user);
        let here = (topic, partition_of(&key, partitions));
        let is_here = |fence: &&Fence| (fence.topic, fence.partition) == here;
        let Some(fence) = self.job.job.fence.iter().find(is_here) else { return Ok(None) };
        let base = self.store.topic_base(topic, partitions).await?;
        let erasures = self.store.erasures(user.clone(), topic).await?;
        let of_job = erasures.iter().filter(|erasure| erasure.job == self.job.job.job);
        let offsets = of_job.map(|erasure| erasure.offset);
        let own = offsets.filter(|offset| (fence.first..=fence.last).contains(offset)).max();
        Ok(Some(Marked { own: base.at(own.unwrap_or(fence.first)), last: base.at(fence.last) }))
    }

    async fn profile(&self, user: &UserKey, marked: Marked) -> Result<bool, StoreError> {
        let rows = self.store.profiles(vec![user.clone()]).await?;
        Ok(rows.into_iter().flatten().any(|row| {
            row.stamp < marked.own || row.cells.values().any(|cell| is_old(cell, marked))
        }))
    }

    async fn devices(&self, user: &UserKey, marked: Marked) -> Result<bool, StoreError> {
        let of_user = self.store.devices(vec![user.clone()]).await?;
        Ok(of_user.iter().any(|devices| {
            // A later marker may have hidden rows of a later life, which are its own to erase.
            let ended = devices.life.is_some_and(|life| life <= marked.last);
            let mut cells = devices.rows.values().flat_map(|row| row.cells.values());
            (ended && !devices.hidden.is_empty()) || cells.any(|cell| is_old(cell, marked))
        }))
    }

    async fn events(&mut self, user: &UserKey, marked: Marked) -> Result<bool, StoreError> {
        let accepted_us = Some(self.job.accepted_us);
        Ok(self.events_between(user, marked, None, accepted_us).await?
            || self.events_between(user, marked, accepted_us, None).await?)
    }

    async fn events_between(
        &mut self,
        user: &UserKey,
        marked: Marked,
        from_us: Option<Micros>,
        to_us: Option<Micros>,
    ) -> Result<bool, StoreError> {
        let limit = limits::EVENTS_PER_PAGE;
        let mut before = None;
        for _ in 0..EVENT_PAGES_MAX {
            let query = EventQuery { from_us, to_us, before, limit };
            let events = self.store.events(user.clone(), query).await?;
            if events.iter().any(|event| event.stamp < marked.own) {
                return Ok(true);
            }
            let is_last = events.len() < limit;
            let Some(last) = events.into_iter().next_back().filter(|_| !is_last) else {
                return Ok(false);
            };
            before = Some((last.time_us, last.id));
        }
        self.cut += 1;
        Ok(false)
    }
}

fn is_old(cell: &Cell, marked: Marked) -> bool {
    cell.version.stamp < marked.own
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_log::embedded::EmbeddedLog;
    use millrace_schema::record::Job;
    use millrace_store::embedded::EmbeddedStore;
    use millrace_store::{Cells, Change, Commit, Erasure, LedgerRow, Write};
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    const ACCEPTED_US: Micros = 1_000_000;
    const FIRST: u64 = 10;
    const OWN: u64 = 20;
    const LAST: u64 = 30;

    /// A job with markers from [`FIRST`] to [`LAST`] of which that of the sampled user is [`OWN`],
    /// and which has erased nothing.
    struct Scene {
        _dir: TempDir,
        log: EmbeddedLog,
        store: EmbeddedStore,
        user: UserKey,
        job: JobRow,
    }

    impl Scene {
        async fn new(reach: Reach) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let log = EmbeddedLog::open(&dir.path().join("log"), Default::default()).unwrap();
            let store = EmbeddedStore::open(&dir.path().join("store"), Default::default()).unwrap();
            let (user, mut key) = (UserKey::new("p", "u"), Vec::new());
            write_user_key(&mut key, "p", "u");
            let (topic, partition) = (reach.topic(), partition_of(&key, log.partitions()));
            let fence = Fence { topic, partition, first: FIRST, last: LAST, count: 3 };
            let job = Job {
                job: Uuid::from_u128(1),
                users: 3,
                erase: vec![reach],
                fence: vec![fence],
                sample: vec!["u".to_owned()],
                ..Job::default()
            };
            let job =
                JobRow { project: "p".into(), accepted_us: ACCEPTED_US, job, completion: None };
            let scene = Self { _dir: dir, log, store, user: user.clone(), job };
            let marker = |job, offset| {
                let erasure = Erasure { job: Uuid::from_u128(job), offset, received_us: 1 };
                (offset, Change::PutErasure { user: user.clone(), topic, erasure })
            };
            scene.write([marker(1, OWN), marker(2, OWN + 5), marker(1, LAST + 5)]).await;
            scene
        }

        async fn write(&self, changes: impl IntoIterator<Item = (u64, Change)>) {
            let Fence { topic, partition, .. } = self.job.job.fence[0];
            let base = self.store.topic_base(topic, self.log.partitions()).await.unwrap();
            let writes = changes.into_iter();
            let writes = writes.map(|(at, change)| Write { stamp: base.at(at), change }).collect();
            let claimed = self.store.claim(topic, partition).await.unwrap();
            let ledger = LedgerRow { sequence: 1, ..claimed };
            let generation = self.store.generation().await.unwrap();
            self.store.commit(Commit { writes, ledger, generation }).await.unwrap();
        }

        fn event(&self, time_us: Micros, id: u64) -> Change {
            let (user, payload) = (self.user.clone(), Bytes::new());
            Change::PutEvent { user, time_us, id: id.to_string(), payload, expires_us: i64::MAX }
        }

        /// (found, cut)
        async fn read_back(&self) -> (u64, u64) {
            let mut read_back = ReadBack::new(&self.log, &self.store, &self.job);
            let found = read_back.found().await.unwrap();
            (found, read_back.cut)
        }
    }

    #[tokio::test]
    async fn what_stands_between_the_first_marker_and_the_users_own_is_found() {
        for (offset, found) in [(FIRST - 1, 1), (OWN - 1, 1), (OWN + 1, 0), (LAST + 1, 0)] {
            let scene = Scene::new(Reach::Events).await;
            scene.write([(offset, scene.event(7, 0))]).await;
            assert_eq!(scene.read_back().await, (found, 0), "at {offset}");
        }
    }

    #[tokio::test]
    async fn a_profile_without_properties_is_found() {
        for (offset, found) in [(OWN - 1, 1), (OWN + 1, 0)] {
            let scene = Scene::new(Reach::Profile).await;
            let (user, cells) = (scene.user.clone(), Cells::new());
            let profile = Change::PutProfile { user, created_us: 1, updated_us: 1, cells };
            scene.write([(offset, profile)]).await;
            assert_eq!(scene.read_back().await, (found, 0), "at {offset}");
        }
    }

    #[tokio::test]
    async fn an_old_event_is_found_however_many_came_since() {
        let scene = Scene::new(Reach::Events).await;
        let many = (EVENT_PAGES_MAX * limits::EVENTS_PER_PAGE) as u64 + 1;
        let event = |n: u64| (LAST + n, scene.event(ACCEPTED_US + n.cast_signed(), n));
        scene.write((1..=many).map(event)).await;
        assert_eq!(scene.read_back().await, (0, 1), "not all of them are looked at");
        scene.write([(OWN - 1, scene.event(ACCEPTED_US - 1, 0))]).await;
        assert_eq!(scene.read_back().await.0, 1);
    }
}
