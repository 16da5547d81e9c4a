//! Keys: parts put together so that bytes sort as the parts do and no prefix is ambiguous.

use millrace_schema::time::Micros;
use millrace_schema::{Topic, UserKey};
use uuid::Uuid;

use crate::embedded::failure::undecodable;
use crate::embedded::space::Space;
use crate::{Kind, StoreError};

/// fjall panics on a longer key, when it writes and when it reads.
const KEY_BYTES: usize = u16::MAX as usize;

/// Tag of what a user or a device has once: a profile's times, an erasure.
const HEAD: u8 = 0;
/// Tag of what a user or a device has many of: properties, devices, older markers.
const MEMBER: u8 = 1;

/// A key while it is put together.
#[derive(Clone)]
pub(super) struct Key(Vec<u8>);

impl Key {
    fn new() -> Self {
        Self(Vec::with_capacity(64))
    }

    /// Text with its length before it. A text too long for the length is too long for a key.
    fn text(mut self, text: &str) -> Self {
        let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.tail(text.as_bytes())
    }

    /// The last part, whose length is the rest.
    fn tail(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn tag(mut self, tag: u8) -> Self {
        self.0.push(tag);
        self
    }

    /// A time, or another number that may be negative.
    fn time(self, time_us: Micros) -> Self {
        self.tail(&((time_us as u64) ^ (1 << 63)).to_be_bytes())
    }

    /// The bytes.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if they are too many.
    pub(super) fn finish(self) -> Result<Vec<u8>, StoreError> {
        if self.0.len() > KEY_BYTES {
            let len = self.0.len();
            return Err(StoreError::Invalid(format!(
                "the ids of a row make a key of {len} bytes; at most {KEY_BYTES} can be stored"
            )));
        }
        Ok(self.0)
    }
}

/// Prefix of all that belongs to a user, in each keyspace.
pub(super) fn user(user: &UserKey) -> Key {
    Key::new().text(&user.project).text(&user.user)
}

/// Prefix of a project's rows where they are not kept by user.
pub(super) fn project(project: &str) -> Key {
    Key::new().text(project)
}

pub(super) fn event(of: &UserKey, time_us: Micros, id: &str) -> Key {
    user(of).time(time_us).tail(id.as_bytes())
}

/// Where a user's events of a time begin.
pub(super) fn events_from(of: &UserKey, time_us: Micros) -> Key {
    user(of).time(time_us)
}

/// Above every event of a user: no id begins with a byte that UTF-8 does not have.
pub(super) fn events_end(of: &UserKey) -> Key {
    user(of).time(Micros::MAX).tag(u8::MAX)
}

/// The time and the id of an event, from what follows the user in its key.
pub(super) fn read_event(rest: &[u8]) -> Result<(Micros, String), StoreError> {
    let (time, id) = rest
        .split_first_chunk::<8>()
        .ok_or_else(|| undecodable(Space::Events, "its key is too short"))?;
    let time_us = (u64::from_be_bytes(*time) ^ (1 << 63)) as i64;
    Ok((time_us, read_text(Space::Events, id)?))
}

pub(super) fn event_time(of: &UserKey, id: &str) -> Key {
    user(of).tail(id.as_bytes())
}

pub(super) fn profile_head(of: &UserKey) -> Key {
    user(of).tag(HEAD)
}

pub(super) fn profile_cells(of: &UserKey) -> Key {
    user(of).tag(MEMBER)
}

pub(super) fn profile_cell(of: &UserKey, name: &str) -> Key {
    profile_cells(of).tail(name.as_bytes())
}

pub(super) fn devices(of: &UserKey) -> Key {
    user(of).tag(MEMBER)
}

pub(super) fn device_head(of: &UserKey, device_id: &str) -> Key {
    devices(of).text(device_id).tag(HEAD)
}

pub(super) fn device_cell(of: &UserKey, device_id: &str, name: &str) -> Key {
    devices(of).text(device_id).tag(MEMBER).tail(name.as_bytes())
}

/// The device and the property (`None`: its head), from what follows [`devices`] in a key.
pub(super) fn read_device(rest: &[u8]) -> Result<(String, Option<String>), StoreError> {
    let short = || undecodable(Space::Devices, "its key is too short");
    let (len, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (device_id, rest) = rest.split_at_checked(len).ok_or_else(short)?;
    let (tag, name) = rest.split_first().ok_or_else(short)?;
    let device_id = read_text(Space::Devices, device_id)?;
    match *tag {
        HEAD => Ok((device_id, None)),
        _ => Ok((device_id, Some(read_text(Space::Devices, name)?))),
    }
}

/// Prefix of all claims on a device.
pub(super) fn claims(project: &str, device_id: &str) -> Key {
    Key::new().text(project).text(device_id)
}

pub(super) fn claim(project: &str, device_id: &str, holder: Option<&str>) -> Key {
    let device = claims(project, device_id);
    match holder {
        None => device.tag(HEAD),
        Some(holder) => device.tag(MEMBER).tail(holder.as_bytes()),
    }
}

/// The project and the holder, as they begin the holder's own keys, of a claim's key; `None` if it
/// is nobody's claim, or no claim's key.
pub(super) fn holder_of(claim: &[u8]) -> Option<Vec<u8>> {
    let (project, rest) = split_text(claim)?;
    let (_, rest) = split_text(rest)?;
    let (&MEMBER, holder) = rest.split_first()? else { return None };
    let len = u16::try_from(holder.len()).ok()?;
    Some([project, &len.to_be_bytes(), holder].concat())
}

/// The prefix of its user, of a key that begins with one.
pub(super) fn user_of(key: &[u8]) -> Option<&[u8]> {
    let (_, rest) = split_text(key)?;
    let (_, rest) = split_text(rest)?;
    key.get(..key.len() - rest.len())
}

/// A text with its length before it, and what follows.
fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, _) = bytes.split_first_chunk::<2>()?;
    bytes.split_at_checked(2 + usize::from(u16::from_be_bytes(*len)))
}

