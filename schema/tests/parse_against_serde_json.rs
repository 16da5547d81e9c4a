//! The parser and serde_json on the same bytes: they accept and refuse alike, their values agree,
//! and what was sliced from a body reads again as the same value.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use millrace_schema::error::ErrorCode;
use millrace_schema::limits::{self, Limits};
use millrace_schema::parse::{EventItem, Format, Parser};
use millrace_schema::timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const RECEIVED_US: i64 = 1_737_092_362_000_000;

/// Pieces that valid and nearly valid JSON is made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "\t",
    "\r",
    "null",
    "true",
    "false",
    "nul",
    "truex",
    "0",
    "-0",
    "-",
    "01",
    "1.",
    ".5",
    "1.5",
    "1e",
    "1e5",
    "1E+5",
    "1e400",
    "-1e400",
    "1e-400",
    "0e9999999999",
    "123456789012345678901234567890",
    "18446744073709551616",
    "-9223372036854775809",
    "NaN",
    "Infinity",
    "\"a\"",
    "\"a\":1",
    "\"\\u0061\"",
    "\"\\ud800\"",
    "\"\\udc00\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\\u0041\"",
    "\"\\u12\"",
    "\"\\x\"",
    "\"\\\"\"",
    "\"\\\\\"",
    "\"한\"",
    "\u{feff}",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{c}",
    "//",
    "'a'",
    "{}",
    "[]",
    "[1,2]",
    "{\"a\":{}}",
    "\"events\":",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |f| f.is_finite().then(|| Value::from(f))),
        any::<String>().prop_map(Value::from),
        "[ -~\\\\\"\n\u{0}한😀]{0,70}".prop_map(Value::from),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..8)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{0,12}", any::<String>()]
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(key(), document(), 0..6).prop_map(|m| m.into_iter().collect())
}

/// An event, with members we do not know.
fn event() -> impl Strategy<Value = Map<String, Value>> {
    let text =
        || "[ -~\\\\\"\n한]{1,40}".prop_filter("not reserved", |t| !t.starts_with("ad_log:"));
    let optional = prop::option::of(prop::option::of(text()));
    (text(), text(), optional, prop::option::of(object()), object()).prop_map(
        |(name, user, id, properties, mut members)| {
            for ours in ["name", "user_id", "id", "timestamp", "properties"] {
                members.remove(ours);
            }
            members.insert("name".into(), name.into());
            members.insert("user_id".into(), user.into());
            if let Some(id) = id {
                members.insert("id".into(), id.into());
            }
            if let Some(properties) = properties {
                members.insert("properties".into(), properties.into());
            }
            members
        },
    )
}

fn text_of(value: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap()
}

fn accepted(parser: &mut Parser, body: &[u8]) -> bool {
    parser.events(body, Format::Json, &Limits::default(), RECEIVED_US).is_ok()
}

/// `bytes` as a member beside an empty `events`: accepted exactly if it is JSON.
fn embedded(bytes: &[u8]) -> Vec<u8> {
    [b"{\"events\":[],\"x\":".as_slice(), bytes, b"}"].concat()
}

fn assert_they_agree(bytes: &[u8]) {
    let mut parser = Parser::new();
    let body = embedded(bytes);
    // What closes the object early may bring other `events`: the last counts.
    let expected = serde_json::from_slice::<Map<String, Value>>(&body)
        .is_ok_and(|members| members.get("events").is_some_and(Value::is_array));
    assert_eq!(accepted(&mut parser, &body), expected, "{}", body.escape_ascii());
    if !bytes.contains(&b'\n') {
        assert_they_agree_on_a_line(&mut parser, bytes);
    }
}

fn assert_they_agree_on_a_line(parser: &mut Parser, line: &[u8]) {
    let parsed = parser.events(line, Format::NdJson, &Limits::default(), RECEIVED_US).unwrap();
    let Some(error) = parsed.errors.errors.first() else {
        return assert!(line.trim_ascii().is_empty(), "{}", line.escape_ascii());
    };
    let is_readable = serde_json::from_slice::<Value>(line).is_ok();
    let was_read = !matches!(error.code, ErrorCode::InvalidJson | ErrorCode::NumberOutOfRange);
    assert_eq!(was_read, is_readable, "{}: {error:?}", line.escape_ascii());
    assert!(!error.message.contains("malformed"), "{}: {error:?}", line.escape_ascii());
}

