//! The two log calls of the ad side: one ad log or one activity becomes one event.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Number;
use simd_json::{Node, StaticNode};
use uuid::Uuid;

use super::cursor::{Cursor, Value};
use super::fault::Fault;
use super::item::{self, Checks};
use crate::error::ItemErrors;
use crate::id::derived_id;
use crate::limits::{self, Limits, RESERVED_USER_ID_PREFIX};
use crate::record::{Event, write_json};
use crate::time::Micros;
use crate::timestamp::TimestampError;

const AD_LOG: [&str; 4] = ["type", "action", "ad_log", "price"];

/// Reads `{"type": "ad_log", "action": …, "ad_log": …, "price": …}`.
pub(super) fn ad_log<'a>(
    mut cursor: Cursor<'_, 'a>,
    limits: &Limits,
) -> Result<Event<'a>, ItemErrors> {
    let mut errors = ItemErrors::default();
    let mut checks = Checks { limits, received_us: 0, errors: &mut errors, index: None };
    let event = read_ad_log(&mut cursor, &mut checks);
    event.filter(|_| errors.is_empty()).ok_or(errors)
}

fn read_ad_log<'a>(cursor: &mut Cursor<'_, 'a>, checks: &mut Checks<'_>) -> Option<Event<'a>> {
    let [kind, action, ad_log, price] = item::members(cursor, checks, &AD_LOG, |_| {})?.ours;
    let kind = checks.required_string("type", kind);
    if kind.is_some_and(|kind| kind != "ad_log") {
        checks.refuse(Some("type"), Fault::Value("must be `ad_log`"));
    }
    let action = checks.required_string("action", action);
    let name = match action {
        Some("imp") => Some("ad.imp"),
        Some("clk") => Some("ad.clk"),
        Some("conv") => Some("ad.conv"),
        Some(_) => {
            checks.refuse(Some("action"), Fault::Value("must be `imp`, `clk` or `conv`"));
            None
        }
        None => None,
    };
    // With its prefix it is the user's id.
    let bytes_max = limits::USER_ID_BYTES - RESERVED_USER_ID_PREFIX.len();
    let ad_log = checks.required_text("ad_log", ad_log, bytes_max);
    if let Some(price) = price {
        if !is_number(price) {
            checks.refuse(Some("price"), Fault::Type("a number"));
        } else if action.is_some_and(|action| action != "conv") {
            checks.refuse(Some("price"), Fault::Value("may come only with `conv`"));
        }
    }
    let (action, ad_log) = (action?, ad_log?);
    let mut properties = b"{\"ad_log\":".to_vec();
    write_json(&mut properties, ad_log);
    if let Some(price) = price {
        properties.extend_from_slice(b",\"price\":");
        properties.extend_from_slice(price.raw.as_bytes());
    }
    properties.push(b'}');
    let id = derived_id(&[b"ad_log", ad_log.as_bytes(), action.as_bytes()]);
    Some(Event {
        user: Cow::Owned(format!("{RESERVED_USER_ID_PREFIX}{ad_log}")),
        id: Cow::Owned(id.to_string()),
        name: Cow::Borrowed(name?),
        // An id alone decides, so that a repeat is stored once.
        time_us: None,
        properties: String::from_utf8(properties).ok().map(Cow::Owned),
        extra: None,
    })
}

const ACTIVITY: [&str; 7] =
    ["schema", "user_id", "timestamp", "channel", "device_id", "query", "revenue"];

const SCHEMAS: [&str; 5] = [
    "activity.item_view",
    "activity.add_cart",
    "activity.page_view",
    "activity.search",
    "activity.purchase",
];

/// Reads an activity that was received at `received_us`, under an id given at the door.
pub(super) fn activity<'a>(
    mut cursor: Cursor<'_, 'a>,
    limits: &Limits,
    received_us: Micros,
    id: Uuid,
) -> Result<Event<'a>, ItemErrors> {
    let mut errors = ItemErrors::default();
    let mut checks = Checks { limits, received_us, errors: &mut errors, index: None };
    let event = read_activity(&mut cursor, &mut checks, id);
    event.filter(|_| errors.is_empty()).ok_or(errors)
}

