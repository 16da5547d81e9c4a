//! HTTP itself: routes, methods, lengths that lie, slow clients.

use anyhow::{Context, Result, ensure};
use millrace_tests::client::{Connection, Request};

use crate::support::{CALLS, EVENTS, Target};

#[test]
fn unknown_routes_are_404_and_unknown_methods_405_with_allow() -> Result<()> {
    let mut target = Target::start(&[])?;
    for path in
        ["/", "/v1", "/v1/api/event", "/v1/api/events/", "/v1/api/events/x", "/v2/api/events"]
    {
        let request = target.client.call(path, "{}");
        ensure!(target.refused(&request, 404)?.code == "NOT_FOUND", "{path}");
    }
    for call in CALLS {
        for method in ["PUT", "DELETE", "PATCH"] {
            let mut request = target.client.call(call.path, call.good);
            request.method = method.into();
            let answer = target.client.send(&request)?;
            ensure!(answer.status == 405, "{method} {}: {}", call.path, answer.status);
            ensure!(answer.header("allow").is_some_and(|a| a.contains("POST")), "{answer:?}");
        }
    }
    target.untouched()
}

#[test]
fn the_project_must_be_named() -> Result<()> {
    let mut target = Target::start(&[])?;
    let key = target.server.key.clone();
    for call in CALLS {
        for target_path in [call.path.to_owned(), format!("{}?project=demo", call.path)] {
            let request = Request::post(target_path, call.good).bearer(&key);
            target.refused(&request, 400)?;
        }
    }
    target.untouched()
}

#[test]
fn a_request_id_is_taken_over_or_made() -> Result<()> {
    let mut target = Target::start(&[])?;
    let call = |id: &str| target.server.client().call(EVENTS.path, "{").header("X-Request-Id", id);
    let answer = target.server.client().send(&call("abc-1"))?;
    ensure!(answer.header("x-request-id") == Some("abc-1"), "{answer:?}");
    let long = "x".repeat(10_000);
    let answer = target.server.client().send(&call(&long))?;
    let made = answer.header("x-request-id").unwrap_or_default();
    ensure!(!made.is_empty() && made.len() <= 128, "{made:?}");
    target.bad(EVENTS, "{")?;
    target.untouched()
}

/// A request with a head of its own.
fn raw(target: &Target, head: &str, body: &[u8]) -> Vec<u8> {
    let (path, project, key) = (EVENTS.path, &target.server.project, &target.server.key);
    let mut bytes = format!(
        "POST {path}?project_id={project} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         {head}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn a_content_length_that_lies_stores_nothing() -> Result<()> {
    let target = Target::start(&["--body-timeout-ms", "500", "--header-timeout-ms", "500"])?;
    let good = EVENTS.good.as_bytes();
    let (n, address) = (good.len(), target.server.address);
    let exchange = |head: &str, body: &[u8]| -> Result<u16> {
        let mut connection = Connection::open(address)?;
        connection.send(&raw(&target, head, body))?;
        Ok(connection.answer()?.status)
    };
    // Shorter than the body: what is read is cut off; longer: the rest never comes.
    ensure!(exchange(&format!("Content-Length: {}", n - 1), good)? == 400, "shorter");
    ensure!(exchange(&format!("Content-Length: {}", n + 1), good)? == 408, "longer");
    // Refused by the number alone, before the body comes.
    ensure!(exchange("Content-Length: 99999999999", b"")? == 413, "huge");
    for head in [
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: x",
    ] {
        // The connection may just end; it must not be a success, nor hang.
        if let Ok(status) = exchange(head, b"zz\r\n") {
            ensure!((400..500).contains(&status), "{head}: {status}");
        }
    }
    for body in
        [&b"zz\r\n{}\r\n0\r\n\r\n"[..], b"ffffffffffffffff\r\n", b"5\r\n{\"e\r\n", b"-1\r\n"]
    {
        if let Ok(status) = exchange("Transfer-Encoding: chunked", body) {
            ensure!((400..500).contains(&status), "chunks {body:?}: {status}");
        }
    }
    target.untouched()
}

#[test]
fn a_slow_client_is_408_and_disturbs_nobody() -> Result<()> {
    let mut target = Target::start(&["--body-timeout-ms", "1500", "--header-timeout-ms", "1500"])?;
    let good = EVENTS.good.as_bytes();
    let head = format!("Content-Length: {}", good.len());
    let whole = raw(&target, &head, good);
    let mut slow = Vec::new();
    for n in 0..20 {
        let mut connection = Connection::open(target.server.address)?;
        connection.send(&whole[..whole.len() - 1 - n])?;
        slow.push(connection);
    }
    let mut headless = Connection::open(target.server.address)?;
    headless.send(&whole[..40])?;
    // The others are served meanwhile.
    for _ in 0..5 {
        target.bad(EVENTS, "{")?;
    }
    for mut connection in slow {
        let answer = connection.answer().context("a slow body")?;
        ensure!(answer.status == 408, "{answer:?}");
    }
    if let Ok(answer) = headless.answer() {
        ensure!(answer.status == 408, "{answer:?}");
    }
    target.untouched()
}
