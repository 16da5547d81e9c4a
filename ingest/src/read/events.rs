//! `GET /v1/api/users/{user_id}/events`: a user's events, newest first.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::StatusCode;
use millrace_schema::error::ErrorCode;
use millrace_schema::limits::{EARLIEST_US, EVENTS_PER_PAGE};
use millrace_schema::record::{Body, Event};
use millrace_schema::time::{Micros, format_us};
use millrace_schema::timestamp::{TimestampError, parse_us};
use millrace_schema::{Record, UserKey};
use millrace_store::{EventQuery, EventRow, Store};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{cursor, invalid, page_start, raw, unreadable, user_of};
use crate::context::Context;
use crate::error::ApiError;
use crate::query::Query;
use crate::response::{Response, json};

/// Events of a page where the client names no number.
const LIMIT_DEFAULT: usize = 100;

/// Events that are asked of the store at once: more than a page by default.
const EVENTS_PER_QUERY: usize = 128;
/// Bytes of a page's events, as they are stored; what is beyond comes with the next page.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Members of an answer that a client may have sent as unknown ones of its own.
const OURS: [&str; 1] = ["received_at"];

#[derive(Serialize)]
struct Page<'a> {
    events: Vec<Item<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Item<'a> {
    id: &'a str,
    name: &'a str,
    timestamp: String,
    received_at: String,
    properties: &'a RawValue,
    #[serde(flatten)]
    extra: BTreeMap<String, &'a RawValue>,
}

/// A page of a user's events.
///
/// # Errors
/// A parameter is invalid, or the store is away.
pub(crate) async fn events(
    ctx: &Context,
    project: &str,
    segment: &str,
    query: Query<'_>,
) -> Result<Response, ApiError> {
    let key = user_of(project, segment)?;
    let limit = limit(query.get("limit"))?;
    let wanted = EventQuery {
        from_us: time("from", query.get("from"))?,
        to_us: time("to", query.get("to"))?,
        before: page_start(query.get("cursor"), cursor::event)?,
        limit,
    };
    let (rows, more) = newest(&*ctx.parts.store, &key, wanted).await?;
    let records = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    Ok(json(StatusCode::OK, &page(&rows, &records, more)?))
}

/// The events of a page, and whether there are older ones.
async fn newest(
    store: &dyn Store,
    user: &UserKey,
    mut query: EventQuery,
) -> Result<(Vec<EventRow>, bool), ApiError> {
    let limit = query.limit;
    let mut rows = Vec::new();
    loop {
        // One more than is shown says whether there is a next page.
        query.limit = (limit + 1 - rows.len()).min(EVENTS_PER_QUERY);
        let found = store.events(user.clone(), query.clone()).await?;
        let is_last = found.len() < query.limit;
        rows.extend(found);
        let shown = shown(&rows, limit);
        let more = shown < rows.len();
        if is_last || more {
            rows.truncate(shown);
            return Ok((rows, more));
        }
        query.before = rows.last().map(|row| (row.time_us, row.id.clone()));
    }
}

/// How many of the rows a page has room for: at least the first.
fn shown(rows: &[EventRow], limit: usize) -> usize {
    let mut bytes = 0;
    let fit = rows.iter().take_while(|row| {
        bytes += row.payload.len();
        bytes <= PAGE_BYTES
    });
    fit.count().max(1).min(limit).min(rows.len())
}

fn limit(text: Option<Cow<'_, str>>) -> Result<usize, ApiError> {
    let limit = text.map_or(Some(LIMIT_DEFAULT), |text| text.parse().ok());
    limit.filter(|limit| (1..=EVENTS_PER_PAGE).contains(limit)).ok_or_else(|| {
        invalid("limit", format!("`limit` must be an integer from 1 to {EVENTS_PER_PAGE}"))
    })
}

fn time(parameter: &str, text: Option<Cow<'_, str>>) -> Result<Option<Micros>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    // A `+` that was not percent-encoded has become a space.
    match parse_us(&text.replace(' ', "+"), Micros::MAX) {
        Ok(time_us) => Ok(Some(time_us)),
        // No event is that early or that late, so the answer is the same.
        Err(TimestampError::TooEarly) => Ok(Some(EARLIEST_US)),
        Err(TimestampError::TooLate) => Ok(Some(Micros::MAX)),
        Err(error) => {
            let message = format!("`{parameter}` {error}");
            Err(ApiError::request(ErrorCode::InvalidTimestamp, Some(parameter), message))
        }
    }
}

fn record(row: &EventRow) -> Result<(Event<'_>, Micros), ApiError> {
    let record = Record::decode(&row.payload).map_err(|error| unreadable(&error))?;
    match record.body {
        Body::Event(event) => Ok((event, record.received_us)),
        other => {
            tracing::error!(kind = other.kind(), "an event's payload is of another kind");
            Err(ApiError::Internal)
        }
    }
}

