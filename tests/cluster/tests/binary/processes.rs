//! Front door and workers as processes of their own.

use std::collections::BTreeMap;

use millrace_cluster::Cluster;
use millrace_tests::client::Client;
use serde_json::{Value, json};

use crate::install::{Install, admin, eventually, stop};

const EVENTS: &str = "/v1/api/events";
const PROFILES: &str = "/v1/api/profile/user";
const DEVICES: &str = "/v1/api/profile/user/device/bulk";
const DELETION: &str = "/v1/api/profile/user/deletion-job";

/// Sends what must be accepted.
fn accepted(client: &mut Client, path: &str, body: &Value) -> String {
    let request = client.call(path, body.to_string());
    let answer = client.send(&request).unwrap();
    assert_eq!(answer.status, 202, "{path}: {}", answer.text());
    assert_eq!(answer.header("millrace-ack"), Some("leader"), "there is one broker");
    answer.header("location").unwrap_or_default().to_owned()
}

/// What is read back: status and body.
fn read(client: &mut Client, path: &str) -> (u16, Value) {
    let request = client.read(path, "");
    let answer = client.send(&request).unwrap();
    (answer.status, answer.json().unwrap())
}

fn is_there(client: &mut Client, user: &str, something: &str) -> bool {
    let (status, body) = read(client, &format!("/v1/api/users/{user}{something}"));
    let list = body.get(something.trim_start_matches('/')).and_then(Value::as_array);
    status == 200 && list.is_none_or(|list| !list.is_empty())
}

fn send_all(client: &mut Client, user: &str) {
    let event = json!({"id": "order-1", "name": "mkt_purchase", "user_id": user});
    accepted(client, EVENTS, &json!({ "events": [event] }));
    let profile = json!({"user_id": user, "properties": {"mkt_name": "Mina"}});
    accepted(client, PROFILES, &json!({ "profiles": [profile] }));
    let device = json!({"user_id": user, "device_id": format!("gaid:{user}"), "platform": "web"});
    accepted(client, DEVICES, &json!({ "devices": [device] }));
}

/// Outcomes of all partitions, once the workers have reached the end; every partition adds up.
fn outcomes(install: &Install) -> BTreeMap<String, u64> {
    let mut ledger = Value::Null;
    eventually("the workers reach the end of the log", || {
        ledger = install.run_json(&["ledger"]);
        let partitions = ledger["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 2 * 4);
        partitions.iter().all(|p| p["frontier"] == p["log_end"])
    });
    let mut all = BTreeMap::new();
    for partition in ledger["partitions"].as_array().unwrap() {
        for (name, n) in partition["outcomes"].as_object().unwrap() {
            *all.entry(name.clone()).or_default() += n.as_u64().unwrap();
        }
    }
    all
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn what_a_front_door_takes_workers_apply_and_erase_and_the_ledger_adds_up() {
    let install = Install::new(Cluster::shared().unwrap(), "processes").migrated();
    let again = install.run_json(&["migrate", "--replication-factor", "1"]);
    assert_eq!(again["keyspace"]["created"], false);
    assert!(again["topics"].as_array().unwrap().iter().all(|topic| topic["created"] == false));
    install.run_json(&["project", "create", "shop"]);
    let key = install.run_json(&["key", "create", "--project", "shop"]);
    let (id, token) = (key["id"].as_str().unwrap(), key["api_key"].as_str().unwrap());

    let door = install.door().start().unwrap();
    let roles = ["events", "profiles", "deletions"];
    let workers = roles.map(|role| install.worker(role).spawn().unwrap());
    let mut client = Client::new(door.address, "shop", token);
    for user in ["mina", "joon"] {
        send_all(&mut client, user);
    }
    let workers = workers.map(|worker| worker.ready().unwrap());
    for user in ["mina", "joon"] {
        for something in ["", "/events", "/devices"] {
            eventually(something, || is_there(&mut client, user, something));
        }
    }

    let job = accepted(&mut client, DELETION, &json!({"user_id": "joon"}));
    let job = job.split('?').next().unwrap();
    eventually("the deletion is completed", || {
        let (status, body) = read(&mut client, job);
        assert!([200, 404].contains(&status), "{status}");
        body["status"] == "completed"
    });
    for something in ["", "/events", "/devices"] {
        assert!(!is_there(&mut client, "joon", something), "{something}");
        assert!(is_there(&mut client, "mina", something), "{something}");
    }
    let expected = [("erased", 3), ("merged", 4), ("registered", 1), ("stored", 2)];
    let expected = expected.map(|(name, n)| (name.to_owned(), n));
    assert_eq!(outcomes(&install), BTreeMap::from(expected));

    for server in workers.iter().chain([&door]) {
        assert_eq!(admin(server, "/livez").status, 200);
        let metrics = admin(server, "/metrics").text();
        assert!(metrics.contains("millrace_"), "{metrics}");
    }
    install.run_json(&["key", "revoke", id]);
    eventually("the revoked key is refused", || {
        let request = client.read("/v1/api/users/mina", "");
        client.send(&request).unwrap().status == 401
    });
    stop(door);
    workers.into_iter().for_each(stop);
}
