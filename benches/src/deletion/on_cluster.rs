//! The same on Kafka and Cassandra, beside the database's driver alone, in turns.

use std::process::Command;

use anyhow::{Result, ensure};
use millrace_cluster::{Cluster, Shape};
use serde::Serialize;

use super::erase::{Times, erase};
use super::fill::fill;
use super::people::People;
use super::raw_rows::RawRows;
use super::{Run, dev};
use crate::compare::child::Server;
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
    /// Until the workers have passed all markers, over the driver alone, round by round.
    pub(super) to_raw: Spread,
}

/// As many users by the product and by the driver.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    pub(super) times: Times,
    pub(super) raw_s: f64,
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
    let (users, mut rounds) = (run.options.cluster_users, Vec::new());
    for number in 0..run.options.rounds {
        eprintln!("cluster, round {} of {}", number + 1, run.options.rounds);
        let ours = People::new('c', number, users);
        let theirs = People::new('r', number, users);
        fill(&server, &ours)?;
        fill(&server, &theirs)?;
        rounds.push(round(&server, &rows, (&ours, &theirs), number % 2 == 0)?);
    }
    Ok(OnCluster {
        users_per_round: users,
        statements_per_user: RawRows::PER_USER,
        settle_ms: SETTLE_MS,
        to_raw: Spread::of(rounds.iter().map(|r| r.times.erased_s / r.raw_s).collect()),
        rounds,
    })
}

fn round(
    server: &Server,
    rows: &RawRows,
    (ours, theirs): (&People, &People),
    ours_first: bool,
) -> Result<Round> {
    if ours_first {
        let times = erase(server, ours)?;
        return Ok(Round { times, raw_s: rows.erase(theirs)? });
    }
    let raw_s = rows.erase(theirs)?;
    Ok(Round { times: erase(server, ours)?, raw_s })
}
