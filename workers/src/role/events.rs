//! Events: stored once under (user, time, id).

use std::collections::HashMap;

use bytes::Bytes;
use millrace_schema::id::time_of_id_us;
use millrace_schema::record::{Body, Event, Record};
use millrace_schema::time::{Micros, wall_clock_us};
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::{Change, Store, StoreError};

use super::{Effects, Role, foreign, marked_user};
use crate::arrival::{Arrival, Place};

pub(crate) struct Events {
    retention_us: i64,
    /// The times under which the batch's bare ids are stored, by user.
    times: HashMap<UserKey, HashMap<String, Option<Micros>>>,
}

impl Events {
    pub(crate) fn new(retention_us: i64) -> Self {
        Self { retention_us, times: HashMap::new() }
    }

    fn store(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        event: &Event<'_>,
        value: &Bytes,
        effects: &mut Effects,
    ) -> Outcome {
        let expires_us = record.received_us.saturating_add(self.retention_us);
        if expires_us <= wall_clock_us() {
            return Outcome::Expired;
        }
        let user = UserKey::new(&*record.project, &*event.user);
        let id = event.id.clone().into_owned();
        let (time_us, outcome) = match own_time_us(event, record.received_us) {
            Some(time_us) => (time_us, Outcome::Stored),
            None => {
                // Written anew even if it is known: what comes later replaces it, and a replay
                // meets a store that may have forgotten it.
                let of_user = self.times.entry(user.clone()).or_default();
                let known = of_user.entry(id.clone()).or_default();
                let time_us = *known.get_or_insert(record.received_us);
                let (user, id) = (user.clone(), id.clone());
                effects.write(place, Change::PutEventTime { user, id, time_us, expires_us });
                let is_first = time_us == record.received_us;
                (time_us, if is_first { Outcome::Stored } else { Outcome::Duplicate })
            }
        };
        let payload = value.clone();
        effects.write(place, Change::PutEvent { user, time_us, id, payload, expires_us });
        outcome
    }
}

/// The time that the record says of itself; without one, its id alone is its identity.
fn own_time_us(event: &Event<'_>, received_us: Micros) -> Option<Micros> {
    event.time_us.or_else(|| time_of_id_us(&event.id, received_us))
}

impl Role for Events {
    async fn load(&mut self, store: &dyn Store, batch: &[Arrival<'_>]) -> Result<(), StoreError> {
        self.times.clear();
        let bare_id = |arrival: &Arrival<'_>| {
            let record = arrival.record.as_ref().ok()?;
            let Body::Event(event) = &record.body else { return None };
            let user = || UserKey::new(&*record.project, &*event.user);
            let bare = own_time_us(event, record.received_us).is_none();
            bare.then(|| (user(), event.id.clone().into_owned()))
        };
        let ids: Vec<(UserKey, String)> = batch.iter().filter_map(bare_id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let times = store.event_times(ids.clone()).await?;
        for ((user, id), time_us) in ids.into_iter().zip(times) {
            self.times.entry(user).or_default().insert(id, time_us);
        }
        Ok(())
    }

    fn apply(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        value: &Bytes,
        effects: &mut Effects,
    ) -> Result<Outcome, String> {
        match &record.body {
            Body::Event(event) => Ok(self.store(place, record, event, value, effects)),
            Body::Marker(marker) => {
                let user = marked_user(record, marker);
                self.times.remove(&user);
                let received_us = record.received_us;
                effects.remember(place, Topic::Events, user.clone(), marker.job, received_us);
                effects.write(place, Change::EraseEvents { user });
                Ok(Outcome::Erased)
            }
            Body::Refused(refused) => Err(refused.reason.clone().into_owned()),
            _ => Err(foreign(record)),
        }
    }

    fn forget(&mut self) {
        self.times.clear();
    }
}

#[cfg(test)]
mod tests {
    use millrace_schema::id::new_id;
    use millrace_schema::record::Marker;
    use millrace_store::Stamp;
    use uuid::Uuid;

    use super::*;

    fn event<'a>(id: &'a str, time_us: Option<i64>, received_us: i64) -> Record<'a> {
        let (properties, extra) = (None, None);
        let event =
            Event { user: "u".into(), id: id.into(), name: "n".into(), time_us, properties, extra };
        Record { project: "p".into(), received_us, body: Body::Event(event) }
    }

    fn apply(role: &mut Events, offset: u64, record: &Record<'_>) -> (Outcome, Vec<Change>) {
        let place = Place { offset, base: Stamp(1), time_us: 0, detour: None };
        let mut effects = Effects::default();
        let outcome = role.apply(&place, record, &Bytes::new(), &mut effects).unwrap();
        (outcome, effects.writes.into_iter().map(|write| write.change).collect())
    }

    fn times(changes: &[Change]) -> Vec<i64> {
        let time = |change: &Change| match change {
            Change::PutEvent { time_us, .. } => Some(*time_us),
            _ => None,
        };
        changes.iter().filter_map(time).collect()
    }

    #[test]
    fn an_id_with_a_timestamp_is_written_under_it_however_often_it_comes() {
        let now = wall_clock_us();
        let mut role = Events::new(i64::MAX / 4);
        for offset in 0..2 {
            let (outcome, changes) = apply(&mut role, offset, &event("a", Some(7), now));
            assert_eq!((outcome, times(&changes)), (Outcome::Stored, vec![7]));
        }
    }

    #[test]
    fn a_bare_id_keeps_its_first_time_and_is_replaced_under_it() {
        let now = wall_clock_us();
        let mut role = Events::new(i64::MAX / 4);
        for (offset, received_us, expected) in
            [(0, now, Outcome::Stored), (1, now + 1, Outcome::Duplicate), (0, now, Outcome::Stored)]
        {
            let (outcome, changes) = apply(&mut role, offset, &event("a", None, received_us));
            assert_eq!((outcome, times(&changes)), (expected, vec![now]));
        }
    }

    #[test]
    fn a_uuid_v7_without_a_timestamp_is_written_under_its_own_time() {
        let now = wall_clock_us();
        let id = new_id(now - 5_000_000).to_string();
        let mut role = Events::new(i64::MAX / 4);
        let (_, changes) = apply(&mut role, 0, &event(&id, None, now));
        assert_eq!(times(&changes), vec![(now - 5_000_000) / 1_000 * 1_000]);
        assert_eq!(changes.len(), 1, "no lookup row is needed");
    }

    #[test]
    fn after_a_marker_the_id_is_free_again() {
        let now = wall_clock_us();
        let mut role = Events::new(i64::MAX / 4);
        apply(&mut role, 0, &event("a", None, now));
        let marker = Marker { user: "u".into(), job: Uuid::nil() };
        let body = Body::Marker(marker);
        let marker = Record { project: "p".into(), received_us: now, body };
        assert_eq!(apply(&mut role, 1, &marker).0, Outcome::Erased);
        assert_eq!(apply(&mut role, 2, &event("a", None, now + 1)).0, Outcome::Stored);
    }

    #[test]
    fn an_event_whose_retention_is_over_is_not_written() {
        let mut role = Events::new(1_000);
        let (outcome, changes) = apply(&mut role, 0, &event("a", Some(7), 1));
        assert_eq!((outcome, changes.len()), (Outcome::Expired, 0));
    }
}
