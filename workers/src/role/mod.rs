//! What a record changes, per topic: plain functions from (record, state) to writes.
//!
//! A role's state is what it has read for the records at hand, kept up to date with what it has
//! decided since; it is dropped whenever the partition begins anew.

use bytes::Bytes;
use millrace_schema::record::{Marker, Record};
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::{Change, Erasure, Store, StoreError, Write};

use crate::arrival::{Arrival, Place};

pub(crate) mod deletions;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod profiles;

/// The rows that a role keeps in memory, at most.
const CACHED_ROWS: usize = 2_000;

/// What a topic's worker knows how to do.
pub(crate) trait Role: Send {
    /// Reads what the batch needs to be decided.
    fn load(
        &mut self,
        store: &dyn Store,
        batch: &[Arrival<'_>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Decides what one record changes. An error is the reason why it can never be stored.
    fn apply(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        value: &Bytes,
        effects: &mut Effects,
    ) -> Result<Outcome, String>;

    /// Drops all state.
    fn forget(&mut self);
}

/// What the records of a batch cause.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Writes of the first step, in order.
    pub(crate) writes: Vec<Write>,
    /// Writes that must wait until the first step has settled: a list goes after what it lists. By
    /// the offset of their marker.
    pub(crate) after_settling: Vec<(u64, Write)>,
}

impl Effects {
    /// How many there are.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.writes.len(), self.after_settling.len())
    }

    /// Takes back what came since there were so many.
    pub(crate) fn truncate(&mut self, (writes, after_settling): (usize, usize)) {
        self.writes.truncate(writes);
        self.after_settling.truncate(after_settling);
    }

    fn write_after_settling(&mut self, place: &Place, change: Change) {
        self.after_settling.push((place.offset, Write { stamp: place.stamp(), change }));
    }

    fn write(&mut self, place: &Place, change: Change) {
        self.writes.push(Write { stamp: place.stamp(), change });
    }

    /// Remembers a marker, for records that come by a detour.
    fn remember(
        &mut self,
        place: &Place,
        topic: Topic,
        user: UserKey,
        job: uuid::Uuid,
        received_us: i64,
    ) {
        let erasure = Erasure { job, offset: place.offset, received_us };
        self.write(place, Change::PutErasure { user, topic, erasure });
    }
}

fn marked_user(record: &Record<'_>, marker: &Marker<'_>) -> UserKey {
    UserKey::new(&*record.project, &*marker.user)
}

fn foreign(record: &Record<'_>) -> String {
    format!("a record of kind {:?} has no place here", record.body.kind())
}
