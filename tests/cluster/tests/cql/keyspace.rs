//! Keyspaces with all tables and nothing in them, for one test after the other.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use millrace_cluster::Cluster;
use millrace_store::scylla::{Config, CqlStore, migrate};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

/// Making one takes 2 s, emptying one much less, in particular if what was not written to is left
/// alone: keyspaces with the number of writes of each table when all were empty.
static FREE: Mutex<Vec<(String, Writes)>> = Mutex::new(Vec::new());

/// Writes by table.
type Writes = BTreeMap<String, i64>;

/// Ours for as long as it lives.
pub(crate) struct Keyspace {
    writes: Writes,
    pub(crate) config: Config,
    pub(crate) store: CqlStore,
}

impl Keyspace {
    /// An empty one on the shared cluster.
    pub(crate) async fn empty() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let cluster = Cluster::shared().unwrap();
        let (config, writes) = match free {
            Some((keyspace, writes)) => {
                let config = config(cluster, keyspace);
                let writes = empty(&config, &writes).await;
                (config, writes)
            }
            None => {
                let config = config(cluster, cluster.unique("cql"));
                migrate(&config, None, 1).await.unwrap();
                (config, Writes::new())
            }
        };
        Self { store: connected(&config).await, config, writes }
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let keyspace = std::mem::take(&mut self.config.keyspace);
        let writes = std::mem::take(&mut self.writes);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push((keyspace, writes));
    }
}

/// A configuration for that cluster, with little patience.
pub(crate) fn config(cluster: &Cluster, keyspace: String) -> Config {
    let contact_points = cluster.contact_points().iter().map(ToString::to_string).collect();
    let settle = Duration::from_millis(200);
    Config { contact_points, keyspace, settle, ..Config::default() }
}

/// A store that has connected.
pub(crate) async fn connected(config: &Config) -> CqlStore {
    let store = CqlStore::open(config.clone()).unwrap();
    healthy(&store).await;
    store
}

/// Waits until the store says that the database answers.
pub(crate) async fn healthy(store: &CqlStore) {
    while store.health().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A session of the test's own.
pub(crate) async fn session(config: &Config) -> Session {
    SessionBuilder::new().known_nodes(&config.contact_points).build().await.unwrap()
}

/// Runs a statement of ours, behind the store's back.
pub(crate) async fn run(keyspace: &Keyspace, text: &str) {
    let text = text.replace("{ks}", &keyspace.config.keyspace);
    session(&keyspace.config).await.query_unpaged(text, &[]).await.unwrap();
}

async fn empty(config: &Config, before: &Writes) -> Writes {
    let session = session(config).await;
    let now = writes(&session, &config.keyspace).await;
    let written = now.iter().filter(|(table, writes)| before.get(*table) != Some(*writes));
    let truncate = written.map(async |(table, _)| {
        let text = format!("TRUNCATE {}.{table}", config.keyspace);
        session.query_unpaged(text, &[]).await
    });
    try_join_all(truncate).await.unwrap();
    now
}

/// As the node counts them, whatever became of what was written.
async fn writes(session: &Session, keyspace: &str) -> Writes {
    let text = "SELECT keyspace_name, table_name, count FROM system_views.local_write_latency";
    let all = session.query_unpaged(text, &[]).await.unwrap().into_rows_result().unwrap();
    let all = all.rows::<(String, String, i64)>().unwrap().map(Result::unwrap);
    let here = all.filter(|(name, table, _)| name == keyspace && table != "schema_version");
    here.map(|(_, table, writes)| (table, writes)).collect()
}
