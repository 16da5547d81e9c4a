//! `GET /v1/api/users/{user_id}/devices`: the devices that belong to a user now.

use std::collections::BTreeMap;

use hyper::StatusCode;
use millrace_schema::time::format_us;
use millrace_store::{Claim, DeviceRow};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{raw, user_of};
use crate::context::Context;
use crate::error::ApiError;
use crate::response::{Response, json};

/// What the names of cells that hold properties begin with.
const PROPERTIES: &str = "properties.";

#[derive(Serialize)]
struct Page<'a> {
    devices: Vec<Device<'a>>,
}

#[derive(Serialize)]
struct Device<'a> {
    device_id: &'a str,
    #[serde(flatten)]
    fields: BTreeMap<&'a str, &'a RawValue>,
    properties: BTreeMap<&'a str, &'a RawValue>,
    updated_at: String,
}

/// A user's devices, by id. A row whose device has moved away or was unlinked stays with the
/// user, to be erased with it, but is not shown.
///
/// # Errors
/// The store is away.
pub(crate) async fn devices(
    ctx: &Context,
    project: &str,
    segment: &str,
) -> Result<Response, ApiError> {
    let key = user_of(project, segment)?;
    let user = key.user.clone();
    let devices = ctx.parts.store.devices(vec![key]).await?.pop().unwrap_or_default();
    let ids = devices.rows.keys().cloned().collect();
    let claims = ctx.parts.store.claims(project, ids).await?;
    Ok(json(StatusCode::OK, &page(&user, &devices.rows, &claims)?))
}

/// The rows whose device belongs to the user; `claims` are in the order of the rows.
fn page<'a>(
    user: &str,
    rows: &'a BTreeMap<String, DeviceRow>,
    claims: &[Vec<Claim>],
) -> Result<Page<'a>, ApiError> {
    let own = rows.iter().zip(claims).filter(|(_, claims)| Claim::owner(claims) == Some(user));
    let devices = own.map(|((device_id, row), _)| shape(device_id, row));
    Ok(Page { devices: devices.collect::<Result<_, _>>()? })
}

fn shape<'a>(device_id: &'a str, row: &'a DeviceRow) -> Result<Device<'a>, ApiError> {
    let (mut fields, mut properties) = (BTreeMap::new(), BTreeMap::new());
    for (name, cell) in &row.cells {
        let Some(text) = &cell.value else {
            continue;
        };
        match name.strip_prefix(PROPERTIES) {
            Some(name) => properties.insert(name, raw(text)?),
            None => fields.insert(name.as_str(), raw(text)?),
        };
    }
    Ok(Device { device_id, fields, properties, updated_at: format_us(row.updated_us) })
}

#[cfg(test)]
mod tests {
    use millrace_store::{Cell, Stamp, Version};

    use super::*;

    fn linked(holder: Option<&str>, time_us: i64) -> Claim {
        let linked = Some(Version { time_us, stamp: Stamp(1) });
        Claim { holder: holder.map(str::to_owned), linked, received_us: 0, unlinked: None }
    }

    fn row(cells: &[(&str, Option<&str>)]) -> DeviceRow {
        let cell = |value: Option<&str>| Cell {
            version: Version { time_us: 1, stamp: Stamp(1) },
            value: value.map(str::to_owned),
        };
        let cells = cells.iter().map(|(name, value)| ((*name).to_owned(), cell(*value)));
        DeviceRow { updated_us: 1_737_092_362_000_000, cells: cells.collect() }
    }

    #[test]
    fn own_fields_stand_at_the_top_and_properties_below() {
        let rows = BTreeMap::from([(
            "gaid:1".to_owned(),
            row(&[
                ("platform", Some(r#""android""#)),
                ("properties.battery_level", Some("0.80")),
                ("properties.carrier", None),
                ("properties.properties.x", Some("null")),
                ("token", None),
            ]),
        )]);
        let page = page("u", &rows, &[vec![linked(Some("u"), 1)]]).unwrap();
        assert_eq!(
            serde_json::to_string(&page).unwrap(),
            concat!(
                r#"{"devices":[{"device_id":"gaid:1","platform":"android","#,
                r#""properties":{"battery_level":0.80,"properties.x":null},"#,
                r#""updated_at":"2025-01-17T05:39:22Z"}]}"#,
            )
        );
    }

    #[test]
    fn devices_that_moved_away_are_not_shown() {
        let ids = ["kept", "moved", "unclaimed", "unlinked"];
        let rows = BTreeMap::from(ids.map(|id| (id.to_owned(), row(&[]))));
        let claims = [
            vec![linked(Some("u"), 2), linked(Some("other"), 1)],
            vec![linked(Some("u"), 1), linked(Some("other"), 2)],
            vec![],
            vec![linked(Some("u"), 1), linked(None, 2)],
        ];
        let page = page("u", &rows, &claims).unwrap();
        let shown: Vec<&str> = page.devices.iter().map(|device| device.device_id).collect();
        assert_eq!(shown, ["kept"]);
    }
}
