//! Fields of a wrong type, or of no sense.

use anyhow::{Context, Result, ensure};

use crate::support::{CALLS, Call, DELETE, DELETE_BULK, DEVICES, EVENTS, PROFILES, Target};

/// What a field takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Time,
    Object,
    Flag,
}

const FIELDS: [(Call, &str, Kind, bool); 22] = [
    (EVENTS, "user_id", Kind::Text, true),
    (EVENTS, "name", Kind::Text, true),
    (EVENTS, "id", Kind::Text, false),
    (EVENTS, "timestamp", Kind::Time, false),
    (EVENTS, "properties", Kind::Object, false),
    (PROFILES, "user_id", Kind::Text, true),
    (PROFILES, "timestamp", Kind::Time, false),
    (PROFILES, "properties", Kind::Object, false),
    (DEVICES, "user_id", Kind::Text, true),
    (DEVICES, "device_id", Kind::Text, true),
    (DEVICES, "platform", Kind::Text, true),
    (DEVICES, "timestamp", Kind::Time, false),
    (DEVICES, "properties", Kind::Object, false),
    (DEVICES, "remove_user_id", Kind::Flag, false),
    (DEVICES, "token", Kind::Text, false),
    (DEVICES, "gaid", Kind::Text, false),
    (DEVICES, "app_set_id", Kind::Text, false),
    (DEVICES, "app_local_id", Kind::Text, false),
    (DEVICES, "idfa", Kind::Text, false),
    (DEVICES, "idfv", Kind::Text, false),
    (DELETE, "user_id", Kind::Text, true),
    (DELETE, "erase", Kind::Flag, false),
];

/// A good item with one field replaced (or, with `None`, left out).
fn with_field(call: Call, field: &str, value: Option<&str>) -> String {
    let item = call.list.map_or(r#"{"user_id":"u"}"#, |(_, item)| item);
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(item).unwrap_or_default();
    let mut texts: Vec<String> = members
        .iter()
        .filter(|(name, _)| *name != field)
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    texts.extend(value.map(|value| format!("\"{field}\":{value}")));
    call.body(&[format!("{{{}}}", texts.join(","))])
}

fn wrong_values(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Text => vec!["1", "1.5", "true", "[]", "{}", "[\"u\"]", "1e3"],
        Kind::Time => vec!["1", "true", "[]", "{}", "1737092362"],
        Kind::Object => vec!["1", "\"x\"", "true", "[]", "[{}]"],
        Kind::Flag => vec!["1", "\"x\"", "{}", "0"],
    }
}

#[test]
fn every_field_of_another_type_is_refused_and_named() -> Result<()> {
    let mut target = Target::start(&[])?;
    for (call, field, kind, required) in FIELDS {
        for value in wrong_values(kind) {
            let body = with_field(call, field, Some(value));
            let context = || format!("{} {field} = {value}", call.path);
            let fault = &target.bad(call, body).with_context(context)?.errors[0];
            let index = call.list.map(|_| 0);
            ensure!(fault.field.as_deref() == Some(field), "{}: {fault:?}", context());
            ensure!(fault.index == index, "{}: {fault:?}", context());
            ensure!(fault.code.starts_with("INVALID_"), "{}: {fault:?}", context());
        }
        if required {
            for value in [None, Some("null")] {
                let body = with_field(call, field, value);
                let context = || format!("{} without {field} ({value:?})", call.path);
                let fault = &target.bad(call, body).with_context(context)?.errors[0];
                ensure!(fault.code == "MISSING_FIELD", "{}: {fault:?}", context());
                ensure!(fault.field.as_deref() == Some(field), "{}: {fault:?}", context());
            }
        }
    }
    target.untouched()
}

#[test]
fn null_in_an_optional_field_counts_as_absent() -> Result<()> {
    let mut target = Target::start(&[])?;
    for (call, field, _, _) in FIELDS.into_iter().filter(|(.., required)| !required) {
        let answer = target.send(call, with_field(call, field, Some("null")))?;
        ensure!(answer.status == 202, "{} {field}: {}", call.path, answer.text());
    }
    target.alive()
}

