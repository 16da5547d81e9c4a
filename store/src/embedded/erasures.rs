//! Erasures: one row for each user and topic, with the stamp at or below which everything is dead
//! and the newest marker. Older markers have rows of their own, which hardly any user needs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use millrace_schema::{Topic, UserKey};
use uuid::Uuid;

use crate::embedded::draft::Draft;
use crate::embedded::failure::undecodable;
use crate::embedded::key;
use crate::embedded::space::Space;
use crate::embedded::value;
use crate::{Erasure, Stamp, StoreError};

/// Of what was never erased: below every record's.
pub(super) const NEVER: Stamp = Stamp(i64::MIN);

/// What is kept of a user and a topic.
pub(super) struct Head {
    /// Everything at or below it is dead.
    stamp: Stamp,
    /// The newest marker.
    pub(super) newest: Option<Erasure>,
}

impl Head {
    pub(super) fn read(value: &[u8]) -> Result<Self, StoreError> {
        let (stamp, rest) = value::read_stamped(Space::Erasures, value)?;
        let newest = if rest.is_empty() { None } else { Some(read_marker(rest)?) };
        Ok(Self { stamp, newest })
    }

    fn value(&self) -> Vec<u8> {
        let Some(Erasure { job, offset, received_us }) = &self.newest else {
            return value::stamped(self.stamp, &[]);
        };
        let numbers = [offset.to_be_bytes(), received_us.to_be_bytes()];
        value::stamped(self.stamp, &[numbers.as_flattened(), job.as_bytes()])
    }
}

fn read_marker(bytes: &[u8]) -> Result<Erasure, StoreError> {
    let (offset, rest) = value::read_number(Space::Erasures, bytes)?;
    let (received_us, job) = value::read_number(Space::Erasures, rest)?;
    let job = Uuid::from_slice(job).map_err(|e| undecodable(Space::Erasures, e))?;
    Ok(Erasure { job, offset: offset.cast_unsigned(), received_us })
}

/// The heads that a commit changes. A marker changes one twice, or three times: it is put when all
/// is decided.
#[derive(Default)]
pub(super) struct Heads(HashMap<Vec<u8>, Head>);

impl Heads {
    /// Makes everything of a user's topic dead that is stamped at or below `stamp`.
    pub(super) fn erase(
        &mut self,
        draft: &Draft<'_>,
        stamp: Stamp,
        user: &UserKey,
        topic: Topic,
    ) -> Result<(), StoreError> {
        let head = self.head(draft, user, topic)?;
        head.stamp = head.stamp.max(stamp);
        Ok(())
    }

    /// Remembers a marker.
    pub(super) fn remember(
        &mut self,
        draft: &mut Draft<'_>,
        stamp: Stamp,
        user: &UserKey,
        topic: Topic,
        erasure: &Erasure,
    ) -> Result<(), StoreError> {
        let head = self.head(draft, user, topic)?;
        let (newest, older) = match head.newest.take() {
            Some(known) if known.offset > erasure.offset => (known, Some(erasure.clone())),
            Some(known) if known.offset < erasure.offset => (erasure.clone(), Some(known)),
            _ => (erasure.clone(), None),
        };
        head.newest = Some(newest);
        if let Some(older) = older {
            let key = key::erasure(user, topic, older.offset).finish()?;
            draft.put(Space::Erasures, key, value::stamped(stamp, &[&value::json(&older)?]));
        }
        Ok(())
    }

    /// The stamp at or below which everything of a user's topic is dead.
    pub(super) fn stamp_of(
        &self,
        draft: &Draft<'_>,
        user: &UserKey,
        topic: Topic,
    ) -> Result<Stamp, StoreError> {
        let key = key::erased(user, topic).finish()?;
        let known = self.0.get(&key).map(|head| head.stamp);
        known.map_or_else(|| Ok(read(draft, &key)?.stamp), Ok)
    }

    pub(super) fn put(self, draft: &mut Draft<'_>) {
        for (key, head) in self.0 {
            draft.put(Space::Erasures, key, head.value());
        }
    }

    fn head(
        &mut self,
        draft: &Draft<'_>,
        user: &UserKey,
        topic: Topic,
    ) -> Result<&mut Head, StoreError> {
        match self.0.entry(key::erased(user, topic).finish()?) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let head = read(draft, vacant.key())?;
                Ok(vacant.insert(head))
            }
        }
    }
}

fn read(draft: &Draft<'_>, key: &[u8]) -> Result<Head, StoreError> {
    let stored = draft.get(Space::Erasures, key)?;
    stored.map_or(Ok(Head { stamp: NEVER, newest: None }), |value| Head::read(&value))
}
