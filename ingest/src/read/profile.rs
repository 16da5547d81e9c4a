//! `GET /v1/api/users/{user_id}`: the profile.

use std::collections::BTreeMap;

use hyper::StatusCode;
use millrace_schema::time::format_us;
use millrace_store::{Cells, ProfileRow};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{raw, user_of};
use crate::context::Context;
use crate::error::ApiError;
use crate::response::{Response, json};

#[derive(Serialize)]
struct Profile<'a> {
    user_id: &'a str,
    properties: BTreeMap<&'a str, Property<'a>>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct Property<'a> {
    value: &'a RawValue,
    timestamp: String,
}

/// A user's profile.
///
/// # Errors
/// 404 if there is none.
pub(crate) async fn profile(
    ctx: &Context,
    project: &str,
    segment: &str,
) -> Result<Response, ApiError> {
    let key = user_of(project, segment)?;
    let rows = ctx.parts.store.profiles(vec![key.clone()]).await?;
    let Some(row) = rows.into_iter().next().flatten() else {
        return Err(ApiError::NotFound("the user has no profile"));
    };
    Ok(json(StatusCode::OK, &shape(&key.user, &row)?))
}

fn shape<'a>(user_id: &'a str, row: &'a ProfileRow) -> Result<Profile<'a>, ApiError> {
    Ok(Profile {
        user_id,
        properties: properties(&row.cells)?,
        created_at: format_us(row.created_us),
        updated_at: format_us(row.updated_us),
    })
}

/// The cells that hold a value; the others are memories of removals.
fn properties(cells: &Cells) -> Result<BTreeMap<&str, Property<'_>>, ApiError> {
    let mut properties = BTreeMap::new();
    for (name, cell) in cells {
        let Some(text) = &cell.value else {
            continue;
        };
        let timestamp = format_us(cell.version.time_us);
        properties.insert(name.as_str(), Property { value: raw(text)?, timestamp });
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use millrace_store::{Cell, Stamp, Version};

    use super::*;

    #[test]
    fn values_keep_every_digit_and_removed_ones_are_not_shown() {
        let cell = |value: Option<&str>| Cell {
            version: Version { time_us: 1_737_092_362_000_000, stamp: Stamp(1) },
            value: value.map(str::to_owned),
        };
        let row = ProfileRow {
            stamp: Stamp(1),
            created_us: 1_737_092_362_123_456,
            updated_us: 1_737_092_363_000_000,
            cells: Cells::from([
                ("mkt_available_points".into(), cell(Some("123456789012345678901234567890.10"))),
                ("mkt_email_opt_in".into(), cell(Some("false"))),
                ("mkt_name".into(), cell(None)),
            ]),
        };
        assert_eq!(
            serde_json::to_string(&shape("u\"1", &row).unwrap()).unwrap(),
            concat!(
                r#"{"user_id":"u\"1","properties":{"mkt_available_points":{"value":"#,
                r#"123456789012345678901234567890.10,"timestamp":"2025-01-17T05:39:22Z"},"#,
                r#""mkt_email_opt_in":{"value":false,"timestamp":"2025-01-17T05:39:22Z"}},"#,
                r#""created_at":"2025-01-17T05:39:22.123456Z","#,
                r#""updated_at":"2025-01-17T05:39:23Z"}"#,
            )
        );
    }
}
