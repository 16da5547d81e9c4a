//! What the front door itself refuses, in the shape of the API that was called.

use std::time::Duration;

use millrace_ingest::Config;
use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, config};
use crate::people::{SignIn, signed};

const REGISTER: &str = "/auth/register";
const LOGIN: &str = "/auth-rs/v2/bo/login";
/// Of the two APIs, in this order.
const BOTH: [&str; 2] = [REGISTER, LOGIN];
const LIMIT_BYTES: usize = 256 * 1024;

async fn post(fixture: &Fixture, path: &str, headers: &str, body: &[u8]) -> Answer {
    fixture.request("POST", path, &format!("{}{headers}", signed("")), body).await
}

/// The words of a refusal, whose shape must be that of the API.
fn words(answer: &Answer, path: &str) -> (u16, String) {
    assert_eq!(answer.headers["content-type"], "application/json", "{path}");
    let body = answer.json();
    let word = match path {
        path if path == LOGIN || path.starts_with("/users/v1/bo") => {
            assert_eq!(body["error"].as_object().unwrap().len(), 3, "{body}");
            assert!(body["error"]["fields"].is_array());
            &body["error"]["code"]
        }
        _ => {
            assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
            &body["detail"]
        }
    };
    (answer.status, word.as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let fixture = Fixture::with_people().await;
    for (call, status, word, allow) in [
        ("GET /auth/nothing", 404, "Not Found", None),
        ("GET /app/v0/nothing", 404, "Not Found", None),
        ("GET /users/v1", 404, "Not Found", None),
        ("GET /auth/register", 405, "Method Not Allowed", Some("POST")),
        ("POST /users", 405, "Method Not Allowed", Some("GET, HEAD, DELETE")),
        ("PUT /user/info", 405, "Method Not Allowed", Some("PATCH")),
        ("GET /app/v0/log", 405, "Method Not Allowed", Some("POST")),
        ("GET /users/v1/bo/nothing", 404, "NOT_FOUND", None),
        ("DELETE /users/v1/bo", 405, "METHOD_NOT_ALLOWED", Some("GET, HEAD")),
        ("GET /users/v1/bo/audit/1", 405, "METHOD_NOT_ALLOWED", Some("PATCH")),
    ] {
        let path = call.split_once(' ').unwrap().1;
        let answer = fixture.ask(call, "", &Value::Null).await;
        assert_eq!(words(&answer, path), (status, word.to_owned()), "{call}");
        assert_eq!(answer.headers.get("allow").map(String::as_str), allow, "{call}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_and_unknown_encodings_415() {
    let fixture = Fixture::with_people().await;
    let mut body = b"{}".to_vec();
    body.resize(LIMIT_BYTES, b' ');
    let bomb = zstd::bulk::compress(&vec![b' '; LIMIT_BYTES + 1], 3).unwrap();
    let encoded = zstd::bulk::compress(&body, 3).unwrap();
    let zstd = "Content-Encoding: zstd\r\n";
    for (path, invalid, code) in [(REGISTER, 422, None), (LOGIN, 400, Some("INVALID_REQUEST"))] {
        assert_eq!(post(&fixture, path, "", &body).await.status, invalid, "{path}");
        assert_eq!(post(&fixture, path, zstd, &encoded).await.status, invalid, "{path}");
        let damaged = post(&fixture, path, zstd, b"nonsense").await;
        assert_eq!(damaged.status, invalid, "{path}");
        match code {
            Some(code) => assert_eq!(words(&damaged, path).1, code),
            None => {
                let mut error = damaged.json()["detail"][0].take();
                assert!(error["msg"].take().is_string());
                let expected = json!({"loc": ["body"], "msg": null, "type": "json_invalid"});
                assert_eq!(error, expected);
            }
        }
    }
    body.push(b' ');
    for path in BOTH {
        for (headers, body) in [("", &body), (zstd, &bomb)] {
            let answer = post(&fixture, path, headers, body).await;
            let (status, word) = words(&answer, path);
            assert_eq!(status, 413);
            assert!(word == "BODY_TOO_LARGE" || word.contains("262144 bytes"), "{word}");
        }
        let answer = post(&fixture, path, "Content-Encoding: compress\r\n", b"{}").await;
        let (status, word) = words(&answer, path);
        assert_eq!((status, word.is_empty()), (415, false));
        assert_eq!(answer.headers["accept-encoding"], "gzip, zstd, deflate, br");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408_and_ends_the_connection() {
    let config = Config { body_timeout: Duration::from_millis(50), ..config() };
    let fixture = Fixture::of_people(config, SignIn::default()).await;
    for path in BOTH {
        let mut connection = fixture.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\n{}Content-Length: 3\r\n\r\n{{", signed(""));
        connection.send(head.as_bytes()).await;
        let answer = connection.answer(false).await;
        assert_eq!((words(&answer, path).0, &*answer.headers["connection"]), (408, "close"));
        assert!(connection.try_answer(false).await.is_none(), "{path}");
    }
}

#[tokio::test]
async fn bytes_beyond_admission_are_503_with_a_retry_after() {
    let config = Config { admission_bytes: 100, ..config() };
    let fixture = Fixture::of_people(config, SignIn::default()).await;
    for path in BOTH {
        let answer = post(&fixture, path, "", &[b' '; 101]).await;
        assert_eq!((words(&answer, path).0, &*answer.headers["retry-after"]), (503, "1"));
    }
}

#[tokio::test]
async fn a_front_door_where_nobody_signs_in_says_501() {
    let fixture = Fixture::new().await;
    for (path, word) in [(REGISTER, "Not Implemented"), (LOGIN, "NOT_IMPLEMENTED")] {
        let answer = post(&fixture, path, "", b"{}").await;
        assert_eq!(words(&answer, path), (501, word.to_owned()));
    }
    assert_eq!(fixture.ask("GET /auth/register", "", &Value::Null).await.status, 405);
}

#[tokio::test]
async fn the_log_calls_refuse_keys_in_the_shape_of_the_accounts() {
    let fixture = Fixture::new().await;
    let (_, read_only) = fixture.mint("p 1", &[millrace_accounts::Scope::Read], None);
    for path in ["/app/v0/log", "/app/v0/log/activity"] {
        for (token, query, status, word) in [
            ("", "", 401, "Unauthorized"),
            ("nonsense", "", 401, "Unauthorized"),
            (&*fixture.key, "?project_id=p%202", 401, "Unauthorized"),
            (&*read_only, "", 403, "Forbidden"),
        ] {
            let answer = post_signed(&fixture, &format!("{path}{query}"), token, b"{}").await;
            assert_eq!(words(&answer, path), (status, word.to_owned()), "{path}{query}");
        }
        let answer = post_signed(&fixture, path, &fixture.key, b"").await;
        assert!(![401, 403].contains(&answer.status), "the key alone names the project");
    }
}

async fn post_signed(fixture: &Fixture, target: &str, token: &str, body: &[u8]) -> Answer {
    fixture.request("POST", target, &signed(token), body).await
}
