//! Keys: of nobody, of others, of the past.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_tests::client::{Client, Request};
use millrace_tests::process::Launch;
use millrace_tests::shim::Shim;

use crate::support::{CALLS, DELETE, EVENTS, Target};

const MESSAGE: &str = "Unauthorized request.";

/// Every call with this key must be 401, even where the body is bad as well.
fn unauthorized(target: &mut Target, header: Option<&str>) -> Result<()> {
    for call in CALLS {
        for body in [call.good, "{"] {
            let mut request = target.client.call(call.path, body);
            request.headers.clear();
            if let Some(value) = header {
                request = request.header("Authorization", value);
            }
            let refusal = target.refused(&request, 401).with_context(|| format!("{header:?}"))?;
            ensure!(
                refusal.code == "UNAUTHORIZED" && refusal.message.starts_with(MESSAGE),
                "{refusal:?}"
            );
        }
    }
    for path in ["/v1/api/users/u", "/v1/api/users/u/events", "/v1/api/accounting"] {
        let mut request = target.client.read(path, "");
        request.headers.clear();
        if let Some(value) = header {
            request = request.header("Authorization", value);
        }
        target.refused(&request, 401).with_context(|| format!("{path} {header:?}"))?;
    }
    Ok(())
}

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn a_key_that_is_missing_malformed_or_forged_is_401() -> Result<()> {
    let mut target = Target::start(&[])?;
    let key = target.server.key.clone();
    let parts: Vec<&str> = key.split('.').collect();
    let [head, claims, signature] = parts.as_slice() else { anyhow::bail!("no JWT: {key}") };
    let read =
        |text: &str| -> Result<String> { Ok(String::from_utf8(URL_SAFE_NO_PAD.decode(text)?)?) };
    let kid_head = read(head)?;
    let none = part(&kid_head.replace("EdDSA", "none"));
    let hmac = part(&kid_head.replace("EdDSA", "HS256"));
    let other_kid = part(&kid_head.replacen("\"kid\":\"", "\"kid\":\"x", 1));
    let raised = part(&read(claims)?.replace("demo", "other"));
    let mut bytes = URL_SAFE_NO_PAD.decode(signature)?;
    bytes[10] ^= 1;
    let flipped = URL_SAFE_NO_PAD.encode(&bytes);
    let long = "x".repeat(12_000);
    let forged = [
        format!("Bearer {none}.{claims}."),
        format!("Bearer {none}.{claims}.{signature}"),
        format!("Bearer {hmac}.{claims}.{signature}"),
        format!("Bearer {other_kid}.{claims}.{signature}"),
        format!("Bearer {head}.{raised}.{signature}"),
        format!("Bearer {head}.{claims}.{flipped}"),
        format!("Bearer {head}.{claims}."),
        format!("Bearer {head}.{claims}"),
        format!("Bearer {head}..{signature}"),
        format!("Bearer {key}.x"),
        format!("Bearer {key} {key}"),
        format!("Basic {key}"),
        format!("Bearer{key}"),
        format!("Bearer {long}"),
        key.clone(),
        "Bearer".into(),
        "Bearer x".into(),
        "Bearer ...".into(),
        "Bearer ..".into(),
        String::new(),
    ];
    unauthorized(&mut target, None)?;
    for value in forged {
        unauthorized(&mut target, Some(&value))?;
    }
    // Of another server altogether: the same claims, another signature.
    let stranger = Target::start(&[])?.server.key.clone();
    unauthorized(&mut target, Some(&format!("Bearer {stranger}")))?;
    target.untouched()
}

#[test]
fn a_key_is_good_for_its_own_project_and_scopes_only() -> Result<()> {
    let mut target = Target::start(&[])?;
    target.command(&["project", "create", "other"])?;
    let make = |scope: &str| -> Result<String> {
        let made = target.command(&["key", "create", "--project", "other", "--scope", scope])?;
        Ok(made["api_key"].as_str().context("no api_key")?.to_owned())
    };
    let (write, delete, read) = (make("write")?, make("delete")?, make("read")?);
    unauthorized(&mut target, Some(&format!("Bearer {write}")))?;
    let status = |key: &str, request: fn(&Client) -> Request| -> Result<u16> {
        let mut client = Client::new(target.server.address, "other", key);
        let request = request(&client);
        Ok(client.send(&request)?.status)
    };
    // 403 comes before 400.
    let write_bad = |client: &Client| client.call(EVENTS.path, "{");
    let erase_bad = |client: &Client| client.call(DELETE.path, "{");
    let read_one = |client: &Client| client.read("/v1/api/users/u/events", "");
    let found = [&write, &delete, &read]
        .map(|key| [status(key, write_bad), status(key, erase_bad), status(key, read_one)]);
    let found: Vec<Vec<u16>> =
        found.into_iter().map(|row| row.into_iter().collect()).collect::<Result<_>>()?;
    let expected = [[400, 403, 403], [403, 400, 403], [403, 403, 200]];
    ensure!(found == expected, "{found:?}");
    target.untouched()
}

#[test]
fn a_revoked_key_is_refused_from_then_on() -> Result<()> {
    let mut target = Target::start(&["--revocation-refresh-ms", "50"])?;
    let made = target.command(&["key", "create", "--project", "demo"])?;
    let key = made["api_key"].as_str().context("no api_key")?.to_owned();
    let id = made["id"].as_str().context("no id")?.to_owned();
    let mut client = Client::new(target.server.address, "demo", &key);
    let request = client.read("/v1/api/users/u/events", "");
    ensure!(client.send(&request)?.status == 200, "the new key is refused");
    target.command(&["key", "revoke", &id])?;
    for _ in 0..500 {
        if client.send(&request)?.status == 401 {
            unauthorized(&mut target, Some(&format!("Bearer {key}")))?;
            return target.untouched();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    anyhow::bail!("a revoked key is honoured still")
}

#[test]
fn an_expired_key_is_refused() -> Result<()> {
    let target = Target::start(&[])?;
    let made = target.command(&["key", "create", "--project", "demo", "--expires-days", "1"])?;
    let key = made["api_key"].as_str().context("no api_key")?.to_owned();
    let Target { folder, server, .. } = target;
    let data = folder.path().join("data");
    server.terminate()?;
    let launch = Shim::around(&data)?.preload(Launch::dev(&data)?)?;
    let server = launch.env("MILLRACE_SHIM_CLOCK_S", "172800").start()?;
    let client = server.client();
    let mut target = Target { folder, server, client };
    unauthorized(&mut target, Some(&format!("Bearer {key}")))?;
    target.untouched()
}
