//! Servers that go away and come back under running processes, and a database with passwords.

use millrace_cluster::{Cluster, Shape};
use millrace_tests::client::Client;
use millrace_tests::process::Server;
use serde_json::{Value, json};

use crate::install::{Install, admin, eventually, stop, text};

fn readiness(server: &Server) -> (u16, Value) {
    let answer = admin(server, "/readyz");
    (answer.status, answer.json().unwrap())
}

fn send(client: &mut Client) -> u16 {
    let event = json!({"events": [{"name": "mkt_login", "user_id": "mina"}]});
    let request = client.call("/v1/api/events", event.to_string());
    client.send(&request).unwrap().status
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn a_front_door_goes_on_without_its_database_and_a_worker_says_that_it_cannot() {
    let cluster = Cluster::start(Shape { passwords: true, ..Shape::default() }).unwrap();
    let wrong = Install::new(&cluster, "away").env("MILLRACE_CQL_USER", "cassandra");
    let wrong = wrong.env("MILLRACE_CQL_PASSWORD", "wrong");
    let refused = wrong.run(&["project", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    assert!(error.contains("cannot be used") && error.contains("password"), "{error}");
    let install = wrong.env("MILLRACE_CQL_PASSWORD", "cassandra").migrated();
    install.run_json(&["project", "create", "shop"]);
    let key = install.run_json(&["key", "create", "--project", "shop"]);
    let door = install.door().start().unwrap();
    let worker = install.launch(&["worker", "--role", "events"]).start().unwrap();
    let mut client = Client::new(door.address, "shop", key["api_key"].as_str().unwrap());
    assert_eq!(send(&mut client), 202);

    cluster.nodes()[0].kill_9().unwrap();
    eventually("the worker is not ready", || readiness(&worker).0 == 503);
    eventually("the front door says so", || !readiness(&door).1["degraded"].is_null());
    assert_eq!(readiness(&door).0, 200);
    assert_eq!(send(&mut client), 202);
    let request = client.read("/v1/api/users/mina/events", "");
    assert_eq!(client.send(&request).unwrap().status, 503);

    cluster.nodes()[0].start().unwrap();
    eventually("both are well", || {
        readiness(&worker).0 == 200 && readiness(&door).1["degraded"].is_null()
    });
    eventually("both events are applied", || {
        let request = client.read("/v1/api/users/mina/events", "");
        client.send(&request).unwrap().text().matches("mkt_login").count() == 2
    });

    cluster.brokers()[0].kill_9().unwrap();
    eventually("the front door is not ready", || readiness(&door).0 == 503);
    assert_eq!(send(&mut client), 503);
    cluster.brokers()[0].start().unwrap();
    eventually("both are ready again", || readiness(&door).0 == 200 && readiness(&worker).0 == 200);
    eventually("events are taken again", || send(&mut client) == 202);
    stop(door);
    stop(worker);
}
