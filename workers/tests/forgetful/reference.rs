//! What the log says the store must hold in the end: each partition read once, in order, without
//! caches, crashes or a second try.

use std::collections::{BTreeMap, BTreeSet};

use millrace_log::LogRecord;
use millrace_schema::id::time_of_id_us;
use millrace_schema::record::{
    Body, Device, Event, HEADER_ORIGIN_OFFSET, HEADER_ORIGIN_TIME_US, HEADER_SPOOLED, Profile,
    Record,
};
use millrace_schema::{Topic, UserKey};
use millrace_store::{Cell, Cells, Claim, DeviceRow, Erasure, JobRow, ProfileRow, Stamp, Version};
use uuid::Uuid;

use crate::database::BASE;
use crate::memory_log::{MemoryLog, PARTITIONS};

/// An event's identity: time and id.
type EventId = (i64, String);

#[derive(Default)]
pub(crate) struct Reference {
    pub(crate) events: BTreeMap<UserKey, BTreeMap<EventId, Stamp>>,
    pub(crate) profiles: BTreeMap<UserKey, ProfileRow>,
    pub(crate) devices: BTreeMap<UserKey, BTreeMap<String, DeviceRow>>,
    pub(crate) claims: BTreeMap<String, BTreeMap<Option<String>, Claim>>,
    pub(crate) jobs: BTreeMap<Uuid, JobRow>,
    /// Records that came by a detour and must never be seen.
    pub(crate) withheld: BTreeSet<(Topic, UserKey, u64)>,
    times: BTreeMap<(UserKey, String), i64>,
    erasures: BTreeMap<(UserKey, Topic), Vec<Erasure>>,
}

/// A record where it stands.
struct At<'r> {
    topic: Topic,
    offset: u64,
    time_us: i64,
    header: &'r dyn Fn(&str) -> Option<i64>,
}

impl At<'_> {
    fn stamp(&self) -> Stamp {
        BASE.at(self.offset)
    }

    fn origin(&self) -> Option<(i64, i64)> {
        (self.header)(HEADER_ORIGIN_OFFSET).zip((self.header)(HEADER_ORIGIN_TIME_US))
    }

    fn is_spooled(&self) -> bool {
        self.origin().is_none() && (self.header)(HEADER_SPOOLED).is_some()
    }

    fn version(&self, sent_us: Option<i64>, received_us: i64) -> Version {
        if let Some((offset, time_us)) = self.origin() {
            let stamp = Stamp(BASE.0 + offset);
            return Version { time_us: sent_us.unwrap_or(time_us), stamp };
        }
        let time_us = if self.is_spooled() { received_us } else { self.time_us };
        Version { time_us: sent_us.unwrap_or(time_us), stamp: self.stamp() }
    }
}

impl Reference {
    pub(crate) fn of(log: &MemoryLog, clock_skew_us: i64) -> Self {
        let mut reference = Self::default();
        for topic in Topic::CONSUMED {
            for partition in 0..PARTITIONS {
                let mut time_us = 0;
                for record in log.records(topic, partition) {
                    reference.read(topic, &record, &mut time_us, clock_skew_us);
                }
            }
        }
        reference
    }

    fn read(
        &mut self,
        topic: Topic,
        log_record: &LogRecord,
        time_us: &mut i64,
        clock_skew_us: i64,
    ) {
        let Ok(record) = Record::decode(&log_record.value) else { return };
        *time_us = (*time_us).max(record.received_us);
        let header = |name: &str| {
            let found = log_record.headers.iter().find(|(n, _)| n == name);
            found.and_then(|(_, value)| value.parse().ok())
        };
        let offset = log_record.offset;
        let at = At { topic, offset, time_us: *time_us, header: &header };
        let user = record.body.user().map(|user| UserKey::new(&*record.project, user));
        if self.is_withheld(&at, user.as_ref(), record.received_us, clock_skew_us) {
            return;
        }
        match (&record.body, user) {
            (Body::Event(event), Some(user)) => self.event(&at, user, event, record.received_us),
            (Body::Profile(profile), Some(user)) => {
                self.profile(&at, user, profile, record.received_us);
            }
            (Body::Device(device), user) => self.device(&at, user, device, record.received_us),
            (Body::Marker(marker), Some(user)) => {
                self.erase(topic, &user);
                let (job, received_us) = (marker.job, record.received_us);
                let erasures = self.erasures.entry((user, topic)).or_default();
                erasures.push(Erasure { job, offset, received_us });
            }
            (Body::Job(job), _) => {
                let project = record.project.clone().into_owned();
                let (job, accepted_us) = (job.clone(), record.received_us);
                let row = JobRow { project, accepted_us, job, completion: None };
                self.jobs.entry(row.job.job).or_insert(row);
            }
            _ => {}
        }
    }

