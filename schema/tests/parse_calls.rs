//! What the five ingestion calls accept and refuse, by tables.

use millrace_schema::error::{ErrorCode, ItemErrors};
use millrace_schema::limits::{self, Limits};
use millrace_schema::parse::{Format, Parsed, Parser};
use millrace_schema::record::Reach;

const RECEIVED_US: i64 = 1_737_092_362_000_000;

/// What is wrong: index, field, code.
type Wrong = (Option<usize>, Option<&'static str>, ErrorCode);

fn assert_wrong(errors: &ItemErrors, expected: &[Wrong], body: &str) {
    let found: Vec<(Option<usize>, Option<&str>, ErrorCode)> =
        errors.errors.iter().map(|e| (e.index, e.field.as_deref(), e.code)).collect();
    assert_eq!(found, expected, "{body}");
    assert_eq!(errors.total, expected.len(), "{body}");
}

fn body_errors<T>(result: Result<Parsed<T>, ItemErrors>) -> ItemErrors {
    match result {
        Ok(parsed) => parsed.errors,
        Err(errors) => errors,
    }
}

fn event_errors(item: &str) -> ItemErrors {
    let body = format!("{{\"events\": [{item}]}}");
    let limits = Limits::default();
    body_errors(Parser::new().events(body.as_bytes(), Format::Json, &limits, RECEIVED_US))
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn an_event_is_borrowed_as_it_was_sent() {
    let body = r#" {"events": [ {"id": "a", "x": [1, 2] , "name": "mkt_\u0070urchase", "user_id": "u\n1",
        "timestamp": "2025-01-17T05:39:22Z", "properties": {"n": 123456789012345678901234567890.10, "s": "\"}{" } , "y":null } ,
        {"name":"b","user_id":"u","properties":null,"id":null,"timestamp":null}], "z": {} } "#;
    let mut parser = Parser::new();
    let limits = Limits::default();
    let parsed = parser.events(body.as_bytes(), Format::Json, &limits, RECEIVED_US).unwrap();
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    assert_eq!(parsed.total, 2);
    let first = &parsed.items[0];
    assert_eq!(first.index, 0);
    assert!(first.raw.starts_with("{\"id\"") && first.raw.ends_with("\"y\":null }"));
    assert_eq!(
        (first.user, first.id, first.name, first.time_us),
        ("u\n1", Some("a"), "mkt_purchase", Some(RECEIVED_US))
    );
    assert_eq!(first.properties, Some(r#"{"n": 123456789012345678901234567890.10, "s": "\"}{" }"#));
    assert_eq!(first.extra.as_deref(), Some(r#"{"x": [1, 2],"y":null}"#));
    let second = &parsed.items[1];
    assert_eq!(second.index, 1);
    assert_eq!((second.id, second.time_us, second.properties), (None, None, None));
    assert_eq!(second.extra, None);
}

#[test]
fn an_event_becomes_a_record_under_the_id_it_is_given() {
    let body = br#"{"name":"b","user_id":"u","q":1}"#;
    let mut parser = Parser::new();
    let limits = Limits::default();
    let parsed = parser.events(body, Format::NdJson, &limits, RECEIVED_US).unwrap();
    let event = parsed.items.into_iter().next().unwrap().into_event("given".into());
    assert_eq!((&*event.id, &*event.user, &*event.name), ("given", "u", "b"));
    assert_eq!(event.extra.as_deref(), Some("{\"q\":1}"));
}

#[test]
fn events_are_refused_field_by_field() {
    use ErrorCode::{
        InvalidLength, InvalidTimestamp, InvalidType, InvalidValue, ItemTooLarge, MissingField,
        TooDeep,
    };
    let item = |members: &str| format!("{{\"name\":\"n\",\"user_id\":\"u\",{members}}}");
    let at = |field, code| vec![(Some(0), Some(field), code)];
    let table: Vec<(String, Vec<Wrong>)> = vec![
        (item(r#""x":1"#), vec![]),
        (item(&format!(r#""id":"{}""#, long(limits::ID_BYTES))), vec![]),
        (item(&format!(r#""id":"{}""#, long(limits::ID_BYTES + 1))), at("id", InvalidLength)),
        (item(r#""id":"""#), at("id", InvalidLength)),
        (item(r#""id":7"#), at("id", InvalidType)),
        (item(&format!(r#""name":"{}""#, long(limits::NAME_BYTES))), vec![]),
        (item(&format!(r#""name":"{}""#, long(limits::NAME_BYTES + 1))), at("name", InvalidLength)),
        (item(r#""name":null"#), at("name", MissingField)),
        (item(r#""name":["n"]"#), at("name", InvalidType)),
        (item(&format!(r#""user_id":"{}""#, long(limits::USER_ID_BYTES))), vec![]),
        (
            item(&format!(r#""user_id":"{}""#, long(limits::USER_ID_BYTES + 1))),
            at("user_id", InvalidLength),
        ),
        (item(r#""user_id":"ad_log:1""#), at("user_id", InvalidValue)),
        (item(r#""user_id":"\u0061d_log:1""#), at("user_id", InvalidValue)),
        (item(r#""user_id":"ad_log""#), vec![]),
        (item(r#""user_id":5"#), at("user_id", InvalidType)),
        (item(r#""user_id":5,"user_id":"u""#), vec![]),
        (item(r#""properties":[]"#), at("properties", InvalidType)),
        (item(r#""properties":"{}""#), at("properties", InvalidType)),
        (item(r#""timestamp":1737092362"#), at("timestamp", InvalidType)),
        (item(r#""timestamp":"2025-01-17T05:39:22""#), at("timestamp", InvalidTimestamp)),
        (item(r#""timestamp":"2030-01-17T05:39:22Z""#), at("timestamp", InvalidTimestamp)),
        (item(&format!(r#""properties":{{"a":{}}}"#, nested(30))), vec![]),
        (item(&format!(r#""properties":{{"a":{}}}"#, nested(31))), at("properties", TooDeep)),
        (item(&format!(r#""extra":{}"#, nested(31))), vec![]),
        (item(&format!(r#""extra":{}"#, nested(32))), vec![(Some(0), None, TooDeep)]),
        (item(&format!(r#""extra":"{}""#, long(64 * 1024))), vec![(Some(0), None, ItemTooLarge)]),
        ("5".to_owned(), vec![(Some(0), None, InvalidType)]),
        ("null".to_owned(), vec![(Some(0), None, InvalidType)]),
        ("[{}]".to_owned(), vec![(Some(0), None, InvalidType)]),
        (
            "{}, {\"timestamp\":0, \"name\":\"\"}".to_owned(),
            vec![
                (Some(0), Some("name"), MissingField),
                (Some(0), Some("user_id"), MissingField),
                (Some(1), Some("name"), InvalidLength),
                (Some(1), Some("user_id"), MissingField),
                (Some(1), Some("timestamp"), InvalidType),
            ],
        ),
    ];
    for (item, expected) in table {
        assert_wrong(&event_errors(&item), &expected, &item);
    }
}

#[test]
fn bodies_are_refused_as_a_whole() {
    use ErrorCode::{
        InvalidCount, InvalidJson, InvalidType, MissingField, NumberOutOfRange, TooDeep,
    };
    let good = r#"{"name":"n","user_id":"u"}"#;
    let array = |n: usize| format!("{{\"events\":[{}]}}", vec![good; n].join(","));
    let events = Some("events");
    let table: Vec<(String, Vec<Wrong>)> = vec![
        (String::new(), vec![(None, None, InvalidJson)]),
        ("  ".to_owned(), vec![(None, None, InvalidJson)]),
        ("nonsense".to_owned(), vec![(None, None, InvalidJson)]),
        ("\u{feff}{\"events\":[]}".to_owned(), vec![(None, None, InvalidJson)]),
        ("{\"events\":[]} x".to_owned(), vec![(None, None, InvalidJson)]),
        ("{\"events\":[]}{}".to_owned(), vec![(None, None, InvalidJson)]),
        ("{'events':[]}".to_owned(), vec![(None, None, InvalidJson)]),
        ("{\"events\":[],}".to_owned(), vec![(None, None, InvalidJson)]),
        ("{\"events\":[NaN]}".to_owned(), vec![(Some(0), None, InvalidJson)]),
        (format!("{{\"events\":[{good},{{\"a\":01}}]}}"), vec![(Some(1), None, InvalidJson)]),
        (
            format!("{{\"events\":[{good},{{\"a\":\"\\ud800\"}}]}}"),
            vec![(Some(1), None, InvalidJson)],
        ),
        (
            format!("{{\"events\":[{good},{{\"a\":\"\u{1}\"}}]}}"),
            vec![(Some(1), None, InvalidJson)],
        ),
        (
            format!("{{\"events\":[{good},{{\"a\":-1e400}}]}}"),
            vec![(Some(1), None, NumberOutOfRange)],
        ),
        (format!("{{\"events\":[{good},{}]}}", nested(2_000)), vec![(Some(1), None, TooDeep)]),
        (format!("{{\"events\":[],\"x\":{}}}", nested(32)), vec![(None, None, TooDeep)]),
        (nested(1_000_000), vec![(None, None, TooDeep)]),
        ("[".repeat(1_000_000), vec![(None, None, TooDeep)]),
        ("[]".to_owned(), vec![(None, None, InvalidType)]),
        ("5".to_owned(), vec![(None, None, InvalidType)]),
        ("\"events\"".to_owned(), vec![(None, None, InvalidType)]),
        ("{}".to_owned(), vec![(None, events, MissingField)]),
        ("{\"events\":null}".to_owned(), vec![(None, events, MissingField)]),
        ("{\"events\":{}}".to_owned(), vec![(None, events, InvalidType)]),
        ("{\"events\":[]}".to_owned(), vec![]),
        ("{\"events\":5,\"events\":[]}".to_owned(), vec![]),
        ("{\"events\":[],\"events\":5}".to_owned(), vec![(None, events, InvalidType)]),
        ("{\"\\u0065vents\":[]}".to_owned(), vec![]),
        (array(limits::ITEMS_PER_CALL), vec![]),
        (array(limits::ITEMS_PER_CALL + 1), vec![(None, events, InvalidCount)]),
    ];
    let mut parser = Parser::new();
    let limits = Limits::default();
    for (body, expected) in table {
        let result = parser.events(body.as_bytes(), Format::Json, &limits, RECEIVED_US);
        let shown = body.chars().take(80).collect::<String>();
        assert_wrong(&body_errors(result), &expected, &shown);
    }
}

#[test]
fn invalid_utf8_is_refused_with_its_byte() {
    let body = b"{\"events\":[{\"name\":\"n\",\"user_id\":\"u\xc3\x28\"}]}";
    let limits = Limits::default();
    let mut parser = Parser::new();
    let errors = parser.events(body, Format::Json, &limits, RECEIVED_US).unwrap_err();
    assert_eq!(errors.errors[0].index, Some(0));
    assert_eq!(
        errors.errors[0].message,
        "the body is not valid JSON at byte 35, in item 0: invalid UTF-8"
    );
}

#[test]
fn messages_name_the_limit_and_what_was_sent() {
    let message = |item: &str| event_errors(item).errors[0].message.clone();
    assert_eq!(
        message(&format!("{{\"user_id\":\"u\",\"name\":\"{}\"}}", long(300))),
        "`name` is 300 bytes long; it must be 1 to 256"
    );
    assert_eq!(
        message("{\"user_id\":\"u\",\"name\":\"n\",\"timestamp\":\"2025-01-17T05:39:22\"}"),
        "`timestamp` has no zone; append Z or an offset such as +09:00"
    );
    assert_eq!(
        message("{\"user_id\":\"u\",\"name\":\"n\",\"timestamp\":\"2035-01-17T05:39:22Z\"}"),
        "`timestamp` lies more than 24 hours in the future; check the clock and the zone"
    );
    assert_eq!(
        message(&format!("{{\"user_id\":\"u\",\"name\":\"n\",\"x\":\"{}\"}}", long(65_536))),
        "the item is 65569 bytes long; at most 65536 are accepted, so make it smaller"
    );
    assert_eq!(
        message(&format!("{{\"user_id\":\"u\",\"name\":\"n\",\"x\":{}}}", nested(32))),
        "the item nests arrays and objects deeper than 32 levels; flatten it"
    );
    assert_eq!(message("[]"), "the item must be a JSON object");
    assert_eq!(
        message(&vec!["{}"; 1_001].join(",")),
        "`events` holds 1001 items; at most 1000 are accepted in one call, so split it"
    );
    assert_eq!(
        message("{}, {\"a\": 1e400}"),
        "the body holds a number beyond the range of a double at byte 26, in item 1; send a string"
    );
}

#[test]
fn one_hundred_errors_are_listed_and_all_are_counted() {
    let errors = event_errors(&vec!["{}"; 1_000].join(","));
    assert_eq!(errors.errors.len(), limits::ERRORS_LISTED);
    assert_eq!(errors.total, 2_000);
}

#[test]
fn bad_items_leave_the_good_ones_standing() {
    let body = r#"{"events":[{"name":"n","user_id":"u"},7,{"name":"m","user_id":"u"}]}"#;
    let limits = Limits::default();
    let mut parser = Parser::new();
    let parsed = parser.events(body.as_bytes(), Format::Json, &limits, RECEIVED_US).unwrap();
    let kept: Vec<_> = parsed.items.iter().map(|item| (item.index, item.name)).collect();
    assert_eq!(kept, [(0, "n"), (2, "m")]);
    assert_eq!((parsed.total, parsed.errors.total), (3, 1));
}

#[test]
fn ndjson_lines_stand_for_themselves() {
    let body = "\r\n{\"name\":\"a\",\"user_id\":\"u\"}\r\n  \n\
                {\"name\":\"b\",\n {\"name\":\"c\",\"user_id\":\"\\n\"} \n{} {}\n1e999\nx\n{\"name\":\"d\",\"user_id\":\"u\"}";
    let limits = Limits::default();
    let mut parser = Parser::new();
    let parsed = parser.events(body.as_bytes(), Format::NdJson, &limits, RECEIVED_US).unwrap();
    let kept: Vec<_> = parsed.items.iter().map(|i| (i.index, i.name, i.user, i.raw)).collect();
    assert_eq!(
        kept,
        [
            (0, "a", "u", "{\"name\":\"a\",\"user_id\":\"u\"}"),
            (2, "c", "\n", "{\"name\":\"c\",\"user_id\":\"\\n\"}"),
            (6, "d", "u", "{\"name\":\"d\",\"user_id\":\"u\"}"),
        ]
    );
    assert_eq!(parsed.total, 7);
    assert_wrong(
        &parsed.errors,
        &[
            (Some(1), None, ErrorCode::InvalidJson),
            (Some(3), None, ErrorCode::InvalidJson),
            (Some(4), None, ErrorCode::NumberOutOfRange),
            (Some(5), None, ErrorCode::InvalidJson),
        ],
        body,
    );
    let message = &parsed.errors.errors[1].message;
    assert_eq!(message, "the line is not valid JSON at byte 3: trailing characters");
}

#[test]
fn ndjson_limits_are_those_of_json() {
    let limits = Limits::default();
    let mut parser = Parser::new();
    let empty = parser.events(b"\n\r\n", Format::NdJson, &limits, RECEIVED_US).unwrap();
    assert_eq!((empty.items.len(), empty.total), (0, 0));
    let many = "{}\n".repeat(limits::ITEMS_PER_CALL + 1);
    let errors = parser.events(many.as_bytes(), Format::NdJson, &limits, RECEIVED_US).unwrap_err();
    assert_wrong(&errors, &[(None, None, ErrorCode::InvalidCount)], "1001 lines");
    assert!(errors.errors[0].message.contains("1001") && errors.errors[0].message.contains("1000"));
    let large = format!("{{\"name\":\"a\",\"user_id\":\"u\",\"x\":\"{}\"}}\n", long(65_536));
    let parsed = parser.events(large.as_bytes(), Format::NdJson, &limits, RECEIVED_US).unwrap();
    assert_wrong(&parsed.errors, &[(Some(0), None, ErrorCode::ItemTooLarge)], "a large line");
}

#[test]
fn profiles_are_read() {
    let body = r#"{"profiles":[{"user_id":"u","properties":{"mkt_email_opt_in":false,"a":null},
        "timestamp":"2025-01-17T05:39:22Z","unknown":1},{"user_id":"v"},{"properties":3}]}"#;
    let limits = Limits::default();
    let mut parser = Parser::new();
    let parsed = parser.profiles(body.as_bytes(), Format::Json, &limits, RECEIVED_US).unwrap();
    let first = &parsed.items[0].profile;
    assert_eq!(first.properties.as_deref(), Some(r#"{"mkt_email_opt_in":false,"a":null}"#));
    assert_eq!((&*first.user, first.time_us), ("u", Some(RECEIVED_US)));
    assert_eq!(parsed.items[1].profile.properties, None);
    assert_wrong(
        &parsed.errors,
        &[
            (Some(2), Some("user_id"), ErrorCode::MissingField),
            (Some(2), Some("properties"), ErrorCode::InvalidType),
        ],
        body,
    );
}

#[test]
fn a_device_is_read_with_its_own_fields() {
    let body = r#"{"devices":[{"user_id":"u","device_id":"gaid:1","platform":"android","token":"","gaid":"g",
        "idfv":null,"x":1,"properties":{"opt_in":true},"timestamp":"2025-01-17T05:39:22Z"},
        {"device_id":"d","platform":"web","remove_user_id":true},
        {"device_id":"d","platform":"web","remove_user_id":true,"user_id":"u"},
        {"device_id":"d","platform":"웹","user_id":"u","remove_user_id":null}]}"#;
    let limits = Limits::default();
    let mut parser = Parser::new();
    let parsed = parser.devices(body.as_bytes(), Format::Json, &limits, RECEIVED_US).unwrap();
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    let first = &parsed.items[0].device;
    let fields: Vec<_> = first.fields.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(fields, [("platform", "android"), ("token", ""), ("gaid", "g")]);
    assert_eq!((first.user.as_deref(), &*first.device_id), (Some("u"), "gaid:1"));
    assert_eq!(first.properties.as_deref(), Some(r#"{"opt_in":true}"#));
    assert!(!first.unlink);
    let rest: Vec<_> =
        parsed.items[1..].iter().map(|d| (d.device.user.as_deref(), d.device.unlink)).collect();
    assert_eq!(rest, [(None, true), (Some("u"), true), (Some("u"), false)]);
}

#[test]
fn devices_are_refused_field_by_field() {
    use ErrorCode::{InvalidLength, InvalidType, InvalidValue, MissingField};
    let item = |members: &str| {
        format!("{{\"device_id\":\"d\",\"user_id\":\"u\",\"platform\":\"ios\",{members}}}")
    };
    let at = |field, code| vec![(Some(0), Some(field), code)];
    let table: Vec<(String, Vec<Wrong>)> = vec![
        (item(&format!("\"device_id\":\"{}\"", long(256))), vec![]),
        (item(&format!("\"device_id\":\"{}\"", long(257))), at("device_id", InvalidLength)),
        (item("\"device_id\":null"), at("device_id", MissingField)),
        (item(&format!("\"platform\":\"{}\"", "웹".repeat(32))), vec![]),
        (item(&format!("\"platform\":\"{}\"", "웹".repeat(33))), at("platform", InvalidLength)),
        (item("\"platform\":\"\""), at("platform", InvalidLength)),
        (item("\"platform\":null"), at("platform", MissingField)),
        (item("\"platform\":1"), at("platform", InvalidType)),
        (item("\"token\":1"), at("token", InvalidType)),
        (item("\"idfv\":{}"), at("idfv", InvalidType)),
        (item("\"remove_user_id\":\"true\""), at("remove_user_id", InvalidType)),
        (item("\"user_id\":null"), at("user_id", MissingField)),
        (item("\"user_id\":null,\"remove_user_id\":false"), at("user_id", MissingField)),
        (item("\"user_id\":null,\"remove_user_id\":true"), vec![]),
        (item("\"user_id\":\"\",\"remove_user_id\":true"), at("user_id", InvalidLength)),
        (item("\"user_id\":\"ad_log:x\""), at("user_id", InvalidValue)),
    ];
    let mut parser = Parser::new();
    let limits = Limits::default();
    for (item, expected) in table {
        let body = format!("{{\"devices\":[{item}]}}");
        let result = parser.devices(body.as_bytes(), Format::Json, &limits, RECEIVED_US);
        assert_wrong(&body_errors(result), &expected, &item);
    }
}

#[test]
fn the_deletion_of_one_user_is_read_or_refused() {
    use ErrorCode::{
        InvalidCount, InvalidJson, InvalidLength, InvalidType, InvalidValue, ItemTooLarge,
        MissingField,
    };
    let mut parser = Parser::new();
    let limits = Limits::default();
    let good: [(&str, &[Reach]); 5] = [
        (r#"{"user_id":"u"}"#, &Reach::ALL),
        (r#"{"user_id":7,"user_id":"u","x":[1]}"#, &Reach::ALL),
        (r#"{"erase":null,"user_id":"u"}"#, &Reach::ALL),
        (
            r#"{"erase":["events","profile","events"],"user_id":"u"}"#,
            &[Reach::Profile, Reach::Events],
        ),
        (r#"{"erase":3,"erase":["devices"],"user_id":"u"}"#, &[Reach::Devices]),
    ];
    for (body, erase) in good {
        let deletion = parser.deletion(body.as_bytes(), &limits).unwrap();
        assert_eq!((deletion.user, &*deletion.erase), ("u", erase), "{body}");
    }
    let padded = format!("{{\"user_id\":\"u\",\"x\":\"{}\"}}", long(65_536));
    let bad: [(&str, Vec<Wrong>); 10] = [
        ("", vec![(None, None, InvalidJson)]),
        ("[]", vec![(None, None, InvalidType)]),
        ("{}", vec![(None, Some("user_id"), MissingField)]),
        (r#"{"user_id":""}"#, vec![(None, Some("user_id"), InvalidLength)]),
        (r#"{"user_id":["u"]}"#, vec![(None, Some("user_id"), InvalidType)]),
        (r#"{"user_id":"ad_log:1"}"#, vec![(None, Some("user_id"), InvalidValue)]),
        (r#"{"user_id":"u","erase":[]}"#, vec![(None, Some("erase"), InvalidCount)]),
        (r#"{"user_id":"u","erase":"events"}"#, vec![(None, Some("erase"), InvalidType)]),
        (
            r#"{"erase":["events",1]}"#,
            vec![(None, Some("user_id"), MissingField), (None, Some("erase"), InvalidValue)],
        ),
        (&padded, vec![(None, None, ItemTooLarge)]),
    ];
    for (body, expected) in bad {
        assert_wrong(&parser.deletion(body.as_bytes(), &limits).unwrap_err(), &expected, body);
    }
}

#[test]
fn user_ids_are_merged_in_the_order_of_first_mention() {
    let limits = Limits::default();
    let mut parser = Parser::new();
    let body = br#"{"erase":["profile"],"user_ids":["b","a","b","\u0061","c"]}"#;
    let json = parser.user_ids(body, Format::Json, &limits).unwrap();
    assert_eq!((&*json.users, json.total), (&["b", "a", "c"][..], 5));
    assert_eq!(json.erase, [Reach::Profile]);
    assert!(json.errors.is_empty());
    let body = b"{\"user_id\":\"b\"}\r\n\n{\"user_id\":\"a\",\"x\":1}\n{\"user_id\":\"b\"}\n";
    let lines = parser.user_ids(body, Format::NdJson, &limits).unwrap();
    assert_eq!((&*lines.users, lines.total), (&["b", "a"][..], 3));
    assert_eq!(lines.erase, Reach::ALL);
}

#[test]
fn bad_user_ids_are_listed_beside_the_good_ones() {
    use ErrorCode::{InvalidJson, InvalidLength, InvalidType, InvalidValue, MissingField};
    let limits = Limits::default();
    let mut parser = Parser::new();
    let body = r#"{"user_ids":["b","",7,"ad_log:9",null,"a"]}"#;
    let ids = parser.user_ids(body.as_bytes(), Format::Json, &limits).unwrap();
    assert_eq!(ids.users, ["b", "a"]);
    let field = Some("user_ids");
    let expected = [
        (Some(1), field, InvalidLength),
        (Some(2), field, InvalidType),
        (Some(3), field, InvalidValue),
        (Some(4), field, InvalidType),
    ];
    assert_wrong(&ids.errors, &expected, body);
    let body =
        "{\"user_id\":\"b\"}\n{}\n[]\n{\"user_id\n{\"user_id\":\"c\",\"erase\":[\"events\"]}";
    let ids = parser.user_ids(body.as_bytes(), Format::NdJson, &limits).unwrap();
    assert_eq!(ids.users, ["b"]);
    let expected = [
        (Some(1), Some("user_id"), MissingField),
        (Some(2), None, InvalidType),
        (Some(3), None, InvalidJson),
        (Some(4), Some("erase"), InvalidValue),
    ];
    assert_wrong(&ids.errors, &expected, body);
}

#[test]
fn bulk_deletions_are_refused_as_a_whole() {
    use ErrorCode::{InvalidCount, InvalidType, InvalidValue, MissingField};
    let many = format!("{{\"user_ids\":[{}]}}", vec!["\"u\""; 100_001].join(","));
    let field = Some("user_ids");
    let table: [(&str, Vec<Wrong>); 6] = [
        ("{}", vec![(None, field, MissingField)]),
        (r#"{"user_ids":[]}"#, vec![(None, field, InvalidCount)]),
        (r#"{"user_ids":"u"}"#, vec![(None, field, InvalidType)]),
        (r#"{"user_ids":["u"],"erase":["all"]}"#, vec![(None, Some("erase"), InvalidValue)]),
        (
            r#"{"user_ids":["u",1],"erase":{}}"#,
            vec![(Some(1), field, InvalidType), (None, Some("erase"), InvalidType)],
        ),
        (&many, vec![(None, field, InvalidCount)]),
    ];
    let limits = Limits::default();
    let mut parser = Parser::new();
    for (body, expected) in table {
        let errors = parser.user_ids(body.as_bytes(), Format::Json, &limits).unwrap_err();
        assert_wrong(&errors, &expected, &body[..body.len().min(80)]);
    }
    let errors = parser.user_ids(b"\n\n", Format::NdJson, &limits).unwrap_err();
    assert_wrong(&errors, &[(None, None, InvalidCount)], "no lines");
}

#[test]
fn a_parser_reads_on_after_large_and_broken_bodies() {
    let limits = Limits::default();
    let mut parser = Parser::new();
    let small = br#"{"events":[{"name":"n","user_id":"u"}]}"#;
    let large = format!("{{\"x\":[{}1],\"events\":[]}}", "1,".repeat(1_000_000));
    let bodies: [(&[u8], usize); 5] =
        [(small, 1), (large.as_bytes(), 0), (small, 1), (b"{\"events\":[", 0), (small, 1)];
    for (body, expected) in bodies {
        let items = parser
            .events(body, Format::Json, &limits, RECEIVED_US)
            .map(|parsed| parsed.items.len())
            .unwrap_or_default();
        assert_eq!(items, expected);
    }
}
