//! The generation: a number of this process that changes when any node was restarted.
//!
//! Every node writes a new `gossip_generation` into its own `system.local` whenever it starts: on
//! Cassandra the larger of the last one + 1 and the time in seconds
//! (`SystemKeyspace.incrementAndGetGeneration`); on ScyllaDB the same, by the function of the same
//! name (`system_keyspace::increment_and_get_generation`, called at the start; read in its source,
//! not tried). So each node is asked for its own, and by its answer it is seen whether it has been
//! restarted since. A node that does not answer may be restarting: that counts as well, once.
//!
//! What cannot be seen: a restart of a node that other nodes reach and this process does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use metrics::{counter, gauge, histogram};
use scylla::client::session::Session;
use scylla::cluster::Node;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use super::connection::decode;
use super::failure::failed;
use super::statements::{Kind, Prepared};
use crate::StoreError;

/// Between the two times that a node is asked within a poll.
const SECOND_TRY_AFTER: Duration = Duration::from_millis(50);
/// How long a node that was away is waited for.
const AWAY_TIMEOUT: Duration = Duration::from_millis(300);

/// What a node says of itself.
type Incarnation = (Uuid, Option<i32>);

pub(super) struct Generations {
    datacenter: Option<String>,
    /// Polls that have begun.
    begun: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: Nodes,
    /// The last poll that ended, by its number, and its answer.
    last: Option<(u64, Result<u64, StoreError>)>,
}

impl Generations {
    /// Only nodes of the datacenter, if one is given: what the others say of a write is not waited
    /// for.
    pub(super) fn new(datacenter: Option<String>) -> Self {
        Self { datacenter, begun: AtomicU64::new(0), state: Mutex::default() }
    }

    /// The generation, from a poll of every node that begins after this call. Calls at the same
    /// time share one poll, and one runs at a time.
    pub(super) async fn poll(
        &self,
        session: &Session,
        statement: &Prepared,
    ) -> Result<u64, StoreError> {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some((number, answer)) = &state.last
            && *number > begun_before
        {
            return answer.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answers = self.ask_all(session, statement, &state.nodes).await;
        let answer = state.nodes.take(answers);
        state.last = Some((number, answer.clone()));
        answer
    }

    async fn ask_all(
        &self,
        session: &Session,
        statement: &Prepared,
        known: &Nodes,
    ) -> Vec<(Uuid, Result<Incarnation, StoreError>)> {
        let started = Instant::now();
        let cluster = session.get_cluster_state();
        let here =
            |node: &&Arc<Node>| self.datacenter.is_none() || node.datacenter == self.datacenter;
        let nodes = cluster.get_nodes_info().iter().filter(here);
        let answers = nodes.map(async |node| {
            let is_away = known.is_away(node.host_id);
            (node.host_id, ask(session, statement, node, is_away).await)
        });
        let answers = join_all(answers).await;
        histogram!("millrace_cql_seconds", "kind" => Kind::Poll.name()).record(started.elapsed());
        answers
    }
}

async fn ask(
    session: &Session,
    prepared: &Prepared,
    node: &Arc<Node>,
    is_away: bool,
) -> Result<Incarnation, StoreError> {
    let mut statement = prepared.statement.clone();
    let target = NodeIdentifier::Node(Arc::clone(node));
    let policy = SingleTargetLoadBalancingPolicy::new(target, None);
    statement.set_load_balancing_policy(Some(policy));
    if is_away {
        statement.set_request_timeout(Some(AWAY_TIMEOUT));
    }
    let ask = async || {
        let result = session.execute_unpaged(&statement, &[]).await.map_err(|e| failed(&e))?;
        let rows: Vec<Incarnation> = decode(result)?;
        rows.into_iter()
            .next()
            .ok_or_else(|| StoreError::Unavailable("a node does not know itself yet".to_owned()))
    };
    match ask().await {
        Err(_) if !is_away => {
            tokio::time::sleep(SECOND_TRY_AFTER).await;
            ask().await.inspect_err(|_| {
                counter!("millrace_cql_errors_total", "kind" => Kind::Poll.name()).increment(1);
            })
        }
        answer => answer,
    }
}

/// The nodes as they were last seen.
#[derive(Default)]
struct Nodes {
    generation: u64,
    seen: BTreeMap<Uuid, Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    incarnation: Option<Incarnation>,
    is_away: bool,
}

impl Nodes {
    fn is_away(&self, node: Uuid) -> bool {
        self.seen.get(&node).is_some_and(|seen| seen.is_away)
    }

