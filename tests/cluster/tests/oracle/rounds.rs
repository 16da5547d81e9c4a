//! Rounds of faults: a few in every run, all of them on request.

use anyhow::{Result, ensure};
use millrace_cluster::{Cluster, Shape};

use crate::faults::{
    ALL_KILLED_IN_A_JOB, DATABASE_AND_WORKERS_KILLED, DOOR_AND_WORKER_KILLED,
    DOOR_AND_WORKER_PAUSED, FORGETFUL, MILD, NETWORK, ONE_OF_THREE_BROKERS, ONE_OF_THREE_NODES,
    PAUSED_WHILE_ALL_ARE_ERASED, SKEWED_CLOCKS, STORM,
};
use crate::scene::{Fault, Scene};
use crate::table::Table;
use crate::{cluster, forgetful, one_at_a_time};

/// Above what a commit log that is synced every ten seconds may lose.
const SETTLE_MS: u64 = 12_000;

/// Faults under one settling time, milliseconds.
type Settled = (u64, &'static [Fault]);

/// How often each fault strikes in the long version.
fn rounds() -> usize {
    let given = std::env::var("MILLRACE_CLUSTER_ROUNDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(1)
}

/// Strikes a system with each of the faults. What fails is told, and the next begins anew.
struct Run<'t> {
    table: &'t mut Table,
    failed: Vec<String>,
}

impl Run<'_> {
    fn strike(&mut self, cluster: &Cluster, settle_ms: u64, faults: &[Fault], rounds: usize) {
        let mut scene = None;
        for fault in faults.iter().flat_map(|fault| std::iter::repeat_n(fault, rounds)) {
            let done = begun(&mut scene, cluster, settle_ms).and_then(|scene| scene.round(*fault));
            match done {
                Ok(row) => self.table.add(row),
                Err(error) => {
                    println!("FAILED {error:#}");
                    self.failed.push(format!("{}: {error:#}", fault.0));
                    scene = None;
                }
            }
        }
    }

    fn end(self) -> Result<()> {
        self.table.show()?;
        let failed = self.failed;
        ensure!(failed.is_empty(), "{} rounds failed:\n{}", failed.len(), failed.join("\n"));
        Ok(())
    }
}

/// The scene, made if there is none.
fn begun<'s, 'c>(
    scene: &'s mut Option<Scene<'c>>,
    cluster: &'c Cluster,
    settle_ms: u64,
) -> Result<&'s mut Scene<'c>> {
    let begun = match scene.take() {
        Some(begun) => begun,
        None => Scene::new(cluster, "faults", |spec| spec.settle_ms = settle_ms)?,
    };
    Ok(scene.insert(begun))
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn every_promise_is_kept_through_a_round_of_some_faults() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let mut run = Run { table: &mut Table::default(), failed: Vec::new() };
    let broker_killed = MILD[2];
    let mild = [
        broker_killed,
        DOOR_AND_WORKER_KILLED,
        DOOR_AND_WORKER_PAUSED,
        PAUSED_WHILE_ALL_ARE_ERASED,
        STORM,
        SKEWED_CLOCKS,
    ];
    run.strike(cluster, 1_000, &mild, 1);
    let forgetful = [DATABASE_AND_WORKERS_KILLED, ALL_KILLED_IN_A_JOB];
    run.strike(cluster, SETTLE_MS, &forgetful, 1);
    run.end()
}

#[test]
#[ignore = "takes about 15 minutes a round"]
fn every_promise_is_kept_through_every_fault() -> Result<()> {
    let _turn = one_at_a_time();
    let mut run = Run { table: &mut Table::default(), failed: Vec::new() };
    let of = |brokers, nodes| Shape { brokers, nodes, ..Shape::default() };
    let one = Shape { proxied: true, ..of(1, 1) };
    let forgets = Shape { proxied: true, ..forgetful() };
    let groups: [(Shape, &[Settled]); 3] = [
        (one, &[(1_000, &MILD), (1_000, &NETWORK), (SETTLE_MS, &FORGETFUL)]),
        (forgets, &[(SETTLE_MS, &FORGETFUL)]),
        (of(3, 3), &[(1_000, &[ONE_OF_THREE_BROKERS]), (SETTLE_MS, &[ONE_OF_THREE_NODES])]),
    ];
    for (shape, groups) in groups {
        let groups: Vec<_> =
            groups.iter().map(|(settle, faults)| (*settle, asked(faults))).collect();
        if groups.iter().all(|(_, faults)| faults.is_empty()) {
            continue;
        }
        let cluster = Cluster::start(shape)?;
        for (settle_ms, faults) in groups {
            run.strike(&cluster, settle_ms, &faults, rounds());
        }
    }
    run.end()
}

/// Those whose name holds what `MILLRACE_CLUSTER_FAULT` says; else all.
fn asked(faults: &[Fault]) -> Vec<Fault> {
    let part = std::env::var("MILLRACE_CLUSTER_FAULT").unwrap_or_default();
    faults.iter().filter(|(name, _)| name.contains(&part)).copied().collect()
}
