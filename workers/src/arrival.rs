//! A record as it arrives from the log: decoded, checked against its key, its detour known.

use bytes::Bytes;
use millrace_log::LogRecord;
use millrace_schema::record::{
    Body, Device, HEADER_ORIGIN_OFFSET, HEADER_ORIGIN_TIME_US, HEADER_SPOOLED, Record,
};
use millrace_schema::time::Micros;
use millrace_schema::user::{is_device_key, is_user_key};
use millrace_schema::{Topic, limits};
use millrace_store::{Erasure, Stamp, Version};

/// One record of a batch. `record` is an error text when it can never be stored.
pub(crate) struct Arrival<'r> {
    pub(crate) offset: u64,
    pub(crate) detour: Option<Detour>,
    pub(crate) value: &'r Bytes,
    pub(crate) record: Result<Record<'r>, String>,
}

/// How a record left the straight road: only then can it meet a marker in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detour {
    /// A dead letter that was replayed; where and when it was first accepted.
    Replayed { offset: u64, time_us: Micros },
    /// It waited in a front door's spool.
    Spooled,
}

impl<'r> Arrival<'r> {
    pub(crate) fn new(topic: Topic, log_record: &'r LogRecord) -> Self {
        let record = Record::decode(&log_record.value).map_err(|e| e.to_string());
        Self {
            offset: log_record.offset,
            detour: Detour::of(&log_record.headers),
            value: &log_record.value,
            record: record.and_then(|record| check(topic, &log_record.key, record)),
        }
    }
}

impl Detour {
    fn of(headers: &[(String, String)]) -> Option<Self> {
        let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        let offset = find(HEADER_ORIGIN_OFFSET).and_then(|v| v.parse().ok());
        let time_us = find(HEADER_ORIGIN_TIME_US).and_then(|v| v.parse().ok());
        match (offset, time_us) {
            (Some(offset), Some(time_us)) => Some(Self::Replayed { offset, time_us }),
            _ => find(HEADER_SPOOLED).map(|_| Self::Spooled),
        }
    }
}

/// Refuses what the front door would never have written: a foreign kind, a foreign key, ids that
/// no engine could use as a key.
fn check<'r>(topic: Topic, key: &[u8], record: Record<'r>) -> Result<Record<'r>, String> {
    let project = &*record.project;
    let at_home = match &record.body {
        Body::Event(event) => topic == Topic::Events && event.id.len() <= limits::ID_BYTES,
        Body::Refused(_) => topic == Topic::Events,
        Body::Profile(_) => topic == Topic::Profiles,
        Body::Device(device) => {
            topic == Topic::Devices && device.device_id.len() <= limits::DEVICE_ID_BYTES
        }
        Body::Marker(_) => Topic::DATA.contains(&topic),
        Body::Job(_) => topic == Topic::Deletions,
    };
    if !at_home {
        return Err(format!("a record of kind {:?} has no place in {topic}", record.body.kind()));
    }
    let is_its_key = match &record.body {
        Body::Device(Device { user: None, device_id, .. }) => {
            is_device_key(key, project, device_id)
        }
        Body::Job(job) => is_user_key(key, project, &job.job.to_string()),
        Body::Refused(refused) => is_user_key(key, project, &refused.id),
        body => body.user().is_some_and(|user| is_user_key(key, project, user)),
    };
    if !is_its_key {
        return Err("the key is not that of the record's user, device, job or id".to_owned());
    }
    if project.len() > limits::PROJECT_ID_BYTES || project.contains('\0') {
        return Err("the project's id is not one of ours".to_owned());
    }
    if record.body.user().is_some_and(|user| user.len() > limits::USER_ID_BYTES) {
        return Err(format!("the user's id is longer than {} bytes", limits::USER_ID_BYTES));
    }
    Ok(record)
}

/// Where a record stands, and what follows from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its offset.
    pub(crate) offset: u64,
    /// The stamp of the topic's offset 0.
    pub(crate) base: Stamp,
    /// The partition's monotone time at it, microseconds.
    pub(crate) time_us: Micros,
    /// How it left the straight road.
    pub(crate) detour: Option<Detour>,
}

