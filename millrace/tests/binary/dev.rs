//! `millrace dev`, as the real binary: how it starts, what it says, how it stops.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::{
    Server, eventually, millrace, request, rest, run, spawn, terminate, text, wait,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn data(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("data")
}

#[test]
fn it_is_ready_when_it_says_so_and_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let key = server.field("api_key").to_owned();
    assert_eq!(server.field("project_id"), "demo");
    assert_eq!(server.greeting.as_object().unwrap().len(), 4);
    assert_eq!(server.get("/readyz", "").status, 200);
    let admin = server.field("admin_url").strip_prefix("http://").unwrap().to_owned();
    assert_eq!(request(&admin, "GET", "/metrics", "", "").status, 200);
    let body = r#"{"events":[{"name":"mkt_login","user_id":"mina"}]}"#;
    assert_eq!(server.post("/v1/api/events?project_id=demo", &key, body).status, 202);

    let (status, out, err) = server.terminate();
    assert_eq!(status.code(), Some(0), "{err}");
    assert_eq!(out, "");
    assert!(!err.contains(&key), "the key is in the log");
    assert!(!err.contains('\u{1b}'), "colours in what is no terminal: {err:?}");
}

#[test]
fn the_demo_key_stays_and_secrets_are_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let first = Server::start(&data);
    for name in ["demo.json", "admin.sock", "keys/signing.pem", "keys/token.secret"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    for name in ["keys", "outbox"] {
        assert_eq!(mode(&data.join(name)), 0o700, "{name}");
    }
    let key = first.field("api_key").to_owned();
    first.terminate();
    assert!(!data.join("admin.sock").exists());
    let second = Server::start(&data);
    assert_eq!(second.field("api_key"), key);
}

#[test]
fn what_was_accepted_is_there_after_a_kill_and_the_stale_socket_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let key = server.field("api_key").to_owned();
    let body = r#"{"profiles":[{"user_id":"mina","properties":{"mkt_name":"Mina"}}]}"#;
    assert_eq!(server.post("/v1/api/profile/user?project_id=demo", &key, body).status, 202);
    server.kill();
    assert!(data.join("admin.sock").exists());

    let output = run(&data, &["project", "list"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let server = Server::start(&data);
    let path = "/v1/api/users/mina?project_id=demo";
    eventually("the profile is read back", || server.get(path, &key).status == 200);
    let user = server.get(path, &key).json();
    assert_eq!(user["properties"]["mkt_name"]["value"], "Mina");
}

/// A request of which the last byte is still to come.
fn unfinished(server: &Server) -> TcpStream {
    let (address, key) = (server.address(), server.field("api_key"));
    let body = r#"{"events":[{"name":"mkt_login","user_id":"mina"}]}"#;
    let length = body.len();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/api/events?project_id=demo HTTP/1.1\r\nHost: {address}\r\n\
         Authorization: Bearer {key}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The server says this when it has begun to read the body.
    let mut line = [0; 25];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body.as_bytes()[..length - 1]).unwrap();
    stream
}

fn signal_and_wait_for_the_closed_door(server: &Server) {
    server.signal();
    eventually("no connection is accepted", || TcpStream::connect(server.address()).is_err());
}

#[test]
fn a_request_under_way_is_finished_before_the_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&data(&folder));
    let mut request = unfinished(&server);
    signal_and_wait_for_the_closed_door(&server);
    request.write_all(b"}").unwrap();
    let answer = rest(&mut request);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let (status, _, err) = server.ended();
    assert_eq!(status.code(), Some(0), "{err}");
}

#[test]
fn a_request_that_is_cut_off_at_the_deadline_shows_in_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(&data(&folder), &["--shutdown-timeout-ms", "50"]);
    let _request = unfinished(&server);
    let (status, _, err) = server.terminate();
    assert_eq!(status.code(), Some(1), "{err}");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let patient = ["--shutdown-timeout-ms", "3600000", "--body-timeout-ms", "3600000"];
    let server = Server::start_with(&data(&folder), &patient);
    let _request = unfinished(&server);
    signal_and_wait_for_the_closed_door(&server);
    let (status, _, err) = server.terminate();
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("a second signal"), "{err}");
}

