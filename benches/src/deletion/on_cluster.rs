//! The same on Kafka and Cassandra, beside the database's driver alone, in turns.

use std::process::Command;

use anyhow::{Result, ensure};
use millrace_cluster::{Cluster, Node, Shape};
use serde::Serialize;

use super::erase::{Times, erase};
use super::fill::fill;
use super::people::People;
use super::raw_rows::{Alone, RawRows};
use super::rest::rest;
use super::{Run, dev};
use crate::spread::Spread;

/// Topics' prefix and keyspace.
const NAME: &str = "bench_deletion";
/// How long a crash of the database may forget, here: short, as nothing crashes.
const SETTLE_MS: &str = "1000";

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct OnCluster {
    pub(super) users_per_round: u64,
    pub(super) statements_per_user: u64,
    pub(super) settle_ms: &'static str,
    pub(super) rounds: Vec<Round>,
    /// Until the workers have passed all markers, over the driver alone with the same statements,
    /// round by round.
    pub(super) to_alone: Spread,
    /// The same over the driver alone with the deletions only.
    pub(super) to_deletes: Spread,
}

/// As many users by the product and by the driver.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    /// Until both sides' users were stored, seconds.
    pub(super) loaded_s: f64,
    /// Until what loading had left over was done.
    pub(super) rested_s: f64,
    pub(super) times: Times,
    pub(super) alone: Alone,
}

impl Round {
    pub(super) fn to_alone(&self) -> f64 {
        self.times.erased_s / self.alone.seconds()
    }

    pub(super) fn to_deletes(&self) -> f64 {
        self.times.erased_s / self.alone.deleted_s
    }
}

pub(super) fn measure(run: &Run<'_>) -> Result<OnCluster> {
    eprintln!("starting a broker and a database");
    let cluster = Cluster::start(Shape::default())?;
    let (kafka, cql) = (cluster.bootstrap(), cluster.printed().cql);
    let (binary, folder) = (run.millrace()?, run.folder()?);
    let place = ["--kafka", &kafka, "--cql", &cql, "--kafka-prefix", NAME, "--cql-keyspace", NAME];
    let migrated = Command::new(&binary)
        .args(["migrate", "--replication-factor", "1"])
        .args(place)
        .output()?;
    let said = String::from_utf8_lossy(&migrated.stderr);
    ensure!(migrated.status.success(), "millrace migrate: {said}");
    let more = [&place[..], &["--cql-settle-ms", SETTLE_MS]].concat();
    let server = dev(&binary, &folder.path().join("data"), &more)?;
    let rows = RawRows::connect(&cql, NAME)?;
    let servers = cluster.brokers().iter().chain(cluster.nodes());
    let pids: Vec<u32> = servers.filter_map(Node::pid).chain([server.id()]).collect();
    let (users, mut rounds) = (run.options.cluster_users, Vec::new());
    for number in 0..run.options.rounds {
        eprintln!("cluster, round {} of {}", number + 1, run.options.rounds);
        let ours = People::new('c', number, users);
        let theirs = People::new('r', number, users);
        let loaded_s = fill(&server, &ours)? + fill(&server, &theirs)?;
        let rested_s = rest(&pids)?;
        let product = || erase(&server, &ours);
        let driver = || rows.erase(&theirs);
        let (times, alone) = if number % 2 == 0 {
            let times = product()?;
            rest(&pids)?;
            (times, driver()?)
        } else {
            let alone = driver()?;
            rest(&pids)?;
            (product()?, alone)
        };
        rounds.push(Round { loaded_s, rested_s, times, alone });
    }
    Ok(OnCluster {
        users_per_round: users,
        statements_per_user: RawRows::PER_USER,
        settle_ms: SETTLE_MS,
        to_alone: Spread::of(rounds.iter().map(Round::to_alone).collect()),
        to_deletes: Spread::of(rounds.iter().map(Round::to_deletes).collect()),
        rounds,
    })
}