fn read_activity<'a>(
    cursor: &mut Cursor<'_, 'a>,
    checks: &mut Checks<'_>,
    id: Uuid,
) -> Option<Event<'a>> {
    let mut properties = Properties::default();
    let found = item::members(cursor, checks, &ACTIVITY, |member| properties.add(member))?;
    let [schema, user_id, timestamp, channel, device_id, query, revenue] = found.ours;
    let name = checks.required_string("schema", schema);
    if name.is_some_and(|name| !SCHEMAS.contains(&name)) {
        let fault = "must be `activity.` with item_view, add_cart, page_view, search or purchase";
        checks.refuse(Some("schema"), Fault::Value(fault));
    }
    let user = checks.user_id("user_id", user_id);
    let time_us = unix_time_us(checks, timestamp);
    checks.required_string("channel", channel);
    checks.required_string("device_id", device_id);
    match (name, query) {
        (Some("activity.search"), query) => {
            checks.required_string("query", query);
        }
        (_, Some(query)) => {
            checks.required_string("query", Some(query));
        }
        _ => {}
    }
    let is_purchase = name == Some("activity.purchase");
    match revenue {
        None if is_purchase => checks.refuse(Some("revenue"), Fault::Missing),
        Some(revenue) if !is_revenue(revenue) => {
            checks.refuse(Some("revenue"), Fault::Type("an object of a currency and a revenue"));
        }
        _ => {}
    }
    for (name, value) in ACTIVITY.iter().zip(found.ours).skip(3) {
        if let Some(value) = value {
            properties.add(&format!("\"{name}\":{}", value.raw));
        }
    }
    Some(Event {
        user: Cow::Borrowed(user?),
        id: Cow::Owned(id.to_string()),
        name: Cow::Borrowed(name?),
        time_us: Some(time_us?),
        properties: Some(Cow::Owned(properties.finish())),
        extra: None,
    })
}

/// An object that grows member by member.
#[derive(Default)]
struct Properties(String);

impl Properties {
    fn add(&mut self, member: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(member);
    }

    fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

const fn is_number(value: Value<'_>) -> bool {
    matches!(value.node, Node::Static(StaticNode::I64(_) | StaticNode::U64(_) | StaticNode::F64(_)))
}

fn is_revenue(value: Value<'_>) -> bool {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only their types are asked for")]
    struct Revenue<'a> {
        #[serde(borrow)]
        currency: Cow<'a, str>,
        revenue: Number,
    }
    // serde takes an array for a struct as well.
    matches!(value.node, Node::Object { .. })
        && serde_json::from_str::<Revenue<'_>>(value.raw).is_ok()
}

