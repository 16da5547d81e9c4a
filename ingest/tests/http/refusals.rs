//! What is refused, with which status, code and headers; and that nothing is stored then.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use millrace_accounts::Scope;
use millrace_ingest::Config;
use millrace_schema::Topic;
use millrace_schema::limits::Limits;

use crate::broken::Broken;
use crate::fixture::{Connection, Fixture, QUERY, config};

const EVENTS: &str = "/v1/api/events";
const ONE: &[u8] = br#"{"events":[{"name":"n","user_id":"u"}]}"#;
const CALLS: [&str; 5] = [
    EVENTS,
    "/v1/api/profile/user",
    "/v1/api/profile/user/device/bulk",
    "/v1/api/profile/user/deletion-job",
    "/v1/api/profile/user/deletion-job/bulk",
];

#[tokio::test]
async fn keys_and_projects_are_checked_in_the_order_401_403_400() {
    let fixture = Fixture::new().await;
    let (_, read_only) = fixture.mint("p 1", &[Scope::Read], None);
    let (_, expired) = fixture.mint("p 1", &Scope::ALL, Some(1));
    let (_, other) = fixture.mint("p 2", &Scope::ALL, None);
    let (id, revoked) = fixture.mint("p 1", &Scope::ALL, None);
    fixture.verifier.revoke(id);
    let bearer = |key: &str| format!("Authorization: Bearer {key}\r\n");
    let good = bearer(&fixture.key);
    let project = format!("?{QUERY}");
    let table = [
        (String::new(), &*project, 401),
        ("Authorization: Basic eDp5\r\n".to_owned(), &project, 401),
        (bearer("nonsense"), &project, 401),
        (bearer("nonsense"), "", 401),
        (bearer(&expired), &project, 401),
        (bearer(&revoked), &project, 401),
        (bearer(&other), &project, 401),
        (good.clone(), "?project_id=p%202", 401),
        (bearer(&read_only), "?project_id=p%202", 401),
        (bearer(&read_only), &project, 403),
        (bearer(&read_only), "", 403),
        (good.clone(), "", 400),
        (good.clone(), "?project_id=", 400),
        (good, &project, 400),
    ];
    for path in CALLS {
        for (headers, query, status) in &table {
            let target = format!("{path}{query}");
            let answer = fixture.request("POST", &target, headers, b"{").await;
            assert_eq!(answer.status, *status, "{target} {headers}");
            assert_eq!(answer.headers["content-type"], "application/json");
            let body = answer.json();
            assert_eq!(body["total"], 1 - u64::from(*status == 403), "{body}");
            let message = body["message"].as_str().unwrap();
            match status {
                401 => assert_eq!(message, "Unauthorized request."),
                400 if path.ends_with("/bulk") && path.contains("deletion") => {
                    assert_eq!(message, "Invalid request.");
                }
                400 => assert_eq!(message, "Invalid request parameters."),
                _ => assert_eq!(body["code"], "FORBIDDEN"),
            }
        }
        let answer = fixture.request("POST", path, &bearer(&fixture.key), ONE).await;
        assert_eq!(answer.codes(), ["MISSING_FIELD"], "{path}");
        assert_eq!(answer.json()["errors"][0]["field"], "project_id");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_apart() {
    let fixture = Fixture::new().await;
    let answer = fixture.request("POST", "/nowhere", "", b"").await;
    assert_eq!((answer.status, &answer.json()["code"]), (404, &"NOT_FOUND".into()));
    let answer = fixture.request("GET", EVENTS, "", b"").await;
    assert_eq!((answer.status, &*answer.headers["allow"]), (405, "POST"));
    assert_eq!(answer.json()["code"], "METHOD_NOT_ALLOWED");
    let answer = fixture.request("PUT", CALLS[3], "", b"").await;
    assert_eq!(answer.headers["allow"], "GET, HEAD, POST");
    let answer = fixture.request("HEAD", "/healthz", "", b"").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(fixture.request("GET", "/healthz", "", b"").await.status, 200);
    assert_eq!(fixture.request("GET", "/readyz", "", b"").await.status, 200);
    let openapi = fixture.request("GET", "/openapi.json", "", b"").await;
    assert_eq!(openapi.json()["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
}

#[tokio::test]
async fn the_request_id_is_echoed_on_every_answer() {
    let fixture = Fixture::new().await;
    for (method, target) in [("GET", "/healthz"), ("GET", "/nowhere"), ("POST", EVENTS)] {
        let given = fixture.request(method, target, "X-Request-Id: abc 1\r\n", b"").await;
        assert_eq!(given.headers["x-request-id"], "abc 1", "{target}");
        let long = format!("X-Request-Id: {}\r\n", "a".repeat(129));
        let made = fixture.request(method, target, &long, b"").await;
        assert!(made.headers["x-request-id"].len() < 129, "{target}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_and_unknown_encodings_415() {
    let limits = Limits { body_bytes: 1_000, ..Limits::default() };
    let fixture = Fixture::with(Config { limits, ..config() }, None).await;
    let mut body = ONE.to_vec();
    body.resize(1_000, b' ');
    assert_eq!(fixture.post(EVENTS, "", &body).await.status, 202);
    body.push(b' ');
    let answer = fixture.post(EVENTS, "", &body).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"BODY_TOO_LARGE".into()));
    assert!(answer.json()["message"].as_str().unwrap().contains("1000 bytes"));
    // Far more than fits into the sockets' buffers: the answer is seen all the same.
    let answer = fixture.post(EVENTS, "", &vec![b' '; 8_000_000]).await;
    assert_eq!(answer.status, 413);
    let mut waiting = fixture.being_read_in_chunks().await;
    for _ in 0..100 {
        waiting.send(b"8000\r\n").await;
        waiting.send(&[b' '; 0x8000]).await;
        waiting.send(b"\r\n").await;
    }
    let answer = waiting.answer(false).await;
    assert_eq!((answer.status, &*answer.headers["connection"]), (413, "close"));

    let bomb = zstd::bulk::compress(&vec![b' '; 10_000_000], 3).unwrap();
    let answer = fixture.post(EVENTS, "Content-Encoding: zstd\r\n", &bomb).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    let answer = fixture.post(EVENTS, "Content-Encoding: zstd\r\n", b"nonsense").await;
    assert_eq!((answer.status, answer.codes()), (400, vec!["INVALID_JSON".to_owned()]));
    let answer = fixture.post(EVENTS, "Content-Encoding: compress\r\n", ONE).await;
    assert_eq!((answer.status, &answer.json()["code"]), (415, &"UNSUPPORTED_ENCODING".into()));
    assert_eq!(fixture.records(Topic::Events).await.len(), 1);
}

#[tokio::test]
async fn a_content_length_that_lies_is_a_408_or_a_400() {
    let config = Config { body_timeout: Duration::from_millis(50), ..config() };
    let fixture = Fixture::with(config, None).await;
    let mut connection = fixture.connect().await;
    connection.send(fixture.events_head(ONE.len() + 1).as_bytes()).await;
    connection.send(ONE).await;
    let answer = connection.answer(false).await;
    assert_eq!((answer.status, &answer.json()["code"]), (408, &"REQUEST_TIMEOUT".into()));
    assert!(connection.try_answer(false).await.is_none(), "the connection is closed");

    let mut connection = fixture.connect().await;
    connection.send(fixture.events_head(ONE.len() - 1).as_bytes()).await;
    connection.send(ONE).await;
    assert_eq!(connection.answer(false).await.status, 400);
    assert!(fixture.records(Topic::Events).await.is_empty());
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let config = Config { header_timeout: Duration::from_millis(50), ..config() };
    let fixture = Fixture::with(config, None).await;
    let mut connection = fixture.connect().await;
    connection.send(b"POST /v1/api/events HTTP/1.1\r\nX: ").await;
    assert!(connection.try_answer(false).await.is_none_or(|answer| answer.status == 408));
}

#[tokio::test]
async fn bytes_beyond_admission_are_503_at_once() {
    let fixture = Fixture::with(Config { admission_bytes: 1_000, ..config() }, None).await;
    let mut held = fixture.being_read(900).await;
    let mut body = ONE.to_vec();
    body.resize(101, b' ');
    let refused = fixture.post(EVENTS, "", &body).await;
    assert_eq!((refused.status, &*refused.headers["retry-after"]), (503, "1"));
    assert_eq!(refused.json()["code"], "UNAVAILABLE");
    body.truncate(100);
    assert_eq!(fixture.post(EVENTS, "", &body).await.status, 202);
    held.send(&[b' '; 900]).await;
    assert_eq!(held.answer(false).await.status, 400);
    body.resize(1_000, b' ');
    assert_eq!(fixture.post(EVENTS, "", &body).await.status, 202);
}

#[tokio::test]
async fn a_project_over_its_rate_is_429_with_an_integer_retry_after() {
    let rate = NonZeroU32::new(1);
    let fixture = Fixture::with(Config { rate_items_per_s: rate, ..config() }, None).await;
    let body = br#"{"events":[{"name":"n","user_id":"u"},{"name":"n","user_id":"u"},
        {"name":"n","user_id":"u"},{"name":"n","user_id":"u"}]}"#;
    assert_eq!(fixture.post(EVENTS, "", body).await.status, 202);
    let answer = fixture.post(EVENTS, "", body).await;
    assert_eq!((answer.status, &answer.json()["code"]), (429, &"RATE_LIMITED".into()));
    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn a_log_that_fails_or_is_silent_is_503_and_not_ready() {
    for answers in [true, false] {
        let config = Config { append_timeout: Duration::from_millis(20), ..config() };
        let fixture = Fixture::with(config, Some(Arc::new(Broken::new(answers)))).await;
        for (path, body) in [(EVENTS, ONE), (CALLS[3], br#"{"user_id":"u"}"#)] {
            let answer = fixture.post(path, "", body).await;
            assert_eq!((answer.status, &*answer.headers["retry-after"]), (503, "1"), "{path}");
            assert!(!String::from_utf8(answer.body).unwrap().contains("secret"));
        }
        let ready = fixture.request("GET", "/readyz", "", b"").await;
        assert_eq!(ready.status, 503);
        assert_eq!(ready.json()["reasons"][0], "log: broken");
        assert_eq!(fixture.request("GET", "/healthz", "", b"").await.status, 200);
    }
}

#[tokio::test]
async fn the_admin_address_serves_metrics_and_the_ledger() {
    let fixture = Fixture::new().await;
    fixture.post(EVENTS, "", ONE).await;
    for (path, status) in [("/metrics", 200), ("/ledger", 200), ("/readyz", 200), ("/x", 404)] {
        let mut connection = Connection::to(fixture.server.admin_addr()).await;
        connection.send(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert_eq!(connection.answer(false).await.status, status, "{path}");
    }
}
