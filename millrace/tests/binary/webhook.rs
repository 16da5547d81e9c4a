//! Receipts of deletions at the webhook of their project.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::common::{Server, eventually, run, run_json, text};

/// Takes every message with 204.
struct Hook {
    address: SocketAddr,
    messages: Receiver<Message>,
}

struct Message {
    head: String,
    body: String,
}

impl Message {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).unwrap().1
    }
}

impl Hook {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                take(stream.unwrap(), &sender);
            }
        });
        Self { address, messages }
    }
}

fn take(mut stream: TcpStream, messages: &Sender<Message>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "it ended early");
        bytes.extend_from_slice(&chunk[..read]);
        let received = text(&bytes);
        let Some((head, body)) = received.split_once("\r\n\r\n") else { continue };
        let message = Message { head: head.to_owned(), body: body.to_owned() };
        if message.header("content-length") == body.len().to_string() {
            messages.send(message).unwrap();
            break;
        }
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
}

/// Has a user deleted; the path of the job.
fn delete(server: &Server, user: &str) -> String {
    let key = server.field("api_key");
    let events = json!({"events": [{"name": "mkt_login", "user_id": user}]}).to_string();
    assert_eq!(server.post("/v1/api/events?project_id=demo", key, &events).status, 202);
    let path = "/v1/api/profile/user/deletion-job";
    let body = json!({ "user_id": user }).to_string();
    let accepted = server.post(&format!("{path}?project_id=demo"), key, &body);
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let mut id = None;
    eventually("the job is listed", || {
        let list = server.get(&format!("{path}?project_id=demo"), key).json();
        id = list["jobs"][0]["job_id"].as_str().map(str::to_owned);
        id.is_some()
    });
    format!("{path}/{}", id.unwrap())
}

/// The webhook of a job, once it is as wanted.
fn webhook(server: &Server, job: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut webhook = Value::Null;
    eventually("the webhook is as wanted", || {
        let path = format!("{job}?project_id=demo");
        let answer = server.get(&path, server.field("api_key"));
        if answer.status == 200 {
            webhook = answer.json()["webhook"].take();
        }
        is(&webhook)
    });
    webhook
}

fn set(data: &Path, url: &str) {
    let set = run_json(data, &["project", "webhook", "set", "demo", url]);
    assert_eq!(set, json!({"project_id": "demo", "url": url}));
}

/// The key of the JWKS that a token names.
fn public_key(server: &Server, token: &str) -> Vec<u8> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let jwks = server.get("/.well-known/jwks.json", "").json();
    let keys = jwks["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap()
}

#[test]
fn a_receipt_arrives_signed_at_the_webhook_of_its_project() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_with(&data, &["--webhook-allow-net", "127.0.0.0/8"]);
    let hook = Hook::start();
    set(&data, &format!("http://{}/receipts?key=s3cret", hook.address));
    let job = delete(&server, "mina");
    let message = hook.messages.recv_timeout(Duration::from_secs(60)).unwrap();
    let delivered = webhook(&server, &job, |webhook| webhook["state"] == "delivered");
    assert_eq!((&delivered["attempts"], &delivered["error"]), (&json!(1), &Value::Null));

    assert!(message.head.starts_with("POST /receipts?key=s3cret HTTP/1.1\r\n"), "{}", message.head);
    assert_eq!(message.header("content-type"), "application/jwt");
    let receipt = server.get(&format!("{job}/receipt?project_id=demo"), server.field("api_key"));
    assert_eq!((receipt.status, &receipt.body), (200, &message.body));
    let (id, time) = (message.header("webhook-id"), message.header("webhook-timestamp"));
    let signature = message.header("webhook-signature").strip_prefix("v1a,").unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, public_key(&server, &message.body));
    key.verify(format!("{id}.{time}.{}", message.body).as_bytes(), &signature).unwrap();

    let metrics = server.admin("/metrics").body;
    let counted = r#"millrace_webhook_deliveries_total{outcome="delivered"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    let (status, _, err) = server.terminate();
    assert!(status.success() && !err.contains("s3cret"), "{err}");
}

#[test]
fn a_webhook_at_a_private_address_is_refused_and_the_job_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let hook = Hook::start();
    set(&data, &format!("https://{}/receipts", hook.address));
    let job = delete(&server, "mina");
    let refused = webhook(&server, &job, |webhook| webhook["error"].is_string());
    assert_eq!(refused["state"], "pending");
    assert_eq!(refused["error"], "the address 127.0.0.1 is refused: it is loopback");
    assert!(hook.messages.try_recv().is_err());
}

#[test]
fn webhooks_are_set_listed_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _server = Server::start(&data);
    let list = || run_json(&data, &["project", "webhook", "list"]);
    assert_eq!(list(), json!({"webhooks": []}));
    let url = "https://hooks.example.org/receipts";
    set(&data, url);
    assert_eq!(list(), json!({"webhooks": [{"project_id": "demo", "url": url}]}));
    let shown = run(&data, &["project", "webhook", "list"]);
    assert!(text(&shown.stdout).contains(url), "{}", text(&shown.stdout));
    for _ in 0..2 {
        let cleared = run_json(&data, &["project", "webhook", "clear", "demo"]);
        assert_eq!(cleared, json!({"project_id": "demo", "url": null}));
    }
    assert_eq!(list(), json!({"webhooks": []}));

    let long = format!("https://example.org/{}", "a".repeat(2048));
    let refused = [
        ("nobody", url, "there is no project"),
        ("demo", "ftp://example.org/", "must begin with https://"),
        ("demo", "example.org", "must begin with https://"),
        ("demo", "https://user:s3cret@example.org/", "user or password"),
        ("demo", "https://example.org:99999/", "port"),
        ("demo", "https://exämple.org/", "cannot be read"),
        ("demo", &long, "has 2068 bytes, and may have 2048"),
    ];
    for (project, url, why) in refused {
        let output = run(&data, &["project", "webhook", "set", project, url]);
        assert_eq!(output.status.code(), Some(1), "{url}");
        let err = text(&output.stderr);
        assert!(err.contains(why) && !err.contains("s3cret"), "{url}: {err}");
    }
}

#[test]
fn a_net_or_a_file_of_certificates_that_is_none_is_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let net = run(&data, &["dev", "--webhook-allow-net", "10.1.0.0/8"]);
    assert_eq!(net.status.code(), Some(2));
    assert!(text(&net.stderr).contains("its first address is 10.0.0.0"), "{}", text(&net.stderr));
    let args = ["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let ca = run(&data, &[&args[..], &["--webhook-ca", "/nowhere/ca.pem"]].concat());
    assert_eq!(ca.status.code(), Some(1));
    assert!(text(&ca.stderr).contains("--webhook-ca: CA certificates"), "{}", text(&ca.stderr));
}
