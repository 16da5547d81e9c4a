//! Accounts, back office and log calls at two front doors of one cluster.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use millrace_cluster::{Cluster, CommitLog, Shape};
use millrace_tests::accounts::{
    BACK_OFFICE_EMAIL, BOOTSTRAP_SECRET, PASSWORD, audit_user, json_request, login_request,
    office_login_request, user_create,
};
use millrace_tests::client::{Answer, Client, Request};
use millrace_tests::process::Server;
use millrace_tests::walk_through::{ApiKey, Credentials, Settings, Tally, walk};
use serde_json::{Value, json};

use crate::install::{Install, eventually, stop, text};

const BOSS: &str = "boss@example.com";
const ME: &str = "/users/me";
const BOOTSTRAP: &str = "/users/v1/bo/back-office/bootstrap";

fn client(door: &Server) -> Client {
    Client::new(door.address, "shop", "")
}

/// Sends what must be answered with this status; the body.
fn expect(client: &mut Client, request: &Request, status: u16) -> Value {
    let answer = client.send(request).unwrap();
    let (method, target) = (&request.method, &request.target);
    assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json().unwrap() }
}

/// An access token.
fn sign_in(client: &mut Client, email: &str) -> String {
    let answer = expect(client, &login_request(email, PASSWORD), 200);
    answer["access_token"].as_str().unwrap().to_owned()
}

fn register(email: &str) -> Request {
    json_request("POST", "/auth/register", user_create(email, &json!({})).to_string())
}