#[test]
fn every_line_that_it_prints_for_pasting_works() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, stdout, _stderr) = spawn(&data(&folder), &[]);
    let mut curls = Vec::new();
    for line in stdout.lines().map(Result::unwrap) {
        if line.starts_with("curl ") {
            curls.push(line);
        } else if line.starts_with("Ctrl-C") {
            break;
        }
    }
    assert_eq!(curls.len(), 7);
    for curl in &curls {
        // The shell's single quotes: URL, header, and perhaps the body.
        let quoted: Vec<&str> = curl.split('\'').skip(1).step_by(2).collect();
        let (address, path) = quoted[0].strip_prefix("http://").unwrap().split_once('/').unwrap();
        let key = quoted[1].strip_prefix("Authorization: Bearer ").unwrap();
        let path = format!("/{path}");
        match quoted.get(2) {
            Some(body) => {
                let answer = request(address, "POST", &path, key, body);
                assert_eq!(answer.status, 202, "{curl}: {}", answer.body);
            }
            None => eventually("what was sent is read back", || {
                let answer = request(address, "GET", &path, key, "");
                answer.status == 200 && answer.body.contains("mina")
                    || answer.body.contains("order-1001")
            }),
        }
    }
    terminate(child.id());
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_second_instance_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let (mut second, mut stdout, mut stderr) = spawn(&data, &["--json"]);
    assert_eq!(wait(&mut second).code(), Some(1));
    assert_eq!(rest(&mut stdout), "");
    let why = rest(&mut stderr);
    assert!(why.contains("another process uses it"), "{why}");
    assert_eq!(server.get("/readyz", "").status, 200);
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin-listen"] {
        let other = if flag == "--listen" { "--admin-listen" } else { "--listen" };
        let output = run(&data(&folder), &["dev", flag, &address, other, "127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = run(&file.path().join("data"), &["dev", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot make the data folder"));
}

#[test]
fn a_wrong_command_line_is_told_from_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["dev", "--listen", "nowhere"][..], &["frobnicate"], &[], &["key", "create"]] {
        let output = run(&data(&folder), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let output = millrace(folder.path()).env("MILLRACE_PARTITIONS", "none").arg("dev").output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    let help = run(&data(&folder), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Exit codes"));
}

#[test]
fn a_server_whose_stderr_is_gone_answers_and_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, mut stdout, stderr) = spawn(&data(&folder), &["--json"]);
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    drop(stderr);
    let greeting: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = greeting["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    // A refusal is logged.
    assert_eq!(request(address, "POST", "/v1/api/events", "no key", "").status, 401);
    terminate(child.id());
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_log_that_lost_what_the_store_has_applied_is_not_served_until_it_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let key = server.field("api_key");
    let body = r#"{"events":[{"id":"1","name":"mkt_login","user_id":"mina"}]}"#;
    assert_eq!(server.post("/v1/api/events?project_id=demo", key, body).status, 202);
    let events = "/v1/api/users/mina/events?project_id=demo";
    eventually("the event is applied", || server.get(events, key).body.contains("mkt_login"));
    assert!(server.terminate().0.success());

    fs::remove_dir_all(data.join("log")).unwrap();
    let (mut child, _stdout, mut stderr) = spawn(&data, &["--json"]);
    assert_eq!(wait(&mut child).code(), Some(1));
    let error = rest(&mut stderr);
    assert!(error.contains("up to offset 1, but the log ends at 0"), "{error}");

    let repaired = run(&data, &["log", "repair"]);
    assert!(repaired.status.success(), "{}", text(&repaired.stderr));
    assert!(text(&repaired.stdout).contains("gone, but applied before: millrace.events/"));
    let server = Server::start(&data);
    let key = server.field("api_key");
    let body = r#"{"events":[{"id":"2","name":"mkt_logout","user_id":"mina"}]}"#;
    assert_eq!(server.post("/v1/api/events?project_id=demo", key, body).status, 202);
    eventually("the next one too", || server.get(events, key).body.contains("mkt_logout"));
    assert!(server.get(events, key).body.contains("mkt_login"));
}