    fn is_withheld(
        &mut self,
        at: &At<'_>,
        user: Option<&UserKey>,
        received_us: i64,
        clock_skew_us: i64,
    ) -> bool {
        let Some(user) = user else { return false };
        let erasures = self.erasures.get(&(user.clone(), at.topic));
        let by = |erasure: &Erasure| match at.origin() {
            Some((offset, _)) => offset < erasure.offset as i64,
            None => at.is_spooled() && received_us <= erasure.received_us + clock_skew_us,
        };
        let withheld = erasures.into_iter().flatten().any(by);
        if withheld {
            self.withheld.insert((at.topic, user.clone(), at.offset));
        }
        withheld
    }

    fn erase(&mut self, topic: Topic, user: &UserKey) {
        match topic {
            Topic::Events => {
                self.events.remove(user);
                self.times.retain(|(holder, _), _| holder != user);
            }
            Topic::Profiles => drop(self.profiles.remove(user)),
            _ => {
                self.devices.remove(user);
                for claims in self.claims.values_mut() {
                    claims.remove(&Some(user.user.clone()));
                }
            }
        }
    }

    fn event(&mut self, at: &At<'_>, user: UserKey, event: &Event<'_>, received_us: i64) {
        let id = event.id.clone().into_owned();
        let said = event.time_us.or_else(|| time_of_id_us(&id, received_us));
        let known = || *self.times.entry((user.clone(), id.clone())).or_insert(received_us);
        let time_us = said.unwrap_or_else(known);
        self.events.entry(user).or_default().insert((time_us, id), at.stamp());
    }

    fn profile(&mut self, at: &At<'_>, user: UserKey, profile: &Profile<'_>, received_us: i64) {
        let version = at.version(profile.time_us, received_us);
        let new = !self.profiles.contains_key(&user);
        let row = self.profiles.entry(user).or_insert(ProfileRow {
            stamp: at.stamp(),
            created_us: received_us,
            updated_us: received_us,
            cells: Cells::new(),
        });
        if merge(&mut row.cells, "", profile.properties.as_deref(), version) && !new {
            row.stamp = at.stamp();
            row.updated_us = row.updated_us.max(received_us);
        }
    }

    fn device(
        &mut self,
        at: &At<'_>,
        user: Option<UserKey>,
        device: &Device<'_>,
        received_us: i64,
    ) {
        let version = at.version(device.time_us, received_us);
        let id = device.device_id.clone().into_owned();
        let holder = user.as_ref().map(|user| user.user.clone());
        if let Some(user) = user {
            let rows = self.devices.entry(user).or_default();
            let empty = DeviceRow { updated_us: received_us, cells: Cells::new() };
            let row = rows.entry(id.clone()).or_insert(empty);
            let sent = device.properties.as_deref();
            if merge(&mut row.cells, "properties.", sent, version) {
                row.updated_us = row.updated_us.max(received_us);
            }
        }
        let claims = self.claims.entry(id).or_default();
        let empty = Claim { holder: holder.clone(), linked: None, received_us: 0, unlinked: None };
        let claim = claims.entry(holder.clone()).or_insert(empty);
        if device.unlink && holder.is_some() {
            claim.unlinked = claim.unlinked.max(Some(version));
        } else if claim.linked <= Some(version) {
            claim.linked = Some(version);
            claim.received_us = received_us;
        }
    }
}

/// Whether anything changed.
fn merge(cells: &mut Cells, prefix: &str, sent: Option<&str>, version: Version) -> bool {
    let sent: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(sent.unwrap_or("{}")).unwrap();
    let mut changed = false;
    for (name, value) in sent {
        let name = format!("{prefix}{name}");
        if cells.get(&name).is_none_or(|cell| cell.version <= version) {
            let value = (!value.is_null()).then(|| value.to_string());
            cells.insert(name, Cell { version, value });
            changed = true;
        }
    }
    changed
}