#[test]
fn a_timestamp_must_have_a_zone_and_lie_within_the_limits() -> Result<()> {
    let mut target = Target::start(&[])?;
    let now = jiff::Timestamp::now();
    let after = |hours: i64| (now + jiff::SignedDuration::from_hours(hours)).to_string();
    let bad = [
        "",
        "now",
        "2025-01-17",
        "2025-01-17T05:39:22",
        "2025-01-17 05:39:22",
        "2025-13-17T05:39:22Z",
        "2025-02-30T05:39:22Z",
        "2025-01-17T25:39:22Z",
        "2025-01-17T05:39:22+99:00",
        "1970-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "-2025-01-17T05:39:22Z",
        "99999-01-17T05:39:22Z",
        "2025-01-17T05:39:22Zjunk",
        "1737092362",
        &after(25),
    ];
    for call in [EVENTS, PROFILES, DEVICES] {
        for text in bad {
            let body = with_field(call, "timestamp", Some(&format!("\"{text}\"")));
            let refusal = target.bad(call, body).with_context(|| format!("{text:?}"))?;
            let fault = &refusal.errors[0];
            ensure!(fault.code == "INVALID_TIMESTAMP", "{text:?}: {fault:?}");
        }
    }
    for call in [EVENTS, PROFILES, DEVICES] {
        for text in [
            "2025-01-17T05:39:22Z",
            "2025-01-17T05:39:22+09:00",
            "2025-01-17T05:39:22.123456789Z",
            "1971-01-01T00:00:00Z",
            &after(23),
        ] {
            let body = with_field(call, "timestamp", Some(&format!("\"{text}\"")));
            let answer = target.send(call, body)?;
            ensure!(answer.status == 202, "{text}: {}", answer.text());
        }
    }
    target.alive()
}

#[test]
fn a_deletion_names_users_and_kinds_of_data() -> Result<()> {
    let mut target = Target::start(&[])?;
    for erase in ["[]", "[\"x\"]", "[1]", "\"events\"", "[\"events\",null]", "[\"Events\"]"] {
        let body = format!("{{\"user_id\":\"u\",\"erase\":{erase}}}");
        target.bad(DELETE, body).context(erase)?;
        let body = format!("{{\"user_ids\":[\"u\"],\"erase\":{erase}}}");
        target.bad(DELETE_BULK, body).context(erase)?;
    }
    for ids in ["[]", "null", "\"u\"", "{}", "[1]", "[null]", "[\"\"]", "[\"u\",[]]", "[\"u\",1]"] {
        let refusal = target.bad(DELETE_BULK, format!("{{\"user_ids\":{ids}}}")).context(ids)?;
        let named = refusal.errors[0].field.as_deref().unwrap_or("user_ids");
        ensure!(named.starts_with("user_id"), "{ids}: {refusal:?}");
    }
    target.untouched()
}

#[test]
fn a_device_without_a_user_must_be_unlinked() -> Result<()> {
    let mut target = Target::start(&[])?;
    let item =
        |rest: &str| DEVICES.body(&[format!("{{\"device_id\":\"d\",\"platform\":\"web\"{rest}}}")]);
    target.bad(DEVICES, item(""))?;
    target.bad(DEVICES, item(",\"remove_user_id\":false"))?;
    target.bad(DEVICES, item(",\"remove_user_id\":null"))?;
    let answer = target.send(DEVICES, item(",\"remove_user_id\":true"))?;
    ensure!(answer.status == 202, "{}", answer.text());
    target.alive()
}

#[test]
fn a_field_that_comes_twice_counts_as_it_came_last() -> Result<()> {
    let mut target = Target::start(&[])?;
    for call in CALLS {
        let good = call.good;
        let twice = good.replacen("\"u\"", "1,\"user_id\":\"u\"", 1);
        let bulk = "{\"user_ids\":1,\"user_ids\":[\"u\"]}";
        let body = if call.path == DELETE_BULK.path { bulk } else { &twice };
        let answer = target.send(call, body)?;
        ensure!(answer.status == 202, "{body}: {}", answer.text());
    }
    target.bad(EVENTS, r#"{"events":[{"user_id":"u","user_id":1,"name":"n"}]}"#)?;
    target.bad(EVENTS, r#"{"events":[{"user_id":"u","name":"n"}],"events":1}"#)?;
    target.alive()
}
