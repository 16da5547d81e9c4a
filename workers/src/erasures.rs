//! The erasures that decide about a batch's detoured records.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use millrace_schema::record::{Body, Record};
use millrace_schema::{Topic, UserKey};
use millrace_store::{Erasure, Store, StoreError};

use crate::arrival::{Arrival, Place};

/// By user; only of users with a detoured record in the batch, which is next to never any.
#[derive(Default)]
pub(crate) struct Erasures(HashMap<UserKey, Vec<Erasure>>);

impl Erasures {
    pub(crate) async fn load(
        store: &dyn Store,
        topic: Topic,
        batch: &[Arrival<'_>],
    ) -> Result<Self, StoreError> {
        let mut erasures = HashMap::new();
        for arrival in batch.iter().filter(|arrival| arrival.detour.is_some()) {
            let Some(user) = arrival.record.as_ref().ok().and_then(user_of) else { continue };
            if let Entry::Vacant(vacant) = erasures.entry(user) {
                let of_user = store.erasures(vacant.key().clone(), topic).await?;
                vacant.insert(of_user);
            }
        }
        Ok(Self(erasures))
    }

    /// The erasures of the record's user.
    pub(crate) fn of(&self, record: &Record<'_>) -> &[Erasure] {
        if self.0.is_empty() {
            return &[];
        }
        user_of(record).and_then(|user| self.0.get(&user)).map_or(&[], Vec::as_slice)
    }

    /// Notes a marker of this very batch.
    pub(crate) fn note(&mut self, place: &Place, record: &Record<'_>) {
        let Body::Marker(marker) = &record.body else { return };
        if self.0.is_empty() {
            return;
        }
        let of_user = user_of(record).and_then(|user| self.0.get_mut(&user));
        if let Some(erasures) = of_user {
            let (job, offset, received_us) = (marker.job, place.offset, record.received_us);
            erasures.push(Erasure { job, offset, received_us });
        }
    }
}

fn user_of(record: &Record<'_>) -> Option<UserKey> {
    Some(UserKey::new(&*record.project, record.body.user()?))
}
