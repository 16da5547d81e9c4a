//! Rows of many partitions that lie on the same nodes, read as one.
//!
//! To read many partitions by one statement costs the database much less than as many statements
//! do, as long as whoever takes it has all of them: else it would only pass it on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::try_join_all;
use scylla::cluster::{ClusterState, NodeRef};
use scylla::deserialize::row::DeserializeRow;
use scylla::policies::load_balancing::{
    DefaultPolicy, FallbackPlan, LoadBalancingPolicy, RoutingInfo,
};
use scylla::routing::Shard;
use uuid::Uuid;

use super::connection::Connection;
use super::gather::{Replicas, holders};
use super::statements::Prepared;
use super::value::{Value, key};
use crate::StoreError;

/// Partitions of one statement at most.
const PARTITIONS: usize = 16;

/// A partition of a table whose key is a project and an id.
pub(super) type Place<'p> = (&'p str, &'p str);

impl Connection {
    /// The rows of each partition, in the order of the places. The statement asks for the rows of
    /// a project and of a list of ids; `id_of` finds the id in a row.
    pub(super) async fn rows_of_places<R>(
        &self,
        prepared: &Prepared,
        places: &[Place<'_>],
        id_of: fn(&R) -> &str,
    ) -> Result<Vec<Vec<R>>, StoreError>
    where
        R: Clone + for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let different: BTreeSet<Place<'_>> = places.iter().copied().collect();
        let groups = self.groups(prepared, &different)?;
        let read = groups.iter().map(|group| self.rows_of_group(prepared, group));
        let mut by_place: HashMap<Place<'_>, Vec<R>> = HashMap::new();
        for (rows, group) in try_join_all(read).await?.into_iter().zip(&groups) {
            for row in rows {
                let id = id_of(&row);
                if let Some(id) = group.ids.iter().find(|asked| **asked == id) {
                    by_place.entry((group.project, id)).or_default().push(row);
                }
            }
        }
        let is_once = different.len() == places.len();
        let mut rows = |place| match is_once {
            true => by_place.remove(place),
            false => by_place.get(place).cloned(),
        };
        Ok(places.iter().map(|place| rows(place).unwrap_or_default()).collect())
    }

    async fn rows_of_group<R>(
        &self,
        prepared: &Prepared,
        group: &Group<'_>,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let mut prepared = prepared.clone();
        if let Some(toward) = self.toward(&group.replicas) {
            prepared.statement.set_load_balancing_policy(Some(Arc::new(toward)));
        }
        let values = [Value::from(group.project), Value::Texts(group.ids.clone())];
        self.rows(&prepared, &values).await
    }

    fn groups<'p>(
        &self,
        prepared: &Prepared,
        places: &BTreeSet<Place<'p>>,
    ) -> Result<Vec<Group<'p>>, StoreError> {
        let cluster = self.session.get_cluster_state();
        let mut full = Vec::new();
        let mut open: HashMap<(&str, Replicas), Vec<&str>> = HashMap::new();
        for (project, id) in places {
            let (project, id) = (key(project)?, key(id)?);
            let replicas = replicas(&cluster, prepared, (project, id)).unwrap_or_default();
            let ids = open.entry((project, replicas.clone())).or_default();
            ids.push(id);
            if ids.len() == PARTITIONS {
                full.push(Group { project, replicas, ids: std::mem::take(ids) });
            }
        }
        let rest = open.into_iter().filter(|(_, ids)| !ids.is_empty());
        full.extend(rest.map(|((project, replicas), ids)| Group { project, replicas, ids }));
        Ok(full)
    }

    /// The way to one of the replicas, by chance; of the local datacenter, if there are any.
    fn toward(&self, replicas: &Replicas) -> Option<Toward> {
        let cluster = self.session.get_cluster_state();
        let is_local = |node: &NodeRef<'_>| {
            self.local_datacenter.is_none() || node.datacenter == self.local_datacenter
        };
        let local = cluster.get_nodes_info().iter().filter(is_local);
        let local: Vec<_> = local.map(|node| node.host_id).collect();
        let near: Vec<_> = replicas.iter().filter(|(host, _)| local.contains(host)).collect();
        let (host, shard) = **near.get(fastrand::usize(..near.len().max(1)))?;
        Some(Toward { host, shard, others: DefaultPolicy::default() })
    }
}

/// Partitions of the same nodes.
struct Group<'p> {
    project: &'p str,
    replicas: Replicas,
    ids: Vec<&'p str>,
}

/// `None`: nobody knows.
fn replicas(cluster: &ClusterState, prepared: &Prepared, place: Place<'_>) -> Option<Replicas> {
    let table = prepared.statement.get_table_spec()?;
    let token = cluster.compute_token(table.ks_name(), table.table_name(), &place).ok()?;
    holders(cluster, table, token)
}

/// To one node first, and to any other if that one does not answer. The driver itself knows no way
/// for a list of partitions.
#[derive(Debug)]
struct Toward {
    host: Uuid,
    shard: Shard,
    others: DefaultPolicy,
}

impl LoadBalancingPolicy for Toward {
    fn pick<'a>(
        &'a self,
        _request: &'a RoutingInfo<'_>,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        let node = cluster.get_nodes_info().iter().find(|node| node.host_id == self.host)?;
        node.is_connected().then_some((node, Some(self.shard)))
    }

    fn fallback<'a>(
        &'a self,
        request: &'a RoutingInfo<'_>,
        cluster: &'a ClusterState,
    ) -> FallbackPlan<'a> {
        self.others.fallback(request, cluster)
    }

    fn name(&self) -> String {
        "Toward".to_owned()
    }
}
