//! Reading: each call sees the store as one moment left it.

use bytes::Bytes;
use fjall::{Readable, Slice, Snapshot};
use millrace_schema::time::{Micros, wall_clock_us};
use millrace_schema::{Topic, UserKey};
use uuid::Uuid;

use crate::embedded::erasures::{Head, NEVER};
use crate::embedded::failure::{failed, undecodable};
use crate::embedded::key::{self, Key};
use crate::embedded::space::{Space, Spaces};
use crate::embedded::{Engine, value};
use crate::{
    Claim, DeviceRow, Devices, Erasure, EventQuery, EventRow, JobRow, ProfileRow, Stamp, StoreError,
};

impl Engine {
    pub(super) fn view(&self) -> View<'_> {
        View { spaces: &self.spaces, snapshot: self.db.snapshot() }
    }
}

/// The store at one moment.
pub(super) struct View<'e> {
    spaces: &'e Spaces,
    snapshot: Snapshot,
}

impl View<'_> {
    pub(super) fn profiles(
        &self,
        users: &[UserKey],
    ) -> Result<Vec<Option<ProfileRow>>, StoreError> {
        users.iter().map(|user| self.profile(user)).collect()
    }

    fn profile(&self, user: &UserKey) -> Result<Option<ProfileRow>, StoreError> {
        // Every write of a profile writes its head, so one without a head has no cells.
        let Some(head) = self.get(Space::Profiles, key::profile_head(user))? else {
            return Ok(None);
        };
        let (stamp, times) = value::read_stamped(Space::Profiles, &head)?;
        let erased = self.erased(key::erased(user, Topic::Profiles))?;
        if erased >= Some(stamp) {
            return Ok(None);
        }
        let (created_us, rest) = value::read_number(Space::Profiles, times)?;
        let (updated_us, _) = value::read_number(Space::Profiles, rest)?;
        let mut row = ProfileRow { stamp, created_us, updated_us, cells: Default::default() };
        self.scan(Space::Profiles, key::profile_cells(user), |name, stamp, cell| {
            if erased >= Some(stamp) {
                return Ok(());
            }
            let name = key::read_text(Space::Profiles, name)?;
            row.cells.insert(name, value::read_json(Space::Profiles, cell)?);
            Ok(())
        })?;
        Ok(Some(row))
    }

    pub(super) fn devices(&self, users: &[UserKey]) -> Result<Vec<Devices>, StoreError> {
        users.iter().map(|user| self.devices_of(user)).collect()
    }

    fn devices_of(&self, user: &UserKey) -> Result<Devices, StoreError> {
        let life = self.erased(key::erased(user, Topic::Devices))?;
        let mut devices = Devices { life, ..Devices::default() };
        self.scan(Space::Devices, key::devices(user), |rest, stamp, body| {
            // None is hidden that an erasure has yet to be led to: the claims died with the life.
            if life >= Some(stamp) {
                return Ok(());
            }
            // A device's head sorts before its cells, and is stamped no lower than any of them.
            let (device_id, name) = key::read_device(rest)?;
            let Some(name) = name else {
                let (updated_us, _) = value::read_number(Space::Devices, body)?;
                devices.rows.insert(device_id, DeviceRow { updated_us, cells: Default::default() });
                return Ok(());
            };
            let device = devices
                .rows
                .get_mut(&device_id)
                .ok_or_else(|| undecodable(Space::Devices, "a property of no device"))?;
            device.cells.insert(name, value::read_json(Space::Devices, body)?);
            Ok(())
        })?;
        Ok(devices)
    }

    pub(super) fn claims(
        &self,
        project: &str,
        device_ids: &[String],
    ) -> Result<Vec<Vec<Claim>>, StoreError> {
        let claims = device_ids.iter().map(|device_id| {
            let mut claims = Vec::new();
            self.scan(Space::Claims, key::claims(project, device_id), |_, stamp, body| {
                let claim: Claim = value::read_json(Space::Claims, body)?;
                if let Some(holder) = &claim.holder {
                    let holder = UserKey::new(project, holder);
                    if self.erased(key::erased(&holder, Topic::Devices))? >= Some(stamp) {
                        return Ok(());
                    }
                }
                claims.push(claim);
                Ok(())
            })?;
            Ok(claims)
        });
        claims.collect()
    }

    pub(super) fn events(
        &self,
        user: &UserKey,
        query: &EventQuery,
    ) -> Result<Vec<EventRow>, StoreError> {
        let prefix = key::user(user).finish()?;
        let from = key::events_from(user, query.from_us.unwrap_or(Micros::MIN)).finish()?;
        let mut to = key::events_end(user).finish()?;
        if let Some(to_us) = query.to_us {
            to = to.min(key::events_from(user, to_us).finish()?);
        }
        if let Some((time_us, id)) = &query.before {
            to = to.min(key::event(user, *time_us, id).finish()?);
        }
        let mut rows = Vec::new();
        if from >= to || query.limit == 0 {
            return Ok(rows);
        }
        let now_us = wall_clock_us();
        let erased = self.erased(key::erased(user, Topic::Events))?;
        for row in self.snapshot.range(self.spaces.get(Space::Events), from..to).rev() {
            let (key, value) = row.into_inner().map_err(failed)?;
            let (stamp, rest) = value::read_stamped(Space::Events, &value)?;
            let (expires_us, payload) = value::read_expiry(Space::Events, rest)?;
            if expires_us <= now_us || erased >= Some(stamp) {
                continue;
            }
            let (time_us, id) = key::read_event(key.get(prefix.len()..).unwrap_or_default())?;
            let payload = Bytes::copy_from_slice(payload);
            rows.push(EventRow { time_us, id, stamp, payload });
            if rows.len() >= query.limit {
                break;
            }
        }
        Ok(rows)
    }

    pub(super) fn event_times(
        &self,
        ids: &[(UserKey, String)],
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let now_us = wall_clock_us();
        let times = ids.iter().map(|(user, id)| {
            let Some(value) = self.get(Space::EventTimes, key::event_time(user, id))? else {
                return Ok(None);
            };
            let (stamp, rest) = value::read_stamped(Space::EventTimes, &value)?;
            if self.erased(key::erased(user, Topic::Events))? >= Some(stamp) {
                return Ok(None);
            }
            let (expires_us, rest) = value::read_expiry(Space::EventTimes, rest)?;
            let (time_us, _) = value::read_number(Space::EventTimes, rest)?;
            Ok((expires_us > now_us).then_some(time_us))
        });
        times.collect()
    }

    pub(super) fn erasures(
        &self,
        user: &UserKey,
        topic: Topic,
    ) -> Result<Vec<Erasure>, StoreError> {
        let Some(head) = self.get(Space::Erasures, key::erased(user, topic))? else {
            return Ok(Vec::new());
        };
        let mut erasures: Vec<Erasure> = Head::read(&head)?.newest.into_iter().collect();
        self.scan(Space::Erasures, key::erasures(user, topic), |_, _, erasure| {
            erasures.push(value::read_json(Space::Erasures, erasure)?);
            Ok(())
        })?;
        Ok(erasures)
    }

    pub(super) fn job(&self, project: &str, job: Uuid) -> Result<Option<JobRow>, StoreError> {
        let Some(value) = self.get(Space::Jobs, key::job(project, job))? else {
            return Ok(None);
        };
        let (_, json) = value::read_stamped(Space::Jobs, &value)?;
        value::read_json(Space::Jobs, json).map(Some)
    }

    pub(super) fn jobs(
        &self,
        project: &str,
        before: Option<(Micros, Uuid)>,
        limit: usize,
    ) -> Result<Vec<JobRow>, StoreError> {
        let from = key::project(project).finish()?;
        let to = match before {
            Some((accepted_us, job)) => key::job_by_time(project, accepted_us, job),
            None => key::jobs_by_time_end(project),
        };
        let entries = self.snapshot.range(self.spaces.get(Space::JobsByTime), from..to.finish()?);
        let mut rows = Vec::new();
        for entry in entries.rev().take(limit) {
            let id = key::read_job(&entry.key().map_err(failed)?)?;
            rows.extend(self.job(project, id)?);
        }
        Ok(rows)
    }

    pub(super) fn open_jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        let mut rows = Vec::new();
        for entry in self.snapshot.iter(self.spaces.get(Space::OpenJobs)) {
            let key = entry.key().map_err(failed)?;
            let Some(value) =
                self.snapshot.get(self.spaces.get(Space::Jobs), &key).map_err(failed)?
            else {
                continue;
            };
            let (_, json) = value::read_stamped(Space::Jobs, &value)?;
            rows.push(value::read_json(Space::Jobs, json)?);
        }
        Ok(rows)
    }

    /// The stamp at or below which everything of a user's topic is dead.
    fn erased(&self, key: Key) -> Result<Option<Stamp>, StoreError> {
        let Some(head) = self.get(Space::Erasures, key)? else {
            return Ok(None);
        };
        let (stamp, _) = value::read_stamped(Space::Erasures, &head)?;
        Ok(Some(stamp).filter(|stamp| *stamp > NEVER))
    }

    fn get(&self, space: Space, key: Key) -> Result<Option<Slice>, StoreError> {
        self.snapshot.get(self.spaces.get(space), key.finish()?).map_err(failed)
    }

    /// Calls `take` with the rest of the key, the stamp and the body of each row under a prefix.
    fn scan(
        &self,
        space: Space,
        prefix: Key,
        mut take: impl FnMut(&[u8], Stamp, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let prefix = prefix.finish()?;
        for row in self.snapshot.prefix(self.spaces.get(space), &prefix) {
            let (key, value) = row.into_inner().map_err(failed)?;
            let (stamp, body) = value::read_stamped(space, &value)?;
            take(key.get(prefix.len()..).unwrap_or_default(), stamp, body)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::embedded::space::Space;
    use crate::embedded::{EmbeddedStore, key};
    use crate::{Store, StoreError};
    use millrace_schema::UserKey;

    #[tokio::test]
    async fn a_row_that_cannot_be_read_names_its_keyspace() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let user = UserKey::new("p", "u");
        let mut draft = store.engine.draft();
        for space in [Space::Profiles, Space::Ledger] {
            draft.put(space, key::profile_head(&user).finish().unwrap(), b"\x01short".to_vec());
        }
        draft.commit().unwrap();
        let damaged = |error: StoreError, keyspace| matches!(&error, StoreError::Invalid(text) if text.contains(keyspace));
        assert!(damaged(store.profiles(vec![user]).await.unwrap_err(), "\"profiles\""));
        assert!(damaged(store.ledger().await.unwrap_err(), "\"ledger\""));
    }
}
