//! `millrace dev` on a cluster.

use millrace_cluster::Cluster;
use serde_json::json;

use crate::install::{Install, eventually, stop};

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn everything_in_one_process_greets_when_ready_and_finds_its_data_again() {
    let install = Install::new(Cluster::shared().unwrap(), "dev").migrated();
    let data = install.data();
    let dev = install.launch(&["dev", "--listen", "127.0.0.1:0"]);
    let dev = dev.args(&["--data", data.to_str().unwrap()]);
    let server = dev.spawn().unwrap().greeted().unwrap();
    assert_eq!(server.probe("/readyz").unwrap(), 200);
    let (key, mut client) = (server.key.clone(), server.client());
    let event = json!({"events": [{"name": "mkt_login", "user_id": "mina"}]});
    let request = client.call("/v1/api/events", event.to_string());
    assert_eq!(client.send(&request).unwrap().status, 202);
    // A command beside it goes to the cluster, with the keys of the same folder.
    let other = install.run_json(&["key", "create", "--project", "demo", "--scope", "read"]);
    stop(server);
    assert!(!data.join("log").exists() && !data.join("store").exists());

    let server = dev.start().unwrap();
    assert_eq!(server.key, key);
    let token = other["api_key"].as_str().unwrap();
    let mut client = millrace_tests::client::Client::new(server.address, "demo", token);
    eventually("the event is read back", || {
        let request = client.read("/v1/api/users/mina/events", "");
        client.send(&request).unwrap().text().contains("mkt_login")
    });
    stop(server);
}