    /// The generation after a poll. Nobody answered: there is none to tell.
    fn take(
        &mut self,
        answers: Vec<(Uuid, Result<Incarnation, StoreError>)>,
    ) -> Result<u64, StoreError> {
        let mut seen = BTreeMap::new();
        let mut reason = StoreError::Unavailable("no node of the database is known".to_owned());
        let mut changed = false;
        for (node, answer) in answers {
            let before = self.seen.get(&node).copied();
            let now = match answer {
                Ok(incarnation) => Seen { incarnation: Some(incarnation), is_away: false },
                Err(error) => {
                    reason = error;
                    Seen { incarnation: before.and_then(|seen| seen.incarnation), is_away: true }
                }
            };
            changed |= before.is_none_or(|before| {
                before.incarnation != now.incarnation || (now.is_away && !before.is_away)
            });
            seen.insert(node, now);
        }
        changed |= self.seen.keys().any(|node| !seen.contains_key(node));
        let away = seen.values().filter(|seen| seen.is_away).count();
        let nobody_answered = away == seen.len();
        if changed {
            self.generation += 1;
            info!(generation = self.generation, nodes = seen.len(), away, "nodes of the database");
        }
        self.seen = seen;
        gauge!("millrace_cql_nodes_away").set(away as f64);
        if nobody_answered { Err(reason) } else { Ok(self.generation) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    fn up(node: Uuid, generation: i32) -> (Uuid, Result<Incarnation, StoreError>) {
        (node, Ok((node, Some(generation))))
    }

    fn away(node: Uuid) -> (Uuid, Result<Incarnation, StoreError>) {
        (node, Err(StoreError::Unavailable("test".into())))
    }

    #[test]
    fn it_changes_with_every_restart_and_once_with_a_node_that_goes_away() {
        let mut nodes = Nodes::default();
        let mut take = |answers: Vec<_>| nodes.take(answers).unwrap();
        let first = take(vec![up(A, 1), up(B, 1)]);
        assert_eq!(take(vec![up(B, 1), up(A, 1)]), first);
        assert_eq!(take(vec![up(A, 2), up(B, 1)]), first + 1, "restarted between two polls");
        assert_eq!(take(vec![up(A, 2), away(B)]), first + 2);
        assert_eq!(take(vec![up(A, 2), away(B)]), first + 2, "it stays away");
        assert_eq!(take(vec![up(A, 2), up(B, 1)]), first + 2, "it was only paused");
        assert_eq!(take(vec![up(A, 2), away(B)]), first + 3);
        assert_eq!(take(vec![up(A, 2), up(B, 2)]), first + 4, "it was restarted");
    }

    #[test]
    fn nodes_that_come_and_go_change_it() {
        let mut nodes = Nodes::default();
        let mut take = |answers: Vec<_>| nodes.take(answers).unwrap();
        let first = take(vec![up(A, 1)]);
        assert_eq!(take(vec![up(A, 1), away(B)]), first + 1);
        assert_eq!(take(vec![up(A, 1), up(B, 1)]), first + 2);
        assert_eq!(take(vec![up(A, 1)]), first + 3);
    }

    #[test]
    fn when_nobody_answers_there_is_none_but_it_has_changed() {
        let mut nodes = Nodes::default();
        let first = nodes.take(vec![up(A, 1)]).unwrap();
        assert!(nodes.take(vec![away(A)]).is_err());
        assert!(nodes.take(vec![away(A)]).is_err());
        assert_eq!(nodes.take(vec![up(A, 1)]).unwrap(), first + 1);
        assert!(nodes.take(vec![]).is_err());
    }
}
