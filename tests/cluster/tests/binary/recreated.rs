//! A topic that was made anew under its ledger.

use millrace_cluster::Cluster;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::json;

use crate::install::{Install, eventually, stop};

/// Deletes a topic, and waits until it is gone.
async fn delete(bootstrap: &str, topic: &str) {
    let config = ClientConfig::new().set("bootstrap.servers", bootstrap).clone();
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let deleted = admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    eventually("the topic is gone", || {
        let metadata = admin.inner().fetch_metadata(None, std::time::Duration::from_secs(10));
        metadata.unwrap().topics().iter().all(|known| known.name() != topic)
    });
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn it_is_refused_until_it_is_said_to_be_meant() {
    let cluster = Cluster::shared().unwrap();
    let install = Install::new(cluster, "recreated").migrated();
    let data = install.data();
    let dev = install.launch(&["dev", "--listen", "127.0.0.1:0"]);
    let dev = dev.args(&["--data", data.to_str().unwrap()]);
    let send = |server: &millrace_tests::process::Server, name: &str| {
        let mut client = server.client();
        let event = json!({"events": [{"id": name, "name": name, "user_id": "mina"}]});
        let request = client.call("/v1/api/events", event.to_string());
        assert_eq!(client.send(&request).unwrap().status, 202);
        eventually("the event is read back", || {
            let request = client.read("/v1/api/users/mina/events", "");
            client.send(&request).unwrap().text().contains(name)
        });
    };
    let server = dev.start().unwrap();
    send(&server, "mkt_login");
    stop(server);

    delete(&cluster.bootstrap(), &format!("{}.events", install.name)).await;
    let migrate = ["migrate", "--replication-factor", "1"];
    install.run_json(&migrate);
    for launch in [install.door(), install.worker("deletions")] {
        let refused = install.refused(&launch);
        assert!(refused.contains("up to offset 1, but the log ends at 0"), "{refused}");
        assert!(refused.contains("`millrace migrate --recreated events`"), "{refused}");
    }
    let done = install.run_json(&[&migrate[..], &["--recreated", "events"]].concat());
    assert_eq!(done["recreated"], "events");
    let server = dev.start().unwrap();
    send(&server, "mkt_logout");
    stop(server);
}
