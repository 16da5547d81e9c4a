//! A cluster that is not there: what serves listens, waits and says why; what manages gives up.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Server, binary, eventually, millrace, rest, run, text, wait};

/// Kafka and CQL where nobody listens.
const AWAY: [&str; 4] = ["--kafka", "127.0.0.1:1", "--cql", "127.0.0.1:1"];

/// The public key of a data folder that a command has made.
fn public_key(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    assert!(Server::start(&data).terminate().0.success());
    data.join("keys/signing.pub.pem")
}

fn ingest(folder: &Path) -> Command {
    let mut command = binary(env!("CARGO_BIN_EXE_millrace"));
    command.args(["ingest", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(AWAY).arg("--verify-key").arg(public_key(folder));
    command
}

/// The reasons of `/readyz` on the admin address, which must say 503.
fn reasons(server: &Server) -> String {
    let answer = server.admin("/readyz");
    assert_eq!(answer.status, 503, "{}", answer.body);
    answer.json()["reasons"].to_string()
}

fn says_both_and_stops_cleanly(server: Server) {
    eventually("both servers are named", || {
        let reasons = reasons(&server);
        reasons.contains("log: ") && reasons.contains("store: ")
    });
    assert_eq!(server.admin("/livez").status, 200);
    assert_eq!(server.admin("/metrics").status, 200);
    let (status, out, err) = server.terminate();
    assert_eq!((status.code(), &*out), (Some(0), ""), "{err}");
}

#[test]
fn a_front_door_listens_refuses_and_says_what_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::of(ingest(folder.path()));
    assert_eq!(server.greeting.as_object().unwrap().len(), 2);
    assert_eq!(server.get("/readyz", "").status, 503);
    assert_eq!(server.get("/healthz", "").status, 200);
    let demo = std::fs::read_to_string(folder.path().join("data/demo.json")).unwrap();
    let demo: serde_json::Value = serde_json::from_str(&demo).unwrap();
    let path = "/v1/api/events?project_id=demo";
    let body = r#"{"events":[{"name":"mkt_login","user_id":"mina"}]}"#;
    let answer = server.post(path, demo["api_key"].as_str().unwrap(), body);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("keys cannot be checked"), "{}", answer.body);
    assert_eq!(server.post(path, "nonsense", body).status, 401);
    says_both_and_stops_cleanly(server);
}

#[test]
fn workers_listen_and_say_what_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = binary(env!("CARGO_BIN_EXE_millrace"));
    worker.args(["worker", "--role", "profiles", "--role", "events"]);
    for mut command in [
        worker,
        binary(env!("CARGO_BIN_EXE_events-worker")),
        binary(env!("CARGO_BIN_EXE_profiles-worker")),
        binary(env!("CARGO_BIN_EXE_deletions-worker")),
    ] {
        command.args(["--admin-listen", "127.0.0.1:0"]).args(AWAY);
        command.env("MILLRACE_RECEIPT_KEY", folder.path().join("receipts.pem"));
        let server = Server::of(command);
        assert_eq!(server.greeting.as_object().unwrap().len(), 1);
        assert_eq!(server.admin("/nowhere").status, 404);
        says_both_and_stops_cleanly(server);
    }
}

#[test]
fn the_binary_of_the_front_door_alone_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(env!("CARGO_BIN_EXE_ingest"));
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).args(AWAY);
    command.env("MILLRACE_VERIFY_KEY", public_key(folder.path()));
    says_both_and_stops_cleanly(Server::of(command));
}

#[test]
fn everything_in_one_process_waits_too_and_does_not_greet() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = millrace(&data);
    command.args(["dev", "--json", "--listen", "127.0.0.1:0", "--admin-listen", &admin]);
    let pipes = (std::process::Stdio::piped(), std::process::Stdio::piped());
    let child = command.args(AWAY).stdout(pipes.0).stderr(pipes.1).spawn();
    let mut child = child.unwrap();
    eventually("it says that it waits", || {
        let Ok(_) = std::net::TcpStream::connect(&admin) else { return false };
        let answer = crate::common::request(&admin, "GET", "/readyz", "", "");
        answer.status == 503 && answer.body.contains("log: ") && answer.body.contains("store: ")
    });
    assert!(!data.join("store").exists() && !data.join("log").exists());
    crate::common::terminate(child.id());
    let status = wait(&mut child);
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    assert_eq!(status.code(), Some(0), "{}", rest(&mut err));
    assert_eq!(rest(&mut out), "");
}

#[test]
fn a_migration_to_nowhere_gives_up_and_says_where_nobody_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &[&["migrate"], &AWAY[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("millrace: topics: ") && error.contains("127.0.0.1:1"), "{error}");
}
