//! What goes wrong below, in the words of [`StoreError`].

use std::fmt::Display;

use crate::StoreError;
use crate::embedded::space::Space;

/// An error of fjall. It poisons itself when a write, flush or compaction has failed, for good.
pub(super) fn failed(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Poisoned => StoreError::Stopped(
            "a write or flush has failed; check the disk and its free space".to_owned(),
        ),
        fjall::Error::Locked => {
            StoreError::Unavailable("another process has the embedded store open".to_owned())
        }
        fjall::Error::JournalRecovery(damage) => StoreError::Invalid(format!(
            "the journal of the embedded store is damaged ({damage:?}); restore the store from a \
             copy"
        )),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Bytes that are not what this version writes.
pub(super) fn undecodable(space: Space, why: impl Display) -> StoreError {
    StoreError::Invalid(format!(
        "a row of keyspace {:?} cannot be read ({why}): it was written by another version, or is \
         damaged; restore the store from a copy",
        space.name()
    ))
}
