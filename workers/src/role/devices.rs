//! Devices: rows by user, and claims about who owns which.
//!
//! Each user's partition writes that user's claims only, so nothing is written by two. The owner is
//! found by readers: the holder of the latest link, unless that holder's unlink is later.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use millrace_schema::record::{Body, Device, Record};
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::{
    Cells, Change, Claim, DeviceRow, Devices as Rows, Store, StoreError, Version,
};

use super::{CACHED_ROWS, Effects, Role, foreign, marked_user};
use crate::arrival::{Arrival, Place};
use crate::merge::{members, merge};

/// A device of a project.
type DeviceKey = (String, String);

#[derive(Default)]
pub(crate) struct Devices {
    rows: HashMap<UserKey, Rows>,
    /// All claims by device; of those, only the ones of this partition's users are kept up to date.
    claims: HashMap<DeviceKey, Vec<Claim>>,
    /// Whether users were erased whose claims may still be in `claims`.
    has_dead_claims: bool,
}

impl Devices {
    fn merge(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        device: &Device<'_>,
        effects: &mut Effects,
    ) -> Result<Outcome, String> {
        let version = place.version(device.time_us, record.received_us);
        if let Some(user) = &device.user {
            let user = UserKey::new(&*record.project, &**user);
            self.merge_row(place, record, device, user, version, effects)?;
        }
        self.merge_claim(place, record, device, version, effects);
        Ok(Outcome::Merged)
    }

    fn merge_row(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        device: &Device<'_>,
        user: UserKey,
        version: Version,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let sent = sent_cells(device)?;
        let rows = &mut self.rows.entry(user.clone()).or_default().rows;
        let device_id = device.device_id.clone().into_owned();
        let is_new = !rows.contains_key(&device_id);
        let received_us = record.received_us;
        let row = rows
            .entry(device_id.clone())
            .or_insert_with(|| DeviceRow { updated_us: received_us, cells: Cells::new() });
        let cells = merge(&mut row.cells, sent, version);
        if is_new || !cells.is_empty() {
            row.updated_us = row.updated_us.max(received_us);
            let updated_us = row.updated_us;
            effects.write(place, Change::PutDevice { user, device_id, updated_us, cells });
        }
        Ok(())
    }

    fn merge_claim(
        &mut self,
        place: &Place,
        record: &Record<'_>,
        device: &Device<'_>,
        version: Version,
        effects: &mut Effects,
    ) {
        let project = record.project.clone().into_owned();
        let device_id = device.device_id.clone().into_owned();
        let claims = self.claims.entry((project.clone(), device_id.clone())).or_default();
        let holder = device.user.as_deref();
        let known = claims.iter().position(|claim| claim.holder.as_deref() == holder);
        let holder = holder.map(str::to_owned);
        let mut claim = match known {
            Some(at) => claims.swap_remove(at),
            None => Claim { holder, linked: None, received_us: 0, unlinked: None },
        };
        // Nobody's claim is a link to nobody: it ends every earlier one.
        let unlinks = device.unlink && claim.holder.is_some();
        let decided = if unlinks { &mut claim.unlinked } else { &mut claim.linked };
        if decided.is_none_or(|known| known <= version) {
            *decided = Some(version);
            if !unlinks {
                claim.received_us = record.received_us;
            }
            let claim = claim.clone();
            effects.write(place, Change::PutClaim { project, device_id, claim });
        }
        claims.push(claim);
    }

    /// First the claims that the rows lead to; the rows themselves only when that has settled, so
    /// that a crash in between finds them again. Until then the end of life hides them.
    fn erase(&mut self, place: &Place, user: UserKey, effects: &mut Effects) {
        effects.write(place, Change::EndLife { user: user.clone() });
        // Not kept as empty: the rows of a million erased users would push out those in use.
        let known = self.rows.remove(&user).unwrap_or_else(|| {
            self.has_dead_claims = true;
            Rows::default()
        });
        for device_id in known.rows.into_keys().chain(known.hidden) {
            let key = (user.project.clone(), device_id);
            if let Some(claims) = self.claims.get_mut(&key) {
                claims.retain(|claim| claim.holder.as_ref() != Some(&user.user));
            }
            let (user, device_id) = (user.clone(), key.1);
            effects.write(place, Change::EraseClaim { user, device_id });
        }
        effects.write_after_settling(place, Change::EraseDevices { user });
    }
}

