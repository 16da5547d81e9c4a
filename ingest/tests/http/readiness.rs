//! What is said of readiness, and what is refused before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_ingest::{Check, Problem};
use serde_json::json;

use crate::fixture::Fixture;

const ONE: &[u8] = br#"{"events":[{"name":"n","user_id":"u"}]}"#;

#[tokio::test]
async fn before_the_revocations_are_read_good_keys_get_503_and_others_401() {
    let fixture = Fixture::unread(Vec::new()).await;
    let answer = fixture.post("/v1/api/events", "", ONE).await;
    assert_eq!((answer.status, &*answer.headers["retry-after"]), (503, "1"));
    assert_eq!(answer.json()["code"], "UNAVAILABLE");
    let message = answer.json()["message"].to_string();
    assert!(message.contains("keys cannot be checked"), "{message}");
    let answer =
        fixture.request("POST", "/v1/api/events", "Authorization: Bearer x\r\n", ONE).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_problem_that_refuses_nobody_is_said_and_leaves_the_process_ready() {
    let severe = Arc::new(AtomicBool::new(true));
    let is_severe = Arc::clone(&severe);
    let check: Check = Box::new(move || {
        let reason = "store: away".to_owned();
        Err(match is_severe.load(Ordering::SeqCst) {
            true => Problem::NotReady(reason),
            false => Problem::Degraded(reason),
        })
    });
    let fixture = Fixture::unread(vec![check]).await;
    let answer = fixture.request("GET", "/readyz", "", b"").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"status": "not ready", "reasons": ["store: away"]}));
    severe.store(false, Ordering::SeqCst);
    let answer = fixture.request("GET", "/readyz", "", b"").await;
    assert_eq!(answer.status, 200);
    let expected = json!({"status": "ready", "reasons": [], "degraded": ["store: away"]});
    assert_eq!(answer.json(), expected);
}
