//! Reading users' rows: profiles, devices, claims, the times of ids, markers.

use millrace_schema::{Topic, UserKey};
use uuid::Uuid;

use super::connection::Connection;
use super::together::Place;
use super::value::{key, read_json, values};
use super::write::user_of;
use crate::{Cells, Claim, DeviceRow, Devices, Erasure, ProfileRow, Stamp, StoreError};

/// The user, created_us, updated_us and its stamp, name, cell. Without a property there is a row
/// without a name.
type ProfileLine = (String, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<String>);

/// The user, life, device, name, updated_us and its stamp, cell and its stamp. With a life alone
/// there is a row without a device.
type DeviceLine = (
    String,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<i64>,
);

/// The device, a claim.
type ClaimRow = (String, Option<String>);

impl Connection {
    pub(super) async fn profiles(
        &self,
        users: &[UserKey],
    ) -> Result<Vec<Option<ProfileRow>>, StoreError> {
        let read = &self.statements.profiles;
        let lines =
            self.rows_of_places::<ProfileLine>(read, &places(users), |line| &line.0).await?;
        lines.into_iter().map(profile).collect()
    }

    pub(super) async fn devices(&self, users: &[UserKey]) -> Result<Vec<Devices>, StoreError> {
        let read = &self.statements.devices;
        let lines = self.rows_of_places::<DeviceLine>(read, &places(users), |line| &line.0).await?;
        lines.into_iter().map(devices).collect()
    }

    pub(super) async fn claims(
        &self,
        project: &str,
        device_ids: &[String],
    ) -> Result<Vec<Vec<Claim>>, StoreError> {
        let places: Vec<_> = device_ids.iter().map(|device| (project, device.as_str())).collect();
        let read = &self.statements.claims;
        let rows = self.rows_of_places::<ClaimRow>(read, &places, |row| &row.0).await?;
        let claims = |rows: Vec<ClaimRow>| {
            let texts = rows.into_iter().filter_map(|(_, text)| text);
            texts.map(|text| read_json("claims", &text)).collect()
        };
        rows.into_iter().map(claims).collect()
    }

    pub(super) async fn event_times(
        &self,
        ids: &[(UserKey, String)],
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let mut each = Vec::with_capacity(ids.len());
        for (user, id) in ids {
            let (project, user) = user_of(user)?;
            each.push(values![project, user, key(id)?]);
        }
        let times: Vec<Vec<(Option<i64>,)>> =
            self.rows_of_each(&self.statements.event_time, each).await?;
        Ok(times.into_iter().map(|rows| rows.first().and_then(|row| row.0)).collect())
    }

    pub(super) async fn erasures(
        &self,
        user: &UserKey,
        topic: Topic,
    ) -> Result<Vec<Erasure>, StoreError> {
        let (project, id) = user_of(user)?;
        let values = values![project, id, topic.short_name()];
        let rows: Vec<(Option<Uuid>, i64, Option<i64>)> =
            self.rows(&self.statements.erasures, &values).await?;
        let erasure = |(job, offset, received_us): (Option<Uuid>, i64, Option<i64>)| {
            let offset = u64::try_from(offset).ok()?;
            Some(Erasure { job: job?, offset, received_us: received_us? })
        };
        Ok(rows.into_iter().filter_map(erasure).collect())
    }
}

fn places(users: &[UserKey]) -> Vec<Place<'_>> {
    users.iter().map(|user| (&*user.project, &*user.user)).collect()
}

fn profile(lines: Vec<ProfileLine>) -> Result<Option<ProfileRow>, StoreError> {
    // Every write of a profile writes both times, so one without them has no cells.
    let Some((_, Some(created_us), Some(updated_us), Some(stamp), ..)) = lines.first() else {
        return Ok(None);
    };
    let (created_us, updated_us, stamp) = (*created_us, *updated_us, Stamp(*stamp));
    let mut cells = Cells::new();
    for (.., name, cell) in lines {
        if let (Some(name), Some(cell)) = (name, cell) {
            cells.insert(name, read_json("profiles", &cell)?);
        }
    }
    Ok(Some(ProfileRow { stamp, created_us, updated_us, cells }))
}

fn devices(lines: Vec<DeviceLine>) -> Result<Devices, StoreError> {
    let life = lines.first().and_then(|line| line.1).map(Stamp);
    let mut devices = Devices { life, ..Devices::default() };
    let is_alive = |stamp: Option<i64>| life < stamp.map(Stamp);
    for (_, _, device, name, updated_us, updated_at, cell, cell_at) in lines {
        let (Some(device), Some(name)) = (device, name) else { continue };
        if !is_alive(updated_at.max(cell_at)) {
            devices.hidden.push(device);
            continue;
        }
        let row = devices.rows.entry(device);
        let row = row.or_insert_with(|| DeviceRow { updated_us: 0, cells: Cells::new() });
        row.updated_us = updated_us.unwrap_or(row.updated_us);
        if let Some(cell) = cell {
            row.cells.insert(name, read_json("devices", &cell)?);
        }
    }
    devices.hidden.dedup();
    devices.hidden.retain(|device| !devices.rows.contains_key(device));
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(device: &str, updated_us: i64, stamp: i64) -> DeviceLine {
        let (device, name) = (Some(device.to_owned()), Some(String::new()));
        ("u".to_owned(), Some(5), device, name, Some(updated_us), Some(stamp), None, None)
    }

    #[test]
    fn what_is_stamped_at_or_below_the_life_is_hidden_and_told_once() {
        let cell = r#"{"version":{"time_us":1,"stamp":6},"value":"1"}"#;
        let of = |device: &str, stamp| {
            let (device, name) = (Some(device.to_owned()), Some("a".to_owned()));
            ("u".to_owned(), Some(5), device, name, None, None, Some(cell.to_owned()), Some(stamp))
        };
        let lines = vec![
            head("gone", 1, 5),
            of("gone", 4),
            head("new", 2, 6),
            of("new", 6),
            head("replaced", 3, 7),
            of("replaced", 5),
        ];
        let devices = devices(lines).unwrap();
        assert_eq!((devices.life, &*devices.hidden), (Some(Stamp(5)), &["gone".to_owned()][..]));
        let cells: Vec<_> =
            devices.rows.iter().map(|(id, row)| (id.as_str(), row.cells.len())).collect();
        assert_eq!(cells, [("new", 1), ("replaced", 0)]);
    }

    #[test]
    fn a_life_alone_is_no_device() {
        let line = ("u".to_owned(), Some(5), None, None, None, None, None, None);
        let devices = devices(vec![line]).unwrap();
        assert_eq!(
            (devices.life, devices.rows.len(), devices.hidden.len()),
            (Some(Stamp(5)), 0, 0)
        );
    }

    #[test]
    fn a_profile_needs_no_property_but_its_times() {
        let row = profile(vec![("u".to_owned(), Some(1), Some(2), Some(3), None, None)])
            .unwrap()
            .unwrap();
        let (stamp, cells) = (row.stamp.0, row.cells.len());
        assert_eq!((row.created_us, row.updated_us, stamp, cells), (1, 2, 3, 0));
        assert_eq!(profile(vec![]).unwrap(), None);
        assert_eq!(profile(vec![("u".to_owned(), None, None, None, None, None)]).unwrap(), None);
    }
}