/// What a device record sends: own fields by their name, properties as `properties.{name}`.
fn sent_cells(device: &Device<'_>) -> Result<BTreeMap<String, Option<String>>, String> {
    let properties = device.properties.as_deref().map(members).transpose();
    let properties = properties.map_err(|e| format!("properties: {e}"))?.unwrap_or_default();
    let named = |(name, value)| (format!("properties.{name}"), value);
    let mut cells: BTreeMap<_, _> = properties.into_iter().map(named).collect();
    for (name, text) in &device.fields {
        let text = serde_json::to_string(text).map_err(|e| format!("{name}: {e}"))?;
        cells.insert(name.clone().into_owned(), Some(text));
    }
    Ok(cells)
}

impl Role for Devices {
    async fn load(&mut self, store: &dyn Store, batch: &[Arrival<'_>]) -> Result<(), StoreError> {
        if self.rows.len() > CACHED_ROWS || self.claims.len() > CACHED_ROWS {
            self.forget();
        }
        if std::mem::take(&mut self.has_dead_claims) {
            self.claims.clear();
        }
        let erases_by_rows = !store.life_ends_claims();
        let mut users = Vec::new();
        let mut devices: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in batch.iter().filter_map(|arrival| arrival.record.as_ref().ok()) {
            // Who is erased and does nothing else in this batch is read only to find their claims.
            if erases_by_rows || !matches!(record.body, Body::Marker(_)) {
                users.extend(record.body.user().map(|user| UserKey::new(&*record.project, user)));
            }
            if let Body::Device(device) = &record.body {
                let key = (record.project.clone().into_owned(), device.device_id.clone().into());
                if !self.claims.contains_key(&key) {
                    devices.entry(key.0).or_default().push(key.1);
                }
            }
        }
        users.retain(|user| !self.rows.contains_key(user));
        users.sort_unstable();
        users.dedup();
        if !users.is_empty() {
            let rows = store.devices(users.clone()).await?;
            self.rows.extend(users.into_iter().zip(rows));
        }
        for (project, mut device_ids) in devices {
            device_ids.sort_unstable();
            device_ids.dedup();
            let claims = store.claims(&project, device_ids.clone()).await?;
            let keys = device_ids.into_iter().map(|device_id| (project.clone(), device_id));
            self.claims.extend(keys.zip(claims));
        }
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
            Body::Device(device) => self.merge(place, record, device, effects),
            Body::Marker(marker) => {
                let user = marked_user(record, marker);
                let received_us = record.received_us;
                effects.remember(place, Topic::Devices, user.clone(), marker.job, received_us);
                self.erase(place, user, effects);
                Ok(Outcome::Erased)
            }
            _ => Err(foreign(record)),
        }
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use millrace_schema::record::Marker;
    use millrace_store::{Stamp, Write};
    use uuid::Uuid;

    use super::*;

    fn device<'a>(user: Option<&'a str>, time_us: i64, unlink: bool) -> Record<'a> {
        let body = Body::Device(Device {
            user: user.map(Into::into),
            device_id: "gaid:1".into(),
            time_us: Some(time_us),
            fields: vec![("platform".into(), "android".into())],
            properties: Some(r#"{"os":"14"}"#.into()),
            unlink,
        });
        Record { project: "p".into(), received_us: 100, body }
    }

    fn apply(role: &mut Devices, offset: u64, record: &Record<'_>) -> Effects {
        let place = Place { offset, base: Stamp(1), time_us: 100, detour: None };
        let mut effects = Effects::default();
        role.apply(&place, record, &Bytes::new(), &mut effects).unwrap();
        effects
    }

    fn claim(effects: &Effects) -> Option<&Claim> {
        effects.writes.iter().find_map(|write| match &write.change {
            Change::PutClaim { claim, .. } => Some(claim),
            _ => None,
        })
    }

