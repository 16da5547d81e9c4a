//! The commands that manage an installation, beside a running server and without one.

use std::path::{Path, PathBuf};

use crate::common::{Server, eventually, run, run_json, text};
use serde_json::{Value, json};

fn data(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("data")
}

/// A data folder that a server has used and left.
fn used(folder: &tempfile::TempDir) -> PathBuf {
    let data = data(folder);
    let (status, _, err) = Server::start(&data).terminate();
    assert!(status.success(), "{err}");
    data
}

fn ids(list: &Value, of: &str) -> Vec<String> {
    let items = list[of].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn make_and_revoke(data: &Path) {
    let project = run_json(data, &["project", "create", "shop", "--name", "My shop"]);
    assert_eq!((&project["id"], &project["name"]), (&json!("shop"), &json!("My shop")));
    assert_eq!(ids(&run_json(data, &["project", "list"]), "projects"), ["demo", "shop"]);
    let again = run(data, &["project", "create", "shop"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists already"), "{}", text(&again.stderr));

    let args = ["key", "create", "--project", "shop", "--scope", "write", "--expires-days", "90"];
    let key = run_json(data, &args);
    assert_eq!(key["scopes"], json!(["write"]));
    assert!(key["api_key"].as_str().unwrap().starts_with("ey"));
    assert!(key["expires_at"].is_string());
    let id = key["id"].as_str().unwrap();

    let new = run_json(data, &["key", "rotate", id]);
    let new_id = new["id"].as_str().unwrap();
    run_json(data, &["key", "revoke", new_id]);
    let listed = run_json(data, &["key", "list", "--project", "shop"]);
    assert_eq!(ids(&listed, "keys"), [id, new_id]);
    for key in listed["keys"].as_array().unwrap() {
        assert!(key["revoked_at"].is_string());
        assert_eq!(key.get("api_key"), None);
    }
}

#[test]
fn projects_and_keys_are_managed_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    make_and_revoke(&used(&folder));
}

#[test]
fn projects_and_keys_are_managed_beside_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let _server = Server::start(&data);
    make_and_revoke(&data);
}

#[test]
fn a_running_server_honours_a_new_key_and_refuses_a_revoked_one_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    run_json(&data, &["project", "create", "shop"]);
    let key = run_json(&data, &["key", "create", "--project", "shop"]);
    let (id, token) = (key["id"].as_str().unwrap(), key["api_key"].as_str().unwrap());
    let path = "/v1/api/users/mina/events?project_id=shop";
    assert_eq!(server.get(path, token).status, 200);
    let elsewhere = "/v1/api/users/mina/events?project_id=demo";
    assert_eq!(server.get(elsewhere, token).status, 401);
    run_json(&data, &["key", "revoke", id]);
    assert_eq!(server.get(path, token).status, 401);
}

#[test]
fn a_key_made_without_a_server_opens_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = used(&folder);
    let made = |scope| {
        let key = run_json(&data, &["key", "create", "--project", "demo", "--scope", scope]);
        (key["id"].as_str().unwrap().to_owned(), key["api_key"].as_str().unwrap().to_owned())
    };
    let (kept, (revoked_id, revoked)) = (made("read").1, made("read"));
    run_json(&data, &["key", "revoke", &revoked_id]);
    let server = Server::start(&data);
    let path = "/v1/api/users/mina/events?project_id=demo";
    assert_eq!(server.get(path, &kept).status, 200);
    assert_eq!(server.get(path, &revoked).status, 401);
    let body = r#"{"events":[]}"#;
    assert_eq!(server.post("/v1/api/events?project_id=demo", &kept, body).status, 403);
}

#[test]
fn the_ledger_adds_up_beside_a_server_and_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let key = server.field("api_key").to_owned();
    for n in 0..20 {
        let body = json!({"events": [{"name": "mkt_login", "user_id": format!("u{n}")}]});
        let path = "/v1/api/events?project_id=demo";
        assert_eq!(server.post(path, &key, &body.to_string()).status, 202);
    }
    let path = "/v1/api/profile/user/deletion-job?project_id=demo";
    assert_eq!(server.post(path, &key, r#"{"user_id":"u1"}"#).status, 202);

    // 20 events, 3 markers, 1 job.
    let applied = |ledger: &Value| {
        let partitions = ledger["partitions"].as_array().unwrap();
        partitions.iter().map(|p| p["frontier"].as_u64().unwrap()).sum::<u64>()
    };
    eventually("all is applied", || applied(&run_json(&data, &["ledger"])) == 24);
    let beside = run_json(&data, &["ledger"]);
    let (status, _, err) = server.terminate();
    assert!(status.success(), "{err}");
    assert_eq!(run_json(&data, &["ledger"]), beside);

    let mut outcomes = std::collections::BTreeMap::new();
    for p in beside["partitions"].as_array().unwrap() {
        for (name, n) in p["outcomes"].as_object().unwrap() {
            *outcomes.entry(name.as_str()).or_insert(0) += n.as_u64().unwrap();
        }
    }
    let expected = [("erased", 3), ("registered", 1), ("stored", 20)];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), expected);

    let table = run(&data, &["ledger"]);
    assert!(text(&table.stdout).contains("add up"), "{}", text(&table.stdout));
    assert!(!text(&table.stdout).contains('\u{1b}'));
}

#[test]
fn the_log_is_inspected_beside_a_server_and_repaired_only_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    let server = Server::start(&data);
    let inspected = run(&data, &["log", "inspect"]);
    assert!(inspected.status.success(), "{}", text(&inspected.stderr));
    let refused = run(&data, &["log", "repair"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("another process uses it"));
    server.terminate();
    let repaired = run(&data, &["log", "repair"]);
    assert!(repaired.status.success(), "{}", text(&repaired.stderr));
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&folder);
    for args in [&["project", "list"][..], &["ledger"], &["log", "inspect"], &["log", "repair"]] {
        let output = run(&data, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains("no data folder"), "{}", text(&output.stderr));
    }
    assert!(!data.exists());
}