/// Where the latest erasure of a user's data of a topic is kept.
pub(super) fn erased(of: &UserKey, topic: Topic) -> Key {
    user(of).tag(topic.number()).tag(HEAD)
}

/// The same, of the user with this prefix.
pub(super) fn erased_of(user: &[u8], topic: Topic) -> Vec<u8> {
    [user, &[topic.number(), HEAD]].concat()
}

/// Prefix of the markers that erased a user's data of a topic before the newest one.
pub(super) fn erasures(of: &UserKey, topic: Topic) -> Key {
    user(of).tag(topic.number()).tag(MEMBER)
}

pub(super) fn erasure(of: &UserKey, topic: Topic, offset: u64) -> Key {
    erasures(of, topic).tail(&offset.to_be_bytes())
}

pub(super) fn job(of: &str, job: Uuid) -> Key {
    project(of).tail(job.as_bytes())
}

pub(super) fn job_by_time(of: &str, accepted_us: Micros, job: Uuid) -> Key {
    project(of).time(accepted_us).tail(job.as_bytes())
}

/// Above every job of a project that is kept by time.
pub(super) fn jobs_by_time_end(of: &str) -> Key {
    project(of).time(Micros::MAX).tail(Uuid::max().as_bytes()).tag(0)
}

/// The job's id: the end of its key.
pub(super) fn read_job(key: &[u8]) -> Result<Uuid, StoreError> {
    let (_, id) = key
        .split_last_chunk::<16>()
        .ok_or_else(|| undecodable(Space::JobsByTime, "its key is too short"))?;
    Ok(Uuid::from_bytes(*id))
}

/// The project and the job of a [`job`] key.
pub(super) fn read_job_of(space: Space, key: &[u8]) -> Result<(String, Uuid), StoreError> {
    let undecodable = || undecodable(space, "its key is not a project's and a job's");
    let (len, rest) = key.split_first_chunk::<2>().ok_or_else(undecodable)?;
    let (project, job) = rest.split_last_chunk::<16>().ok_or_else(undecodable)?;
    if project.len() != usize::from(u16::from_be_bytes(*len)) {
        return Err(undecodable());
    }
    Ok((read_text(space, project)?, Uuid::from_bytes(*job)))
}

pub(super) fn partition(topic: Topic, partition: u32) -> Key {
    Key::new().tag(topic.number()).tail(&partition.to_be_bytes())
}

pub(super) fn topic(topic: Topic) -> Key {
    Key::new().tag(topic.number())
}

/// Above every other key, and of nobody: no text is so long.
pub(super) fn last() -> Vec<u8> {
    vec![u8::MAX; 3]
}

/// A key that is one id and nothing else, so that rows are sorted by it.
pub(super) fn id(id: &[u8]) -> Key {
    Key::new().tail(id)
}

/// A document; with a part of its key, the prefix of those whose keys begin with it.
pub(super) fn document(kind: Kind, key: &str) -> Key {
    Key::new().text(kind.name()).tail(key.as_bytes())
}

pub(super) fn audit(time_us: Micros, id: i64) -> Key {
    Key::new().time(time_us).time(id)
}

/// Where the audit entries of a time begin.
pub(super) fn audit_from(time_us: Micros) -> Key {
    Key::new().time(time_us)
}