fn page<'a>(
    rows: &'a [EventRow],
    records: &'a [(Event<'_>, Micros)],
    more: bool,
) -> Result<Page<'a>, ApiError> {
    let items = rows.iter().zip(records).map(|(row, (event, received_us))| {
        Ok(Item {
            id: &row.id,
            name: &event.name,
            timestamp: format_us(row.time_us),
            received_at: format_us(*received_us),
            properties: raw(event.properties.as_deref().unwrap_or("{}"))?,
            extra: extra(event)?,
        })
    });
    let last = rows.last().filter(|_| more);
    Ok(Page {
        events: items.collect::<Result<_, ApiError>>()?,
        next_cursor: last.map(|row| cursor::after_event(row.time_us, &row.id)),
    })
}

/// The unknown members that the event was sent with.
fn extra<'a>(event: &'a Event<'_>) -> Result<BTreeMap<String, &'a RawValue>, ApiError> {
    let Some(text) = event.extra.as_deref() else {
        return Ok(BTreeMap::new());
    };
    let mut members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    members.retain(|name, _| !OURS.contains(&name.as_str()));
    Ok(members)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_store::Stamp;

    use super::*;

    fn row(id: &str, properties: Option<&str>, extra: Option<&str>) -> EventRow {
        let event = Event {
            user: "u".into(),
            id: id.into(),
            name: "mkt_purchase".into(),
            time_us: None,
            properties: properties.map(Cow::Borrowed),
            extra: extra.map(Cow::Borrowed),
        };
        let received_us = 1_737_092_362_123_456;
        let record = Record { project: "p".into(), received_us, body: Body::Event(event) };
        let mut payload = Vec::new();
        record.encode(&mut payload);
        let payload = Bytes::from(payload);
        EventRow { time_us: 1_737_092_362_000_000, id: id.into(), stamp: Stamp(1), payload }
    }

    fn page_of(rows: &[EventRow], more: bool) -> String {
        let records = rows.iter().map(record).collect::<Result<Vec<_>, _>>().unwrap();
        serde_json::to_string(&page(rows, &records, more).unwrap()).unwrap()
    }

    #[test]
    fn an_event_comes_back_as_it_was_sent_with_its_unknown_members() {
        let properties = r#"{"mkt_revenue": 1234567890123456789012.50, "a":[ 1 ]}"#;
        let extra = r#"{"received_at":"mine","trace":{"b": 1e2}}"#;
        assert_eq!(
            page_of(&[row("é1", Some(properties), Some(extra))], false),
            concat!(
                r#"{"events":[{"id":"é1","name":"mkt_purchase","#,
                r#""timestamp":"2025-01-17T05:39:22Z","#,
                r#""received_at":"2025-01-17T05:39:22.123456Z","#,
                r#""properties":{"mkt_revenue": 1234567890123456789012.50, "a":[ 1 ]},"#,
                r#""trace":{"b": 1e2}}],"next_cursor":null}"#,
            )
        );
    }

    #[test]
    fn the_next_page_begins_after_the_last_event_shown() {
        let text = page_of(&[row("b", None, None), row("a", None, None)], true);
        let page: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(page["events"][0]["properties"], serde_json::json!({}));
        let next = cursor::event(page["next_cursor"].as_str().unwrap());
        assert_eq!(next, Some((1_737_092_362_000_000, "a".to_owned())));
    }

    #[test]
    fn a_page_holds_no_more_than_its_limits_of_rows_and_bytes() {
        let large = |bytes| EventRow { payload: vec![0; bytes].into(), ..row("a", None, None) };
        assert_eq!(shown(&[], 5), 0);
        assert_eq!(shown(&[large(1), large(1), large(1)], 2), 2);
        assert_eq!(shown(&[large(PAGE_BYTES - 1), large(1), large(1)], 5), 2);
        assert_eq!(shown(&[large(PAGE_BYTES + 1), large(1)], 5), 1);
    }

    #[test]
    fn a_payload_that_is_no_event_is_a_fault_of_ours() {
        let row = EventRow { payload: Bytes::from_static(b"{}"), ..row("a", None, None) };
        assert_eq!(record(&row), Err(ApiError::Internal));
    }

    #[test]
    fn parameters_are_checked() {
        let limit_of = |text: &'static str| limit(Some(text.into()));
        assert_eq!(limit(None), Ok(100));
        assert_eq!(limit_of("1000"), Ok(1000));
        for bad in ["0", "1001", "-1", "", "ten", "18446744073709551616"] {
            assert_eq!(limit_of(bad).unwrap_err().status(), 400, "{bad}");
        }
        let time_of = |text: &'static str| time("from", Some(text.into()));
        assert_eq!(time_of("2025-01-17T14:39:22 09:00"), Ok(Some(1_737_092_362_000_000)));
        assert_eq!(time_of("1066-10-14T09:00:00Z"), Ok(Some(EARLIEST_US)));
        assert!(time_of("9999-01-01T00:00:00Z").is_ok());
        assert_eq!(time_of("9999-12-31T23:59:59Z"), Ok(Some(Micros::MAX)));
        for bad in ["", "2025-01-17", "2025-01-17T05:39:22", "1737092362"] {
            assert_eq!(time_of(bad).unwrap_err().status(), 400, "{bad}");
        }
    }
}
