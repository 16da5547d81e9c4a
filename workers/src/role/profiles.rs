//! Profiles: properties merged one by one.

use std::collections::HashMap;

use bytes::Bytes;
use millrace_schema::record::{Body, Profile, Record};
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::{Cells, Change, ProfileRow, Store, StoreError};

use super::{CACHED_ROWS, Effects, Role, foreign, marked_user};
use crate::arrival::{Arrival, Place};
use crate::merge::{members, merge};

#[derive(Default)]
pub(crate) struct Profiles {
    rows: HashMap<UserKey, Option<ProfileRow>>,
}

impl Profiles {
    fn merge(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        profile: &Profile<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, String> {
        let sent = profile.properties.as_deref().map(members).transpose();
        let sent = sent.map_err(|e| format!("properties: {e}"))?.unwrap_or_default();
        let user = UserKey::new(&*record.project, &*profile.user);
        let row = self.rows.entry(user.clone()).or_default();
        let is_new = row.is_none();
        let received_us = record.received_us;
        let row = row.get_or_insert_with(|| ProfileRow {
            stamp: place.stamp(),
            created_us: received_us,
            updated_us: received_us,
            cells: Cells::new(),
        });
        let cells = merge(&mut row.cells, sent, place.version(profile.time_us, received_us));
        if is_new || !cells.is_empty() {
            row.stamp = place.stamp();
            row.updated_us = row.updated_us.max(received_us);
            let (created_us, updated_us) = (row.created_us, row.updated_us);
            effects.write(place, Change::PutProfile { user, created_us, updated_us, cells });
        }
        Ok(Outcome::Merged)
    }
}

impl Role for Profiles {
    async fn load(&mut self, store: &dyn Store, batch: &[Arrival<'_>]) -> Result<(), StoreError> {
        if self.rows.len() > CACHED_ROWS {
            self.rows.clear();
        }
        let user = |arrival: &Arrival<'_>| {
            let record = arrival.record.as_ref().ok()?;
            let Body::Profile(profile) = &record.body else { return None };
            Some(UserKey::new(&*record.project, &*profile.user))
        };
        let mut unknown: Vec<UserKey> = batch.iter().filter_map(user).collect();
        unknown.retain(|user| !self.rows.contains_key(user));
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        let rows = store.profiles(unknown.clone()).await?;
        self.rows.extend(unknown.into_iter().zip(rows));
        Ok(())
    }

    fn apply(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        _value: &Bytes,
        effects: &mut Effects,
    ) -> Result<Outcome, String> {
        match &record.body {
            Body::Profile(profile) => self.merge(place, record, profile, effects),
            Body::Marker(marker) => {
                let user = marked_user(record, marker);
                // Not kept if it was not: a million erased users would push out those in use.
                if let Some(row) = self.rows.get_mut(&user) {
                    *row = None;
                }
                let received_us = record.received_us;
                effects.remember(place, Topic::Profiles, user.clone(), marker.job, received_us);
                effects.write(place, Change::EraseProfile { user });
                Ok(Outcome::Erased)
            }
            _ => Err(foreign(record)),
        }
    }

    fn forget(&mut self) {
        self.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use millrace_schema::record::Marker;
    use millrace_store::Stamp;
    use uuid::Uuid;

    use super::*;

    fn profile<'a>(time_us: Option<i64>, properties: Option<&'a str>) -> Record<'a> {
        let properties = properties.map(Into::into);
        let body = Body::Profile(Profile { user: "u".into(), time_us, properties });
        Record { project: "p".into(), received_us: 100, body }
    }

    fn apply(role: &mut Profiles, offset: u64, record: &Record<'_>) -> Vec<Change> {
        let place = Place { offset, base: Stamp(1), time_us: 100, detour: None };
        let mut effects = Effects::default();
        role.apply(&place, record, &Bytes::new(), &mut effects).unwrap();
        effects.writes.into_iter().map(|write| write.change).collect()
    }

    fn put(changes: &[Change]) -> Option<Vec<(&str, Option<&str>)>> {
        changes.iter().find_map(|change| match change {
            Change::PutProfile { cells, .. } => Some(
                cells.iter().map(|(name, cell)| (name.as_str(), cell.value.as_deref())).collect(),
            ),
            _ => None,
        })
    }

    #[test]
    fn a_profile_without_properties_registers_the_user_once() {
        let mut role = Profiles::default();
        assert_eq!(put(&apply(&mut role, 0, &profile(None, None))), Some(vec![]));
        assert!(apply(&mut role, 1, &profile(None, None)).is_empty());
    }

    #[test]
    fn only_the_properties_that_change_are_written() {
        let mut role = Profiles::default();
        apply(&mut role, 0, &profile(Some(10), Some(r#"{"a":1,"b":2}"#)));
        let changes = apply(&mut role, 1, &profile(Some(5), Some(r#"{"a":9,"c":null}"#)));
        assert_eq!(put(&changes), Some(vec![("c", None)]));
    }

    #[test]
    fn after_a_marker_an_older_time_is_as_good_as_any() {
        let mut role = Profiles::default();
        apply(&mut role, 0, &profile(Some(10), Some(r#"{"a":1}"#)));
        let marker = Body::Marker(Marker { user: "u".into(), job: Uuid::nil() });
        let marker = Record { project: "p".into(), received_us: 1, body: marker };
        let changes = apply(&mut role, 1, &marker);
        assert!(matches!(changes[1], Change::EraseProfile { .. }));
        let changes = apply(&mut role, 2, &profile(Some(5), Some(r#"{"a":2}"#)));
        assert_eq!(put(&changes), Some(vec![("a", Some("2"))]));
    }

    #[test]
    fn properties_that_are_no_object_can_never_be_stored() {
        let mut role = Profiles::default();
        let place = Place { offset: 0, base: Stamp(1), time_us: 0, detour: None };
        let record = profile(None, Some("[1]"));
        let refused = role.apply(&place, &record, &Bytes::new(), &mut Effects::default());
        assert!(refused.unwrap_err().starts_with("properties"));
    }
}
