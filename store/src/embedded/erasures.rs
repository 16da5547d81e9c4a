//! Erasures: one row for each user and topic, with the stamp at or below which everything is dead
//! and the newest marker. Older markers have rows of their own, which hardly any user needs.

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

/// Makes everything of a user's topic dead that is stamped at or below `stamp`.
pub(super) fn erase(
    draft: &mut Draft<'_>,
    stamp: Stamp,
    user: &UserKey,
    topic: Topic,
) -> Result<(), StoreError> {
    let key = key::erased(user, topic).finish()?;
    let head = read(draft, &key)?;
    if head.stamp < stamp {
        draft.put(Space::Erasures, key, Head { stamp, ..head }.value());
    }
    Ok(())
}

/// Remembers a marker.
pub(super) fn remember(
    draft: &mut Draft<'_>,
    stamp: Stamp,
    user: &UserKey,
    topic: Topic,
    erasure: Erasure,
) -> Result<(), StoreError> {
    let key = key::erased(user, topic).finish()?;
    let head = read(draft, &key)?;
    let (newest, older) = match head.newest {
        Some(known) if known.offset > erasure.offset => (known, Some(erasure)),
        Some(known) if known.offset < erasure.offset => (erasure, Some(known)),
        _ => (erasure, None),
    };
    if let Some(older) = older {
        let key = key::erasure(user, topic, older.offset).finish()?;
        draft.put(Space::Erasures, key, value::stamped(stamp, &[&value::json(&older)?]));
    }
    draft.put(Space::Erasures, key, Head { newest: Some(newest), ..head }.value());
    Ok(())
}

fn read(draft: &Draft<'_>, key: &[u8]) -> Result<Head, StoreError> {
    let stored = draft.get(Space::Erasures, key)?;
    stored.map_or(Ok(Head { stamp: NEVER, newest: None }), |value| Head::read(&value))
}
