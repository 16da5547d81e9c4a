//! Bodies that are not what they must be: shape, syntax, truncation.

use anyhow::{Context, Result, ensure};
use millrace_tests::client::Connection;

use crate::support::{CALLS, Call, EVENTS, PROFILES, Target};

#[test]
fn a_body_of_another_shape_is_refused_by_every_call() -> Result<()> {
    let mut target = Target::start(&[])?;
    let common = ["null", "true", "1", "\"x\"", "[]", "[[]]", "{}", "{\"x\":[]}"];
    for call in CALLS {
        for body in common {
            target.bad(call, body).with_context(|| format!("{} {body}", call.path))?;
        }
        let Some((list, item)) = call.list else { continue };
        for value in ["null", "{}", "1", "\"x\"", "[1]", "[null]", "[[]]", "[\"x\"]", item] {
            let body = format!("{{\"{list}\":{value}}}");
            target.bad(call, body.clone()).with_context(|| format!("{} {body}", call.path))?;
        }
    }
    target.untouched()
}

#[test]
fn what_is_not_json_is_refused_and_the_byte_is_named() -> Result<()> {
    let mut target = Target::start(&[])?;
    for call in CALLS {
        let good = call.good;
        let open = good.replacen('{', "{ ,", 1);
        let single = good.replace('"', "'");
        let twice = format!("{good}{good}");
        let bom = format!("\u{feff}{good}");
        let comment = format!("/* */{good}");
        let comma = format!("{},}}", &good[..good.len() - 1]);
        let bodies = [
            "",
            " ",
            "{",
            "}",
            "nul",
            "\u{0}",
            &open,
            &single,
            &twice,
            &bom,
            &comment,
            &comma,
            &format!("{good},"),
            &format!("{good}]"),
            &format!("{good}\u{0}"),
        ]
        .map(str::to_owned);
        for body in bodies {
            let refusal = target.bad(call, body.clone());
            let refusal = refusal.with_context(|| format!("{} {body:?}", call.path))?;
            let fault = &refusal.errors[0];
            ensure!(fault.code == "INVALID_JSON", "{} {body:?}: {fault:?}", call.path);
            let named = fault.message.contains("byte") || body.trim().is_empty();
            ensure!(named, "no byte is named for {body:?}: {fault:?}");
        }
    }
    target.untouched()
}

/// Puts a properties text, or another raw value, into a good item.
fn with_properties(call: Call, raw: &[u8]) -> Vec<u8> {
    let (list, item) = call.list.unwrap_or_default();
    let item = &item[..item.len() - 1];
    let mut body = format!("{{\"{list}\":[{item},\"properties\":").into_bytes();
    body.extend_from_slice(raw);
    body.extend_from_slice(b"}]}");
    body
}

#[test]
fn text_and_numbers_that_json_does_not_allow_are_refused() -> Result<()> {
    let mut target = Target::start(&[])?;
    let values: [&[u8]; 22] = [
        b"\"\xff\"",
        b"\"\xc3\"",
        b"\"\xc0\x80\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf4\x90\x80\x80\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\u12\"",
        b"\"\\x41\"",
        b"\"\n\"",
        b"\"\x01\"",
        b"1e400",
        b"-1e400",
        b"01",
        b"+1",
        b"1.",
        b".5",
        b"NaN",
        b"Infinity",
        b"0x10",
        b"1e",
    ];
    for call in CALLS.into_iter().filter(|call| call.list.is_some()) {
        for value in values {
            let raw = [b"{\"a\":", value, b"}"].concat();
            let shown = String::from_utf8_lossy(value).into_owned();
            let context = || format!("{} {shown}", call.path);
            target.bad(call, with_properties(call, &raw)).with_context(context)?;
            // As the name of a property, too.
            if value.starts_with(b"\"") {
                let raw = [b"{", value, b":1}"].concat();
                target.bad(call, with_properties(call, &raw)).with_context(context)?;
            }
        }
    }
    for call in [CALLS[3], CALLS[4]] {
        for value in values {
            let (before, after) = match call.path {
                p if p.ends_with("bulk") => ("{\"user_ids\":[", "]}"),
                _ => ("{\"user_id\":", "}"),
            };
            let body = [before.as_bytes(), value, after.as_bytes()].concat();
            let shown = String::from_utf8_lossy(&body).into_owned();
            target.bad(call, body).with_context(|| format!("{} {shown}", call.path))?;
        }
    }
    target.untouched()
}