impl Place {
    /// The stamp of everything the record writes.
    pub(crate) fn stamp(&self) -> Stamp {
        self.base.at(self.offset)
    }

    /// What decides between this record's values and others: the time that was sent, else the
    /// partition's time; and the stamp. A replayed dead letter keeps those of its first acceptance.
    pub(crate) fn version(&self, sent_us: Option<Micros>, received_us: Micros) -> Version {
        let (time_us, offset) = match self.detour {
            None => (self.time_us, self.offset),
            Some(Detour::Replayed { offset, time_us }) => (time_us, offset),
            Some(Detour::Spooled) => (received_us, self.offset),
        };
        Version { time_us: sent_us.unwrap_or(time_us), stamp: self.base.at(offset) }
    }

    /// Whether a detoured record must be withheld: its user was deleted after its acceptance. Only
    /// markers that stand before it count; a later one will come by itself.
    pub(crate) fn is_withheld(
        &self,
        received_us: Micros,
        erasures: &[Erasure],
        clock_skew_us: i64,
    ) -> bool {
        let Some(detour) = self.detour else { return false };
        let mut before = erasures.iter().filter(|erasure| erasure.offset < self.offset);
        before.any(|erasure| match detour {
            Detour::Replayed { offset, .. } => offset < erasure.offset,
            Detour::Spooled => received_us <= erasure.received_us.saturating_add(clock_skew_us),
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn place(offset: u64, detour: Option<Detour>) -> Place {
        Place { offset, base: Stamp(1_000), time_us: 50, detour }
    }

    fn erasure(offset: u64, received_us: Micros) -> Erasure {
        Erasure { job: Uuid::nil(), offset, received_us }
    }

    #[test]
    fn the_straight_road_is_never_withheld() {
        assert!(!place(9, None).is_withheld(0, &[erasure(5, 100)], 0));
    }

    #[test]
    fn a_replayed_dead_letter_is_judged_by_its_origin() {
        let replayed = |offset| Some(Detour::Replayed { offset, time_us: 0 });
        assert!(place(9, replayed(4)).is_withheld(0, &[erasure(5, 0)], 0));
        assert!(!place(9, replayed(6)).is_withheld(0, &[erasure(5, 0)], 0));
        assert!(!place(9, replayed(4)).is_withheld(0, &[erasure(10, 0)], 0), "a later marker");
    }

    #[test]
    fn a_spooled_record_within_the_clock_skew_of_an_erasure_is_withheld() {
        let spooled = place(9, Some(Detour::Spooled));
        assert!(spooled.is_withheld(101, &[erasure(5, 100)], 1));
        assert!(!spooled.is_withheld(102, &[erasure(5, 100)], 1));
    }

    #[test]
    fn a_time_that_was_not_sent_is_the_partitions_or_that_of_the_first_acceptance() {
        let version = |time_us, stamp| Version { time_us, stamp: Stamp(stamp) };
        assert_eq!(place(9, None).version(None, 7), version(50, 1_009));
        assert_eq!(place(9, None).version(Some(3), 7), version(3, 1_009));
        let replayed = Some(Detour::Replayed { offset: 4, time_us: 40 });
        assert_eq!(place(9, replayed).version(None, 7), version(40, 1_004));
        assert_eq!(place(9, Some(Detour::Spooled)).version(None, 7), version(7, 1_009));
    }

    #[test]
    fn what_the_front_door_would_not_have_written_is_refused() {
        let value = br#"{"v":1,"kind":"profile","project":"p","user":"u","received_us":1}"#;
        let arrive = |topic, key: &[u8]| {
            let key = Bytes::copy_from_slice(key);
            let value = Bytes::from_static(value);
            let record = LogRecord { offset: 0, key, headers: Vec::new(), value };
            Arrival::new(topic, &record).record.map(|_| ())
        };
        assert_eq!(arrive(Topic::Profiles, b"p\0u"), Ok(()));
        assert!(arrive(Topic::Profiles, b"p\0v").unwrap_err().contains("key"));
        assert!(arrive(Topic::Events, b"p\0u").unwrap_err().contains("no place"));
    }
}