fn assert_same_event(sent: &Map<String, Value>, item: &EventItem<'_>) {
    let again = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    // By way of its text, because serde_json may read the last digit of a double otherwise.
    let sent = again(&serde_json::to_string(sent).unwrap());
    assert_eq!(again(item.raw), sent);
    assert_eq!(json!(item.name), sent["name"]);
    assert_eq!(json!(item.user), sent["user_id"]);
    assert_eq!(json!(item.id), sent["id"]);
    assert_eq!(item.properties.map_or(Value::Null, again), sent["properties"]);
    let mut unknown = sent.as_object().unwrap().clone();
    unknown.retain(|key, _| !["name", "user_id", "id", "properties"].contains(&key.as_str()));
    let extra = item.extra.as_deref().map_or(json!({}), again);
    assert_eq!(extra, Value::Object(unknown));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn documents_are_accepted_alike(document in document(), pretty: bool) {
        let text = text_of(&document, pretty);
        prop_assert!(accepted(&mut Parser::new(), &embedded(text.as_bytes())), "{}", text);
    }

    #[test]
    fn heaps_of_pieces_are_judged_alike(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12),
        padding in 0_usize..70,
    ) {
        let text = format!("{}{}", " ".repeat(padding), pieces.concat());
        assert_they_agree(text.as_bytes());
    }

    #[test]
    fn mutated_documents_are_judged_alike(
        document in document(),
        pretty: bool,
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = text_of(&document, pretty).into_bytes();
        for (at, byte, how) in mutations {
            let at = at.index(bytes.len() + 1);
            match (how, bytes.get_mut(at)) {
                (0, Some(place)) => *place = byte,
                (1, Some(_)) => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        assert_they_agree(&bytes);
    }

    #[test]
    fn arbitrary_bytes_are_judged_alike(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_they_agree(&bytes);
    }

    #[test]
    fn events_come_back_as_they_were_sent(
        events in prop::collection::vec(event(), 0..5),
        pretty: bool,
    ) {
        let sent = Value::Array(events.iter().cloned().map(Value::Object).collect());
        let body = text_of(&json!({ "events": sent }), pretty);
        let mut parser = Parser::new();
        let limits = Limits::default();
        let parsed =
            parser.events(body.as_bytes(), Format::Json, &limits, RECEIVED_US).unwrap();
        prop_assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
        prop_assert_eq!(parsed.items.len(), events.len());
        for (item, event) in parsed.items.iter().zip(&events) {
            assert_same_event(event, item);
        }
    }

    #[test]
    fn lines_come_back_as_they_were_sent(
        events in prop::collection::vec(event(), 0..5),
        ending in prop::sample::select(vec!["\n", "\r\n", "\n\n", " \n\t\n"]),
    ) {
        let lines: Vec<String> =
            events.iter().map(|e| serde_json::to_string(e).unwrap()).collect();
        let body = lines.join(ending);
        let mut parser = Parser::new();
        let limits = Limits::default();
        let parsed =
            parser.events(body.as_bytes(), Format::NdJson, &limits, RECEIVED_US).unwrap();
        prop_assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
        prop_assert_eq!(parsed.items.len(), events.len());
        for ((item, event), line) in parsed.items.iter().zip(&events).zip(&lines) {
            prop_assert_eq!(item.raw, line);
            assert_same_event(event, item);
        }
    }

    #[test]
    fn user_ids_come_back_each_once(ids in prop::collection::vec("[a-c한\"]{1,2}", 1..40)) {
        let body = json!({ "user_ids": ids }).to_string();
        let mut parser = Parser::new();
        let found = parser.user_ids(body.as_bytes(), Format::Json, &Limits::default()).unwrap();
        let mut expected: Vec<&str> = Vec::new();
        for id in &ids {
            if !expected.contains(&id.as_str()) {
                expected.push(id);
            }
        }
        prop_assert_eq!(found.users, expected);
        prop_assert_eq!(found.total, ids.len());
    }

    #[test]
    fn depth_is_counted_alike_however_it_is_made(shape in prop::collection::vec(any::<bool>(), 25..40)) {
        let open: String = shape.iter().map(|o| if *o { "{\"[\":" } else { "[" }).collect();
        let close: String = shape.iter().rev().map(|o| if *o { "}" } else { "]" }).collect();
        let body = format!("{{\"name\":\"n\",\"user_id\":\"u\",\"x\":{open}1{close}}}");
        let mut parser = Parser::new();
        let limits = Limits::default();
        let parsed =
            parser.events(body.as_bytes(), Format::NdJson, &limits, RECEIVED_US).unwrap();
        prop_assert_eq!(parsed.errors.is_empty(), shape.len() < limits::JSON_DEPTH);
    }

    #[test]
    fn timestamps_agree_with_jiff(
        text in "(19[67]|20[0-9])[0-9]-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?([Zz]|[+-][0-2][0-9]:[0-6][0-9])",
    ) {
        let expected = text.parse::<jiff::Timestamp>().ok().map(|t| {
            let nanos = t.as_nanosecond();
            i64::try_from(nanos.div_euclid(1_000)).unwrap()
        });
        let expected = expected.filter(|us| {
            (limits::EARLIEST_US..=RECEIVED_US + limits::FUTURE_US).contains(us)
        });
        match timestamp::parse_us(&text, RECEIVED_US) {
            Ok(us) => prop_assert_eq!(Some(us), expected, "{}", text),
            // jiff takes offsets up to 25:59, and RFC 3339 up to 23:59.
            Err(error) => prop_assert!(
                expected.is_none() || text.contains("+24") || text.contains("-24")
                    || text.contains("+25") || text.contains("-25"),
                "{} {:?}", text, error
            ),
        }
    }

    #[test]
    fn arbitrary_text_is_no_timestamp_and_no_panic(text in ".{0,40}") {
        prop_assert!(timestamp::parse_us(&text, i64::MAX).is_err());
    }
}

#[test]
fn quirks_known_of_json_parsers_are_judged_alike() {
    for piece in PIECES {
        for wrapped in [
            (*piece).to_owned(),
            format!("[{piece}]"),
            format!("[{piece},1]"),
            format!("{{\"a\":{piece}}}"),
            format!("{{{piece}}}"),
            format!("{piece} "),
            format!("{piece}{piece}"),
            format!("\"{piece}\""),
            format!("[{}{piece}]", " ".repeat(61)),
        ] {
            assert_they_agree(wrapped.as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_truncation_is_refused(events in prop::collection::vec(event(), 1..3), pretty: bool) {
        let body = text_of(&json!({ "events": events }), pretty);
        let mut parser = Parser::new();
        prop_assert!(accepted(&mut parser, body.as_bytes()));
        for end in 0..body.len() {
            prop_assert!(!accepted(&mut parser, &body.as_bytes()[..end]), "{}", end);
        }
    }
}