#[test]
fn a_body_cut_off_at_any_byte_is_refused() -> Result<()> {
    let mut target = Target::start(&[])?;
    for call in CALLS {
        for end in 0..call.good.len() {
            let body = &call.good.as_bytes()[..end];
            target.bad(call, body).with_context(|| format!("{} cut at {end}", call.path))?;
        }
    }
    target.untouched()
}

#[test]
fn a_connection_that_ends_at_any_byte_of_a_request_stores_nothing() -> Result<()> {
    let target = Target::start(&[])?;
    for call in CALLS {
        let bytes = target.client.call(call.path, call.good).bytes();
        for end in 0..bytes.len() {
            let mut connection = Connection::open(target.server.address)?;
            connection.send(&bytes[..end])?;
            connection.finish()?;
            if let Ok(answer) = connection.answer() {
                ensure!(answer.status >= 400, "{} at byte {end}", answer.status);
            }
        }
    }
    target.untouched()
}

#[test]
fn every_bad_item_is_listed_up_to_a_hundred_and_all_are_counted() -> Result<()> {
    let mut target = Target::start(&[])?;
    let items: Vec<String> = (0..300)
        .map(|n| if n % 2 == 0 { "{\"user_id\":\"u\",\"name\":\"n\"}" } else { "{\"name\":\"n\"}" })
        .map(str::to_owned)
        .collect();
    let refusal = target.bad(EVENTS, EVENTS.body(&items))?;
    ensure!((refusal.total, refusal.errors.len()) == (150, 100), "{}", refusal.total);
    let indexes: Vec<_> = refusal.errors.iter().filter_map(|e| e.index).collect();
    ensure!(indexes == (0..100).map(|n| 2 * n + 1).collect::<Vec<_>>(), "{indexes:?}");
    ensure!(refusal.errors.iter().all(|e| e.code == "MISSING_FIELD"), "{refusal:?}");
    ensure!(refusal.errors.iter().all(|e| e.field.as_deref() == Some("user_id")), "{refusal:?}");

    // NDJSON: empty lines do not count.
    let lines = "\n{\"user_id\":\"u\"}\n\r\n  \n{\"user_id\":1}\n{}\n";
    let request = target.client.call(PROFILES.path, lines);
    let request = request.header("Content-Type", "Application/X-NDJSON; charset=utf-8");
    let refusal = target.refused(&request, 400)?;
    let found: Vec<_> = refusal.errors.iter().map(|e| (e.index, e.code.as_str())).collect();
    let expected = [(Some(1), "INVALID_TYPE"), (Some(2), "MISSING_FIELD")];
    ensure!(found == expected, "{found:?}");
    target.untouched()
}

#[test]
fn a_bad_line_of_ndjson_names_the_line() -> Result<()> {
    let mut target = Target::start(&[])?;
    for (lines, index) in [("{\"user_id\":\"u\"}\n{\"user_id\":\n", 1), ("{}}\n", 0), ("x", 0)] {
        let request = target.client.call(PROFILES.path, lines);
        let request = request.header("Content-Type", "application/x-ndjson");
        let refusal = target.refused(&request, 400)?;
        let fault = &refusal.errors[0];
        ensure!(fault.index == Some(index) && fault.code == "INVALID_JSON", "{lines:?} {fault:?}");
    }
    target.untouched()
}