    #[test]
    fn a_device_brings_a_row_and_a_claim_of_its_user() {
        let effects = apply(&mut Devices::default(), 0, &device(Some("u"), 5, false));
        let names: Vec<&str> = effects
            .writes
            .iter()
            .filter_map(|write| match &write.change {
                Change::PutDevice { cells, .. } => Some(cells.keys().map(String::as_str)),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(names, ["platform", "properties.os"]);
        assert_eq!(claim(&effects).unwrap().holder.as_deref(), Some("u"));
    }

    #[test]
    fn an_unlink_keeps_the_time_of_the_link() {
        let mut role = Devices::default();
        apply(&mut role, 0, &device(Some("u"), 5, false));
        let effects = apply(&mut role, 1, &device(Some("u"), 9, true));
        let claim = claim(&effects).unwrap();
        assert_eq!(claim.linked.unwrap().time_us, 5);
        assert_eq!(claim.unlinked.unwrap().time_us, 9);
    }

    #[test]
    fn an_older_link_changes_no_claim() {
        let mut role = Devices::default();
        apply(&mut role, 0, &device(Some("u"), 5, false));
        assert_eq!(claim(&apply(&mut role, 1, &device(Some("u"), 4, false))), None);
    }

    #[test]
    fn unlinking_without_a_user_is_a_link_to_nobody_and_leaves_no_row() {
        let effects = apply(&mut Devices::default(), 0, &device(None, 5, true));
        assert_eq!(effects.writes.len(), 1);
        let claim = claim(&effects).unwrap();
        assert_eq!((claim.holder.as_deref(), claim.unlinked), (None, None));
        assert_eq!(claim.linked.unwrap().time_us, 5);
    }

    #[test]
    fn a_marker_erases_claims_at_once_and_rows_after_settling() {
        let mut role = Devices::default();
        apply(&mut role, 0, &device(Some("u"), 5, false));
        let marker = Body::Marker(Marker { user: "u".into(), job: Uuid::nil() });
        let marker = Record { project: "p".into(), received_us: 1, body: marker };
        let effects = apply(&mut role, 1, &marker);
        let changes: Vec<&Change> = effects.writes.iter().map(|write| &write.change).collect();
        assert!(matches!(changes[1], Change::EndLife { .. }));
        assert!(matches!(changes[2], Change::EraseClaim { .. }));
        let second = &effects.after_settling[..];
        let [(1, Write { change: Change::EraseDevices { .. }, stamp: Stamp(2) })] = second else {
            panic!("{second:?}");
        };
        let effects = apply(&mut role, 2, &device(Some("u"), 1, false));
        assert_eq!(claim(&effects).unwrap().linked.unwrap().time_us, 1, "a new life");
    }

    #[test]
    fn an_erasure_that_was_cut_short_still_finds_the_claims() {
        let mut role = Devices::default();
        let hidden = vec!["gaid:1".to_owned()];
        role.rows.insert(UserKey::new("p", "u"), Rows { hidden, ..Rows::default() });
        let marker = Body::Marker(Marker { user: "u".into(), job: Uuid::nil() });
        let marker = Record { project: "p".into(), received_us: 1, body: marker };
        let effects = apply(&mut role, 1, &marker);
        assert!(
            matches!(&effects.writes[2].change, Change::EraseClaim { device_id, .. } if device_id == "gaid:1")
        );
    }

    #[tokio::test]
    async fn of_who_is_erased_unread_no_claim_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let store = millrace_store::embedded::EmbeddedStore::open(dir.path(), Default::default());
        let (store, mut role) = (store.unwrap(), Devices::default());
        apply(&mut role, 0, &device(Some("u"), 200, false));
        role.rows.clear();
        let marker = Body::Marker(Marker { user: "u".into(), job: Uuid::nil() });
        apply(&mut role, 1, &Record { project: "p".into(), received_us: 1, body: marker });
        role.load(&store, &[]).await.unwrap();
        let effects = apply(&mut role, 2, &device(Some("u"), 1, false));
        assert_eq!(claim(&effects).unwrap().linked.unwrap().time_us, 1, "a new life");
    }
}