/// Unix seconds, whole or not, within the limits of a timestamp.
fn unix_time_us(checks: &mut Checks<'_>, value: Option<Value<'_>>) -> Option<Micros> {
    const US: i64 = 1_000_000;
    let Some(value) = value else {
        checks.refuse(Some("timestamp"), Fault::Missing);
        return None;
    };
    let time_us = match value.node {
        Node::Static(StaticNode::I64(seconds)) => seconds.saturating_mul(US),
        Node::Static(StaticNode::U64(seconds)) => {
            i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(US)
        }
        // `as` saturates, and what is not within the limits is refused below.
        Node::Static(StaticNode::F64(seconds)) => (seconds * US as f64).round() as i64,
        _ => {
            let fault = Fault::Type("a number: seconds since 1970");
            checks.refuse(Some("timestamp"), fault);
            return None;
        }
    };
    let latest_us = checks.received_us.saturating_add(limits::FUTURE_US);
    let error = match time_us {
        us if us < limits::EARLIEST_US => TimestampError::TooEarly,
        us if us > latest_us => TimestampError::TooLate,
        us => return Some(us),
    };
    checks.refuse(Some("timestamp"), Fault::Timestamp(error));
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::limits::Limits;
    use crate::parse::Parser;
    use crate::record::Event;
    use uuid::Uuid;

    const NOW_US: i64 = 1_737_092_362_000_000;

    fn ad_log(body: &str) -> Result<Event<'static>, Vec<String>> {
        let mut parser = Parser::new();
        let read = parser.ad_log(body.as_bytes(), &Limits::default());
        read.map(owned).map_err(|e| e.errors.into_iter().map(|e| e.message).collect())
    }

    fn activity(body: &Json) -> Result<Event<'static>, Vec<String>> {
        let (mut parser, body) = (Parser::new(), body.to_string());
        let id = Uuid::from_u128(7);
        let read = parser.activity(body.as_bytes(), &Limits::default(), NOW_US, id);
        read.map(owned).map_err(|e| e.errors.into_iter().map(|e| e.message).collect())
    }

    fn owned(event: Event<'_>) -> Event<'static> {
        Event {
            user: event.user.into_owned().into(),
            id: event.id.into_owned().into(),
            name: event.name.into_owned().into(),
            time_us: event.time_us,
            properties: event.properties.map(|p| p.into_owned().into()),
            extra: event.extra.map(|e| e.into_owned().into()),
        }
    }

    #[test]
    fn an_ad_log_becomes_an_event_that_a_repeat_does_not_double() {
        let body = r#"{"type":"ad_log","action":"conv","ad_log":"a\"1","price":12.50,"x":1}"#;
        let event = ad_log(body).unwrap();
        assert_eq!((&*event.name, &*event.user), ("ad.conv", "ad_log:a\"1"));
        assert_eq!(event.time_us, None);
        assert_eq!(event.properties.as_deref(), Some(r#"{"ad_log":"a\"1","price":12.50}"#));
        assert_eq!(ad_log(body).unwrap().id, event.id);
        let click = ad_log(r#"{"type":"ad_log","action":"clk","ad_log":"a\"1"}"#).unwrap();
        assert_eq!(&*click.name, "ad.clk");
        assert_ne!(click.id, event.id);
    }

    #[test]
    fn a_bad_ad_log_is_refused_with_every_reason() {
        for (body, fields) in [
            ("", &["body"][..]),
            ("[]", &["body"]),
            ("{}", &["`type`", "`action`", "`ad_log`"]),
            (r#"{"type":"x","action":"y","ad_log":""}"#, &["`type`", "`action`", "`ad_log`"]),
            (r#"{"type":"ad_log","action":"imp","ad_log":"a","price":1}"#, &["`price` may come"]),
            (r#"{"type":"ad_log","action":"conv","ad_log":"a","price":"1"}"#, &["`price` must"]),
            (r#"{"type":1,"action":null,"ad_log":2}"#, &["`type`", "`action`", "`ad_log`"]),
        ] {
            let errors = ad_log(body).unwrap_err();
            assert_eq!(errors.len(), fields.len(), "{body}: {errors:?}");
            for (error, field) in errors.iter().zip(fields) {
                assert!(error.contains(field), "{body}: {error}");
            }
        }
        let long = format!(r#"{{"type":"ad_log","action":"imp","ad_log":"{}"}}"#, "a".repeat(250));
        assert!(ad_log(&long).is_err());
        assert!(ad_log(&long.replacen("aaaaaaaaaa", "", 1)).is_ok());
    }

    #[test]
    fn an_activity_becomes_an_event_of_its_schema() {
        let body = json!({
            "schema": "activity.purchase", "channel": "web", "device_id": "d", "user_id": "u",
            "timestamp": 1_737_092_000, "revenue": {"currency": "KRW", "revenue": 3900},
            "catalogs": [{"id": "c"}],
        });
        let event = activity(&body).unwrap();
        assert_eq!((&*event.name, &*event.user), ("activity.purchase", "u"));
        assert_eq!(event.time_us, Some(1_737_092_000_000_000));
        let properties: Json = serde_json::from_str(event.properties.as_deref().unwrap()).unwrap();
        let expected = json!({
            "channel": "web", "device_id": "d", "catalogs": [{"id": "c"}],
            "revenue": {"currency": "KRW", "revenue": 3900},
        });
        assert_eq!(properties, expected);
    }

    #[test]
    fn a_bad_activity_is_refused_with_its_reason() {
        let good = json!({
            "schema": "activity.search", "channel": "web", "device_id": "d", "user_id": "u",
            "timestamp": 1_737_092_000.5, "query": "shoes",
        });
        assert_eq!(activity(&good).unwrap().time_us, Some(1_737_092_000_500_000));
        for (field, value) in [
            ("schema", json!("activity.other")),
            ("schema", json!(null)),
            ("user_id", json!("ad_log:1")),
            ("user_id", json!("")),
            ("timestamp", json!("2025-01-17T05:39:22Z")),
            ("timestamp", json!(1)),
            ("timestamp", json!(-1e300)),
            ("timestamp", json!(u64::MAX)),
            ("timestamp", json!(NOW_US)),
            ("timestamp", json!(null)),
            ("channel", json!(1)),
            ("device_id", json!(null)),
            ("query", json!(null)),
            ("query", json!(["a"])),
            ("revenue", json!({"currency": "KRW", "revenue": "1"})),
            ("revenue", json!(["KRW", 1])),
        ] {
            let mut body = good.clone();
            body[field] = value.clone();
            let errors = activity(&body).unwrap_err();
            assert_eq!(errors.len(), 1, "{field} = {value}: {errors:?}");
            assert!(errors[0].contains(field), "{field} = {value}: {errors:?}");
        }
    }
}
