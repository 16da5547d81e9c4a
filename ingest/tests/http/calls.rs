//! What is accepted, and what stands in the log when it is.

use millrace_schema::record::{Body, Reach};
use millrace_schema::{Record, Topic};
use serde_json::json;

use crate::fixture::{Fixture, PROJECT, QUERY};

const EVENTS: &str = "/v1/api/events";
const PROFILES: &str = "/v1/api/profile/user";
const DEVICES: &str = "/v1/api/profile/user/device/bulk";
const DELETION: &str = "/v1/api/profile/user/deletion-job";
const BULK_DELETION: &str = "/v1/api/profile/user/deletion-job/bulk";

#[tokio::test]
async fn an_event_is_in_the_log_when_its_202_comes() {
    let fixture = Fixture::new().await;
    let body = br#"{"events":[{"name":"n","user_id":"u","properties":{"a": 1.10},"x":2}]}"#;
    let answer = fixture.post(EVENTS, "", body).await;
    assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
    assert_eq!(answer.headers["millrace-ack"], "fsynced");
    assert_eq!(answer.headers["content-length"], "0");

    let records = fixture.records(Topic::Events).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].1.key, format!("{PROJECT}\0u"));
    let record = Record::decode(&records[0].1.value).unwrap();
    let Body::Event(event) = record.body else { panic!("not an event") };
    assert_eq!((&*record.project, &*event.user, &*event.name), (PROJECT, "u", "n"));
    assert_eq!(event.time_us, Some(record.received_us));
    assert_eq!(event.properties.as_deref(), Some(r#"{"a": 1.10}"#));
    assert_eq!(event.extra.as_deref(), Some(r#"{"x":2}"#));
}

#[tokio::test]
async fn profiles_and_devices_go_to_their_topics() {
    let fixture = Fixture::new().await;
    let body = br#"{"profiles":[{"user_id":"u"},{"user_id":"v"}]}"#;
    assert_eq!(fixture.post(PROFILES, "", body).await.status, 202);
    let body = br#"{"devices":[
        {"device_id":"d","platform":"ios","user_id":"u","token":"t"},
        {"device_id":"e","platform":"web","remove_user_id":true}]}"#;
    assert_eq!(fixture.post(DEVICES, "", body).await.status, 202);
    assert_eq!(fixture.records(Topic::Profiles).await.len(), 2);
    let devices = fixture.records(Topic::Devices).await;
    let mut keys: Vec<_> = devices.iter().map(|(_, r)| r.key.to_vec()).collect();
    keys.sort();
    assert_eq!(keys, [b"p 1\0\0e".to_vec(), b"p 1\0u".to_vec()]);
}

#[tokio::test]
async fn empty_lists_are_202_and_append_nothing() {
    let fixture = Fixture::new().await;
    for (path, body) in [
        (EVENTS, r#"{"events":[]}"#),
        (PROFILES, r#"{"profiles":[]}"#),
        (DEVICES, r#"{"devices":[]}"#),
    ] {
        let answer = fixture.post(path, "", body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{path}");
        assert!(answer.headers.contains_key("millrace-ack"), "{path}");
    }
    for topic in Topic::DATA {
        assert!(fixture.records(topic).await.is_empty(), "{topic}");
    }
}

#[tokio::test]
async fn a_deletion_is_sealed_after_its_markers() {
    let fixture = Fixture::new().await;
    let ids: Vec<String> = (0..5_000).map(|n| format!("u{n}")).collect();
    let body = json!({"user_ids": ids, "erase": ["events", "profile"]}).to_string();
    let answer = fixture.post(BULK_DELETION, "", body.as_bytes()).await;
    assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
    let location = &answer.headers["location"];
    let job_id = location.strip_prefix("/v1/api/profile/user/deletion-job/").unwrap();
    let job_id = job_id.strip_suffix(&format!("?{QUERY}")).unwrap();

    let jobs = fixture.records(Topic::Deletions).await;
    let Body::Job(job) = Record::decode(&jobs[0].1.value).unwrap().body else { panic!("no job") };
    assert_eq!((job.job.to_string(), job.users), (job_id.to_owned(), 5_000));
    assert_eq!(job.erase, [Reach::Profile, Reach::Events]);
    assert!(fixture.records(Topic::Devices).await.is_empty());
    for topic in [Topic::Events, Topic::Profiles] {
        let markers = fixture.records(topic).await;
        assert_eq!(markers.len(), 5_000);
        for fence in job.fence.iter().filter(|fence| fence.topic == topic) {
            let here = markers.iter().filter(|(p, _)| *p == fence.partition);
            let offsets: Vec<u64> = here.map(|(_, record)| record.offset).collect();
            let expected = (fence.first, fence.last, fence.count);
            assert_eq!((offsets[0], offsets[offsets.len() - 1], offsets.len() as u64), expected);
        }
    }
}

#[tokio::test]
async fn one_user_is_deleted_everywhere_and_the_same_key_is_the_same_job() {
    let fixture = Fixture::new().await;
    let delete = || fixture.post(DELETION, "Idempotency-Key: k\r\n", br#"{"user_id":"u"}"#);
    let (first, second) = (delete().await, delete().await);
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.headers["location"], second.headers["location"]);
    for topic in Topic::DATA {
        assert_eq!(fixture.records(topic).await.len(), 2, "{topic}");
    }
    let other = fixture.post(DELETION, "Idempotency-Key: l\r\n", br#"{"user_id":"u"}"#).await;
    assert_ne!(first.headers["location"], other.headers["location"]);
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_items_the_same_ids() {
    let fixture = Fixture::new().await;
    let body = br#"{"events":[{"name":"n","user_id":"u"},{"name":"n","user_id":"u"}]}"#;
    for _ in 0..2 {
        let answer = fixture.post(EVENTS, "Idempotency-Key: k\r\n", body).await;
        assert_eq!(answer.status, 202);
    }
    let records = fixture.records(Topic::Events).await;
    let ids: Vec<String> = records
        .iter()
        .map(|(_, record)| match Record::decode(&record.value).unwrap().body {
            Body::Event(event) => event.id.into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), 4);
    assert_eq!((&ids[0], &ids[1]), (&ids[2], &ids[3]));
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn lenient_calls_take_the_good_items_and_say_what_was_bad() {
    let fixture = Fixture::new().await;
    let lenient = "Prefer: handling=lenient\r\n";
    let body = br#"{"events":[{"name":"n","user_id":"u"},{"name":"n"}]}"#;
    assert_eq!(fixture.post(EVENTS, "", body).await.status, 400);
    assert!(fixture.records(Topic::Events).await.is_empty());

    let answer = fixture.post(EVENTS, lenient, body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.headers["preference-applied"], "handling=lenient");
    assert_eq!(answer.headers["millrace-ack"], "fsynced");
    let said = answer.json();
    assert_eq!(said["accepted"], 1);
    assert_eq!(
        (&said["rejected"][0]["index"], &said["rejected"][0]["code"]),
        (&json!(1), &json!("MISSING_FIELD"))
    );
    assert_eq!(fixture.records(Topic::Events).await.len(), 1);

    let answer = fixture.post(EVENTS, lenient, br#"{"events":[{}]}"#).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(0)));
    let answer = fixture.post(BULK_DELETION, lenient, br#"{"user_ids":["u", ""]}"#).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(1)));
    assert!(answer.headers.contains_key("location"));
    let answer = fixture.post(BULK_DELETION, lenient, br#"{"user_ids":[""]}"#).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(0)));
    assert!(!answer.headers.contains_key("location"));
    assert_eq!(fixture.post(EVENTS, lenient, b"{").await.status, 400);
}

#[tokio::test]
async fn ndjson_and_encoded_bodies_are_read() {
    use std::io::Write;
    let fixture = Fixture::new().await;
    let lines = b"{\"name\":\"n\",\"user_id\":\"u\"}\n\n{\"name\":\"n\",\"user_id\":\"v\"}\n";
    let ndjson = "Content-Type: application/x-ndjson; charset=utf-8\r\n";
    assert_eq!(fixture.post(EVENTS, ndjson, lines).await.status, 202);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines).unwrap();
    let headers = format!("{ndjson}Content-Encoding: gzip\r\n");
    assert_eq!(fixture.post(EVENTS, &headers, &gzip.finish().unwrap()).await.status, 202);
    assert_eq!(fixture.records(Topic::Events).await.len(), 4);
}

#[tokio::test]
async fn a_body_beyond_the_inline_size_is_read_all_the_same() {
    let fixture = Fixture::new().await;
    let filler = "x".repeat(1_000);
    let item = json!({"name": "n", "user_id": "u", "properties": {"f": filler}});
    let body = json!({"events": vec![item; 1_000]}).to_string();
    assert!(body.len() > 1_000_000);
    assert_eq!(fixture.post(EVENTS, "", body.as_bytes()).await.status, 202);
    assert_eq!(fixture.records(Topic::Events).await.len(), 1_000);
}

#[tokio::test]
async fn a_chunked_body_and_two_requests_on_one_connection_are_read() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connect().await;
    let chunked = fixture.events_head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    for _ in 0..2 {
        connection.send(chunked.as_bytes()).await;
        connection.send(b"7\r\n{\"event\r\n6\r\ns\":[]}\r\n0\r\n\r\n").await;
        assert_eq!(connection.answer(false).await.status, 202);
    }
}

#[tokio::test]
async fn appends_and_deletions_survive_a_client_that_hangs_up() {
    let fixture = Fixture::new().await;
    let event = br#"{"events":[{"name":"n","user_id":"u"}]}"#;
    let deletion = br#"{"user_id":"u"}"#;
    let table = [(EVENTS, &event[..], Topic::Events), (DELETION, deletion, Topic::Deletions)];
    for (path, body, topic) in table {
        let mut connection = fixture.connect().await;
        let head = fixture.events_head(body.len()).replace(EVENTS, path);
        connection.send(head.as_bytes()).await;
        connection.send(body).await;
        drop(connection);
        fixture.wait_for_a_record(topic).await;
    }
}
