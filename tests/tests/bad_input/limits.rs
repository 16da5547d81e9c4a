//! Limits at n and n + 1. The number is in the message.

use anyhow::{Context, Result, ensure};
use millrace_tests::observe;

use crate::support::{CALLS, Call, DELETE, DELETE_BULK, DEVICES, EVENTS, PROFILES, Target};

/// Sends the largest that is allowed, and one more.
fn limit(
    target: &mut Target,
    call: Call,
    limit: usize,
    code: &str,
    body: impl Fn(usize) -> String,
) -> Result<()> {
    let answer = target.send(call, body(limit))?;
    ensure!(answer.status == 202, "{} at {limit}: {}", call.path, answer.text());
    let refusal = target.bad(call, body(limit + 1)).with_context(|| format!("{limit} + 1"))?;
    let fault = &refusal.errors[0];
    ensure!(fault.code == code, "{fault:?}");
    let digits: String = fault.message.chars().filter(char::is_ascii_digit).collect();
    ensure!(digits.contains(&limit.to_string()), "the limit {limit} is not named: {fault:?}");
    Ok(())
}

#[test]
fn strings_are_limited_in_bytes_and_platforms_in_characters() -> Result<()> {
    let mut target = Target::start(&[])?;
    let code = "INVALID_LENGTH";
    // Two bytes a character, where the limit is in bytes.
    let text = |n: usize| "é".repeat(n / 2) + &"x".repeat(n % 2);
    for (call, field, n) in [
        (EVENTS, "user_id", 256),
        (EVENTS, "name", 256),
        (EVENTS, "id", 128),
        (PROFILES, "user_id", 256),
        (DEVICES, "user_id", 256),
        (DEVICES, "device_id", 256),
    ] {
        let item = |n: usize| {
            let (_, item) = call.list.unwrap_or_default();
            let rest = item.trim_start_matches('{');
            // The last of two wins; an id stands before the good one and would lose.
            format!("{{{},\"{field}\":\"{}\"}}", rest.trim_end_matches('}'), text(n))
        };
        limit(&mut target, call, n, code, |n| call.body(&[item(n)]))?;
        let refusal = target.bad(call, call.body(&[item(0)])).context("empty")?;
        ensure!(refusal.errors[0].code == code, "{refusal:?}");
    }
    limit(&mut target, DEVICES, 32, code, |n| {
        let platform = "é".repeat(n);
        DEVICES.body(&[format!(
            "{{\"user_id\":\"u\",\"device_id\":\"d\",\"platform\":\"{platform}\"}}"
        )])
    })?;
    limit(&mut target, DELETE, 256, code, |n| format!("{{\"user_id\":\"{}\"}}", text(n)))?;
    limit(&mut target, DELETE_BULK, 256, code, |n| format!("{{\"user_ids\":[\"{}\"]}}", text(n)))?;
    target.alive()
}

#[test]
fn calls_are_limited_in_items_and_empty_lists_do_nothing() -> Result<()> {
    let mut target = Target::start(&[])?;
    for call in [EVENTS, PROFILES, DEVICES] {
        let (list, item) = call.list.unwrap_or_default();
        let answer = target.send(call, format!("{{\"{list}\":[]}}"))?;
        ensure!(answer.status == 202, "{}", answer.text());
        limit(&mut target, call, 1_000, "INVALID_COUNT", |n| call.body(&vec![item.into(); n]))?;
    }
    limit(&mut target, DELETE_BULK, 100_000, "INVALID_COUNT", |n| {
        let ids: Vec<String> = (0..n).map(|n| format!("\"u{n}\"")).collect();
        format!("{{\"user_ids\":[{}]}}", ids.join(","))
    })?;
    target.alive()
}

#[test]
fn items_are_limited_in_bytes_and_in_depth() -> Result<()> {
    let mut target = Target::start(&[])?;
    for call in [EVENTS, PROFILES, DEVICES] {
        let (_, item) = call.list.unwrap_or_default();
        let open = item.trim_end_matches('}').to_owned() + ",\"properties\":{\"a\":";
        let sized = |n: usize| format!("{open}\"{}\"}}}}", "x".repeat(n - open.len() - 4));
        limit(&mut target, call, 65_536, "ITEM_TOO_LARGE", |n| call.body(&[sized(n)]))?;
        // The item is the first level, its properties the second.
        for (inner, outer) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = |n: usize| {
                let value = if inner == "[" { "" } else { "1" };
                let (inner, outer) = (inner.repeat(n - 2), outer.repeat(n - 2));
                format!("{open}{inner}{value}{outer}}}}}")
            };
            limit(&mut target, call, 32, "TOO_DEEP", |n| call.body(&[deep(n)]))?;
        }
        target.bad(call, call.body(&[open + &"[".repeat(1_000_000)]))?;
    }
    for call in CALLS {
        target.bad(call, "[".repeat(9_000_000))?;
        target.bad(call, "{\"a\":".repeat(2_000_000))?;
    }
    target.alive()
}

#[test]
fn a_body_is_limited_in_bytes() -> Result<()> {
    const LIMIT: usize = 10 * 1024 * 1024;
    let mut target = Target::start(&[])?;
    for call in CALLS {
        for chunk_bytes in [None, Some(100_000)] {
            let padded = |n: usize| call.good.to_owned() + &" ".repeat(n - call.good.len());
            let mut request = target.client.call(call.path, padded(LIMIT));
            request.chunk_bytes = chunk_bytes;
            let answer = target.client.send_alone(&request)?;
            ensure!(answer.status == 202, "{} {}", call.path, answer.text());
            let mut request = target.client.call(call.path, padded(LIMIT + 1));
            request.chunk_bytes = chunk_bytes;
            let refusal = target.refused(&request, 413)?;
            ensure!(refusal.code == "BODY_TOO_LARGE", "{refusal:?}");
        }
    }
    target.alive()
}

#[test]
fn numbers_and_text_are_kept_exactly() -> Result<()> {
    let mut target = Target::start(&[])?;
    let properties = r#"{ "n":123456789012345678901234567890 ,"d":0.10000000000000000000001,
        "e":1E5,"m":-0,"s":"\u00e9\/","big":[ 1e308,-99999999999999999999 ],"dup":1,"dup":2}"#
        .replace('\n', " ");
    let item = format!(r#"{{"user_id":"u","name":"n","id":"1","properties":{properties}}}"#);
    ensure!(target.send(EVENTS, EVENTS.body(&[item]))?.status == 202, "refused");
    let item =
        r#"{"user_id":"u","properties":{"n":123456789012345678901234567890,"x":[1.50, {}]}}"#;
    ensure!(target.send(PROFILES, PROFILES.body(&[item.into()]))?.status == 202, "refused");
    observe::wait_idle(&target.server, &[].into())?;
    let seen = observe::read_user(&mut target.client, "u")?;
    ensure!(seen.events[0].properties.as_deref() == Some(properties.as_str()), "{seen:?}");
    let profile = seen.profile.context("no profile")?;
    ensure!(profile["n"].value == "123456789012345678901234567890", "{profile:?}");
    ensure!(profile["x"].value == "[1.50, {}]", "{profile:?}");
    target.alive()
}