/// Text of a key.
pub(super) fn read_text(space: Space, bytes: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(bytes.to_vec()).map_err(|e| undecodable(space, e))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(key: Key) -> Vec<u8> {
        key.finish().unwrap()
    }

    /// Ids of few letters and lengths, among them NUL and the length prefix's own bytes, so that
    /// one often begins another.
    fn short_id() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![Just('\0'), Just('\u{1}'), Just('\u{2}'), Just('a'), Just('\u{10ffff}')],
            0..4,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    fn some_user() -> impl Strategy<Value = UserKey> {
        (short_id(), short_id()).prop_map(|(project, user)| UserKey::new(project, user))
    }

    proptest! {
        #[test]
        fn no_users_prefix_begins_another_users(a in some_user(), b in some_user()) {
            prop_assert_eq!(bytes(user(&a)).starts_with(&bytes(user(&b))), a == b);
        }

        #[test]
        fn a_user_is_found_in_its_keys(of in some_user(), time_us: i64, id in short_id()) {
            let prefix = bytes(user(&of));
            let keys = [event(&of, time_us, &id), event_time(&of, &id), profile_head(&of)];
            for key in keys.map(bytes) {
                prop_assert_eq!(user_of(&key), Some(prefix.as_slice()));
                prop_assert!(key < last());
            }
            prop_assert_eq!(erased_of(&prefix, Topic::Events), bytes(erased(&of, Topic::Events)));
        }

        #[test]
        fn a_holder_is_found_in_the_key_of_its_claim(of in some_user(), device in short_id()) {
            let key = bytes(claim(&of.project, &device, Some(&of.user)));
            prop_assert_eq!(holder_of(&key), Some(bytes(user(&of))));
            prop_assert_eq!(holder_of(&bytes(claim(&of.project, &device, None))), None);
        }

        #[test]
        fn no_devices_claims_begin_anothers(
            a in (short_id(), short_id()), b in (short_id(), short_id()),
        ) {
            let begins = bytes(claims(&a.0, &a.1)).starts_with(&bytes(claims(&b.0, &b.1)));
            prop_assert_eq!(begins, a == b);
        }

        #[test]
        fn events_of_a_user_sort_by_time_then_id(
            a in (any::<i64>(), short_id()), b in (any::<i64>(), short_id()),
        ) {
            let of = UserKey::new("p", "u");
            let (key_a, key_b) = (bytes(event(&of, a.0, &a.1)), bytes(event(&of, b.0, &b.1)));
            prop_assert_eq!(key_a.cmp(&key_b), a.cmp(&b));
            prop_assert!(key_a < bytes(events_end(&of)));
            prop_assert!(key_a >= bytes(events_from(&of, a.0)));
        }

        #[test]
        fn an_event_is_read_from_its_key(of in some_user(), time_us: i64, id in short_id()) {
            let key = bytes(event(&of, time_us, &id));
            let rest = key.strip_prefix(bytes(user(&of)).as_slice()).unwrap();
            prop_assert_eq!(read_event(rest).unwrap(), (time_us, id));
        }

        #[test]
        fn a_device_and_its_property_are_read_from_their_key(
            of in some_user(), device in short_id(), name in prop::option::of(short_id()),
        ) {
            let key = match &name {
                None => device_head(&of, &device),
                Some(name) => device_cell(&of, &device, name),
            };
            let key = bytes(key);
            let rest = key.strip_prefix(bytes(devices(&of)).as_slice()).unwrap();
            prop_assert_eq!(read_device(rest).unwrap(), (device, name));
        }

        #[test]
        fn a_project_and_a_job_are_read_from_their_key(project in short_id(), id: u128) {
            let job_id = Uuid::from_u128(id);
            let key = bytes(job(&project, job_id));
            prop_assert_eq!(read_job_of(Space::OpenDeliveries, &key).unwrap(), (project, job_id));
            let short = key.get(1..).unwrap_or_default();
            prop_assert!(read_job_of(Space::OpenDeliveries, short).is_err());
        }

        #[test]
        fn jobs_sort_by_time_then_id(a: (i64, u128), b: (i64, u128)) {
            let key = |(us, id)| bytes(job_by_time("p", us, Uuid::from_u128(id)));
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
            prop_assert!(key(a) < bytes(jobs_by_time_end("p")));
            prop_assert_eq!(read_job(&key(a)).unwrap(), Uuid::from_u128(a.1));
        }
    }

    #[test]
    fn what_is_no_key_of_a_user_is_nobodys() {
        for key in [last(), vec![], vec![0], vec![0, 0, 0], vec![0, 0, 0, 1]] {
            assert_eq!((user_of(&key), holder_of(&key)), (None, None), "{key:?}");
        }
    }

    #[test]
    fn a_key_beyond_the_limit_is_refused() {
        let longest = "x".repeat(KEY_BYTES - 3);
        assert!(profile_head(&UserKey::new("", "x".repeat(KEY_BYTES - 5))).finish().is_ok());
        assert!(event_time(&UserKey::new("", ""), &longest).finish().is_err());
        let beyond_its_length = "x".repeat(KEY_BYTES + 1);
        assert!(user(&UserKey::new(beyond_its_length, "")).finish().is_err());
    }
}