/// Two front doors of an installation with a project and its key.
fn doors(install: &Install) -> ([Server; 2], String) {
    install.run_json(&["project", "create", "shop"]);
    let key = install.run_json(&["key", "create", "--project", "shop"]);
    install.admin(BOSS);
    let doors = [(); 2].map(|()| install.people_door().spawn().unwrap());
    (doors.map(|door| door.ready().unwrap()), key["api_key"].as_str().unwrap().to_owned())
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn two_front_doors_know_the_same_people() {
    let install = Install::new(Cluster::shared().unwrap(), "people").migrated();
    let (doors, key) = doors(&install);
    let [mut one, mut other] = [&doors[0], &doors[1]].map(client);

    let mina = expect(&mut one, &register("Mina@example.com"), 201);
    let taken = expect(&mut other, &register("mina@EXAMPLE.com"), 400);
    assert_eq!(taken, json!({"detail": "REGISTER_USER_ALREADY_EXISTS"}));
    let token = sign_in(&mut other, "mina@example.com");
    let me = Request::get(ME).bearer(&token);
    assert_eq!(expect(&mut one, &me, 200), mina);
    expect(&mut other, &json_request("POST", "/auth/jwt/logout", "").bearer(&token), 204);
    for door in [&mut one, &mut other] {
        expect(door, &me, 401);
    }

    // What a command changes holds at both as well.
    let token = sign_in(&mut one, "mina@example.com");
    install.run_json(&["user", "deactivate", "mina@example.com"]);
    for door in [&mut one, &mut other] {
        expect(door, &Request::get(ME).bearer(&token), 401);
        let refused = expect(door, &login_request("mina@example.com", PASSWORD), 400);
        assert_eq!(refused, json!({"detail": "LOGIN_BAD_CREDENTIALS"}));
    }
    let listed = install.run_json(&["user", "list"]);
    assert_eq!(listed["users"].as_array().unwrap().len(), 2, "{listed}");

    the_back_office_is_bootstrapped_once(&doors);
    let boss = sign_in(&mut one, BOSS);
    entries_are_told_apart_everywhere(&mut one, &mut other, &boss);
    log_calls_are_read_back(&install, &doors, &key);
    for door in doors {
        assert!(!door.stderr().contains(PASSWORD), "a secret is in the log");
        stop(door);
    }
}

fn the_back_office_is_bootstrapped_once(doors: &[Server; 2]) {
    let body = json!({"secret": BOOTSTRAP_SECRET}).to_string();
    let request = json_request("POST", BOOTSTRAP, body);
    let barrier = Barrier::new(2);
    let bootstrap = |door: &Server| {
        let mut client = client(door);
        client.connect().unwrap();
        barrier.wait();
        client.send(&request).unwrap().status
    };
    let mut statuses: Vec<u16> = thread::scope(|scope| {
        let both = [&doors[0], &doors[1]].map(|door| scope.spawn(|| bootstrap(door)));
        both.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);

    let [mut one, mut other] = [&doors[0], &doors[1]].map(client);
    let signed_in = expect(&mut one, &office_login_request(BACK_OFFICE_EMAIL, PASSWORD), 200);
    let token = |name: &str| signed_in["data"][name].as_str().unwrap();
    let signed = |request: Request| {
        request.bearer(token("accessToken")).header("x-session-token", token("sessionToken"))
    };
    let mut ids = BTreeSet::new();
    for n in 0..4 {
        let door = if n % 2 == 0 { &mut one } else { &mut other };
        let body = audit_user(&format!("audit{n}@example.com")).to_string();
        let made = expect(door, &signed(json_request("POST", "/users/v1/bo/audit", body)), 201);
        ids.insert(made["data"]["id"].as_i64().unwrap());
    }
    assert_eq!(ids.len(), 4);
    for door in [&mut one, &mut other] {
        let page = expect(door, &signed(Request::get("/users/v1/bo")), 200);
        assert_eq!(page["totalCount"], 5);
    }
}

fn entries_are_told_apart_everywhere(one: &mut Client, other: &mut Client, boss: &str) {
    let logs = Request::get("/logs").bearer(boss);
    let entries = expect(one, &logs, 200);
    assert_eq!(entries, expect(other, &logs, 200));
    let entries = entries.as_array().unwrap();
    let ids: BTreeSet<i64> = entries.iter().map(|entry| entry["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), entries.len(), "each has an id of its own");
    let resources: Vec<&str> =
        entries.iter().map(|entry| entry["affected_resource"].as_str().unwrap()).collect();
    for made in ["project:shop", "key:", "user:", "back_office:"] {
        assert!(resources.iter().any(|resource| resource.starts_with(made)), "{resources:?}");
    }
}

fn log_calls_are_read_back(install: &Install, doors: &[Server; 2], key: &str) {
    let worker = install.worker("events").start().unwrap();
    let mut clients = [&doors[0], &doors[1]].map(|door| Client::new(door.address, "shop", key));
    let ad_log = json!({"type": "ad_log", "action": "conv", "ad_log": "a-1", "price": 1.5});
    let purchase = json!({
        "schema": "activity.purchase", "channel": "web", "device_id": "d", "user_id": "mina",
        "timestamp": 1_768_000_000, "revenue": {"currency": "KRW", "revenue": 39_900},
    });
    // Each at both doors: what is the same is stored once.
    for client in &mut clients {
        for (path, body) in
            [("/app/v0/log", &ad_log), ("/app/v0/log/activity", &json!({"schema": "no such"}))]
        {
            let request = Request::post(path, body.to_string()).bearer(key);
            assert_eq!(expect(client, &request, 200), Value::Null);
        }
    }
    let request = Request::post("/app/v0/log/activity", purchase.to_string()).bearer(key);
    expect(&mut clients[0], &request, 200);
    let events = |client: &mut Client, user: &str| -> Vec<Value> {
        let request = client.read(&format!("/v1/api/users/{user}/events"), "");
        let answer: Answer = client.send(&request).unwrap();
        let events: Value = answer.json().unwrap();
        events["events"].as_array().cloned().unwrap_or_default()
    };
    for (user, name) in [("ad_log%3Aa-1", "ad.conv"), ("mina", "activity.purchase")] {
        eventually(name, || !events(&mut clients[1], user).is_empty());
        let found = events(&mut clients[1], user);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["name"], name);
    }
    eventually("both bad ones are dead letters", || {
        let ledger = install.run_json(&["ledger"]);
        let partitions = ledger["partitions"].as_array().unwrap();
        partitions.iter().filter_map(|p| p["outcomes"]["dead"].as_u64()).sum::<u64>() == 2
    });
    stop(worker);
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn every_documented_example_is_answered_as_documented_on_a_cluster() {
    let install = Install::new(Cluster::shared().unwrap(), "walk").migrated();
    let ([door, other], key) = doors(&install);
    stop(other);
    let credentials =
        |email: &str| Some(Credentials { email: email.into(), password: PASSWORD.into() });
    let settings = Settings {
        url: format!("http://{}", door.address),
        api_key: Some(ApiKey(key)),
        admin: credentials(BOSS),
        bootstrap_secret: Some(BOOTSTRAP_SECRET.into()),
        back_office: credentials(BACK_OFFICE_EMAIL),
    };
    let mut printed = Vec::new();
    let tally = walk(&settings, &mut printed).unwrap();
    let Tally { faults, left_out, .. } = tally;
    assert_eq!((faults.len(), left_out.len()), (0, 0), "{}", text(&printed));
    stop(door);
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn a_database_that_was_killed_loses_no_account_and_says_503_meanwhile() {
    // One that keeps what it has acknowledged.
    let shape = Shape { commit_log: CommitLog::Batch, ..Shape::default() };
    let cluster = Cluster::start(shape).unwrap();
    let install = Install::new(&cluster, "killed").migrated();
    let (doors, _) = doors(&install);
    let [mut one, mut other] = [&doors[0], &doors[1]].map(client);
    expect(&mut one, &register("mina@example.com"), 201);
    let [token, ended] = [(); 2].map(|()| sign_in(&mut one, "mina@example.com"));
    expect(&mut one, &json_request("POST", "/auth/jwt/logout", "").bearer(&ended), 204);

    cluster.nodes()[0].kill_9().unwrap();
    for request in [
        Request::get(ME).bearer(&token),
        register("joon@example.com"),
        login_request("mina@example.com", PASSWORD),
        json_request("POST", BOOTSTRAP, json!({"secret": BOOTSTRAP_SECRET}).to_string()),
        office_login_request(BACK_OFFICE_EMAIL, PASSWORD),
    ] {
        let answer = other.send(&request).unwrap();
        assert_eq!(answer.status, 503, "{}: {}", request.target, answer.text());
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    cluster.nodes()[0].start().unwrap();
    for door in [&mut one, &mut other] {
        let me = Request::get(ME).bearer(&token);
        eventually("accounts are there again", || door.send(&me).unwrap().status == 200);
        expect(door, &Request::get(ME).bearer(&ended), 401);
        expect(door, &register("Mina@example.com"), 400);
    }
    expect(&mut other, &register("joon@example.com"), 201);
    doors.into_iter().for_each(stop);
}
