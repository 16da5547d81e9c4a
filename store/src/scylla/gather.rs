//! Erasures of partitions that lie on the same nodes, gathered into one batch.
//!
//! To erase a user is a dozen statements, each about a partition of its own. Several in a batch cost
//! the database and this process less than each alone (a quarter and a half, measured), as long as
//! whoever takes the batch has all of its partitions: else it would only pass it on. A batch is
//! neither atomic nor ordered, and needs not be: each statement has its stamp.

use std::collections::HashMap;

use scylla::cluster::ClusterState;
use scylla::frame::response::result::TableSpec;
use scylla::routing::Token;
use uuid::Uuid;

use super::connection::{Bound, Connection, is_erasing};
use super::value::Value;

/// Partitions of one batch at most; Cassandra complains of more than 10.
const GATHERED_STATEMENTS: usize = 10;
/// Bytes of one batch at most; Cassandra complains of more than 5 KiB over several partitions.
const GATHERED_BYTES: usize = 4 * 1024;

/// Who holds a partition: nodes, and which of their shards.
pub(super) type Replicas = Vec<(Uuid, u32)>;

/// What is sent as one.
#[derive(Default)]
struct Gathered<'w> {
    writes: Vec<Bound<'w>>,
    bytes: usize,
}

impl Connection {
    /// Each part is about one partition, and what comes out about partitions of the same nodes.
    pub(super) fn gather<'w>(&self, parts: Vec<Vec<Bound<'w>>>) -> Vec<Vec<Bound<'w>>> {
        let mut ready = Vec::with_capacity(parts.len());
        let mut open: HashMap<Replicas, Gathered<'w>> = HashMap::new();
        let cluster = self.session.get_cluster_state();
        for part in parts {
            let replicas = if is_erasing(&part) { replicas(&cluster, &part) } else { None };
            match replicas {
                None => ready.push(part),
                Some(replicas) => ready.extend(open.entry(replicas).or_default().add(part)),
            }
        }
        ready.extend(open.into_values().map(|gathered| gathered.writes));
        ready
    }
}

/// `None`: nobody knows.
fn replicas(cluster: &ClusterState, part: &[Bound<'_>]) -> Option<Replicas> {
    let Bound { prepared, values } = part.first()?;
    let table = prepared.statement.get_table_spec()?;
    holders(cluster, table, prepared.statement.calculate_token(values).ok()??)
}

/// Who holds what has this token; `None`: nobody knows.
pub(super) fn holders(
    cluster: &ClusterState,
    table: &TableSpec<'_>,
    token: Token,
) -> Option<Replicas> {
    let holders = cluster.get_token_endpoints(table.ks_name(), table.table_name(), token);
    let mut replicas: Replicas =
        holders.into_iter().map(|(node, shard)| (node.host_id, shard)).collect();
    replicas.sort_unstable();
    (!replicas.is_empty()).then_some(replicas)
}

impl<'w> Gathered<'w> {
    /// Adds a part; what was gathered before, if both together are too much.
    fn add(&mut self, part: Vec<Bound<'w>>) -> Option<Vec<Bound<'w>>> {
        let bytes: usize = part.iter().flat_map(|bound| &bound.values).map(Value::len).sum();
        let is_full = self.writes.len() + part.len() > GATHERED_STATEMENTS
            || self.bytes + bytes > GATHERED_BYTES;
        let full = is_full.then(|| std::mem::take(self).writes);
        self.writes.extend(part);
        self.bytes += bytes;
        full.filter(|writes| !writes.is_empty())
    }
}
