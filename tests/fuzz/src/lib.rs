//! What must hold for any bytes at all. Each function is a fuzz target; see `README.md`.

use millrace_schema::error::ItemErrors;
use millrace_schema::limits::Limits;
use millrace_schema::parse::{Format, Parser};
use millrace_schema::record::{Body, Event, Record, Refused};
use uuid::Uuid;

/// A time of receipt that makes runs repeatable: 2026-01-17T05:39:22Z.
const RECEIVED_US: i64 = 1_768_628_362_000_000;

/// Request bodies: the first byte chooses the call and the format, the rest is the body.
///
/// Nothing panics; what is accepted is JSON, becomes a record, and the record says the same.
#[expect(clippy::panic, reason = "a fuzz target reports by panicking")]
pub fn body_parser(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let format = if choice & 1 == 0 { Format::Json } else { Format::NdJson };
    let limits = Limits::default();
    let mut parser = Parser::new();
    let is_log_call = (choice >> 1) % 7 > 4;
    let accepted = match (choice >> 1) % 7 {
        0 => parser.events(body, format, &limits, RECEIVED_US).is_ok_and(|parsed| {
            for item in parsed.items {
                is_json(item.raw);
                let id = item.id.unwrap_or("given").into();
                survives(Body::Event(item.into_event(id)));
            }
            parsed.errors.is_empty()
        }),
        1 => parser.profiles(body, format, &limits, RECEIVED_US).is_ok_and(|parsed| {
            for item in parsed.items {
                is_json(item.raw);
                survives(Body::Profile(item.profile));
            }
            parsed.errors.is_empty()
        }),
        2 => parser.devices(body, format, &limits, RECEIVED_US).is_ok_and(|parsed| {
            for item in parsed.items {
                is_json(item.raw);
                survives(Body::Device(item.device));
            }
            parsed.errors.is_empty()
        }),
        3 => parser.user_ids(body, format, &limits).is_ok_and(|bulk| bulk.errors.is_empty()),
        4 => return drop(parser.deletion(body, &limits)),
        5 => log_call(parser.ad_log(body, &limits), body),
        _ => log_call(parser.activity(body, &limits, RECEIVED_US, Uuid::nil()), body),
    };
    // A log call is one JSON document whatever it says it is.
    if accepted && (format == Format::Json || is_log_call) {
        match std::str::from_utf8(body) {
            Ok(text) => is_json(text),
            Err(error) => panic!("accepted what is not UTF-8: {error}"),
        }
    }
}

/// Whether a log call's body is an event; either way it becomes a record.
fn log_call(event: Result<Event<'_>, ItemErrors>, body: &[u8]) -> bool {
    match event {
        Ok(event) => {
            is_json(event.properties.as_deref().unwrap_or_default());
            survives(Body::Event(event));
            true
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty(), "refused without a reason: {body:?}");
            survives(Body::Refused(Refused::new("id".into(), "reason".into(), body)));
            false
        }
    }
}

/// Log records: nothing panics, and what decodes survives being written again.
pub fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        survives(record.body);
    }
}

/// Segments of the embedded log: nothing panics, and nothing is found that is not there.
pub fn segment(data: &[u8]) {
    let report = millrace_log::embedded::inspect_segment(data);
    assert!(report.bytes <= data.len() as u64, "{report:?}");
    for damage in &report.damage {
        assert!(damage.from <= damage.to && damage.to <= report.bytes, "{report:?}");
    }
}

#[expect(clippy::panic, reason = "a fuzz target reports by panicking")]
fn is_json(text: &str) {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        panic!("accepted what is not JSON: {error}: {text:?}");
    }
}

#[expect(clippy::panic, reason = "a fuzz target reports by panicking")]
fn survives(body: Body<'_>) {
    let record = Record { project: "p".into(), received_us: RECEIVED_US, body };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    match Record::decode(&bytes) {
        Ok(decoded) => assert_eq!(decoded, record),
        Err(error) => panic!("wrote a record that does not decode: {error}"),
    }
}
