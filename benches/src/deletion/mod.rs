//! Deletions: how long they take, what they cost, and what ordinary ingestion loses meanwhile.
//!
//! Each size has a server of its own, in an empty folder: people are loaded over HTTP, and erased
//! when all of it is applied. Beside it stands what the store's engine takes for as many rows and
//! as much data alone. On a cluster the database's driver alone stands beside it.

mod api;
mod erase;
mod fill;
mod ingestion;
mod on_cluster;
mod people;
mod raw_rows;
mod raw_store;
mod rest;
mod table;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use tempfile::TempDir;

use self::table::Outcome;
use crate::compare::child::Server;

/// How often it is asked whether all is applied.
const POLL: Duration = Duration::from_millis(100);
/// Workers that have not moved for so long do not move.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What is measured
    #[arg(long, value_delimiter = ',', default_values_t = [Part::Users, Part::Ingestion])]
    parts: Vec<Part>,
    /// Users that are loaded and erased, one number after another
    #[arg(long, default_values_t = [10_000, 100_000], value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    users: Vec<u64>,
    /// Ingestion: users of each round
    #[arg(long, default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    ingestion_users: u64,
    /// Ingestion: events a second that are sent [default: as fast as answers come]
    #[arg(long, value_parser = crate::load::rate)]
    ingestion_events_per_s: Option<f64>,
    /// Cluster: users of each round
    #[arg(long, default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    cluster_users: u64,
    /// Ingestion and cluster: rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Where data folders are made [default: beside the binary, as /tmp may be memory]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Erase users on the embedded engines, beside the store's engine alone
    Users,
    /// Ingestion on the embedded engines with and without jobs
    Ingestion,
    /// Erase users on Kafka and Cassandra, beside the database's driver alone
    Cluster,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Users => "users",
            Self::Ingestion => "ingestion",
            Self::Cluster => "cluster",
        })
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let own = std::env::current_exe()?;
    let binaries = own.parent().context("the executable has no folder")?;
    let run = Run { options, binaries };
    let mut outcome = Outcome::default();
    if options.parts.contains(&Part::Users) {
        for count in &options.users {
            let (folder, server) = run.embedded()?;
            outcome.users.push(erase::measure(&server, folder.path(), *count)?);
        }
    }
    if options.parts.contains(&Part::Ingestion) {
        let (_folder, server) = run.embedded()?;
        outcome.ingestion = Some(ingestion::measure(&server, options)?);
    }
    if options.parts.contains(&Part::Cluster) {
        outcome.cluster = Some(on_cluster::measure(&run)?);
    }
    if options.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        outcome.print();
    }
    Ok(())
}

/// What the parts share.
struct Run<'r> {
    options: &'r Options,
    binaries: &'r Path,
}

impl Run<'_> {
    /// The binary that is measured.
    fn millrace(&self) -> Result<PathBuf> {
        let binary = self.binaries.join("millrace");
        ensure!(
            binary.exists(),
            "{} is missing; build it: cargo build --release -p millrace -p millrace-benches",
            binary.display()
        );
        Ok(binary)
    }

    fn folder(&self) -> Result<TempDir> {
        let parent = self.options.data.as_deref().unwrap_or(self.binaries);
        tempfile::tempdir_in(parent).context("no data folder")
    }

    /// `millrace dev` in an empty folder. It must be dropped before its folder is.
    fn embedded(&self) -> Result<(TempDir, Server)> {
        let folder = self.folder()?;
        let server = dev(&self.millrace()?, &folder.path().join("data"), &[])?;
        Ok((folder, server))
    }
}

/// `millrace dev`, ready.
fn dev(binary: &Path, data: &Path, more: &[&str]) -> Result<Server> {
    let data = data.to_str().context("the data folder's name is not UTF-8")?;
    let free = "127.0.0.1:0";
    let quiet = ["dev", "--json", "--log", "warn"];
    let place = ["--data", data, "--listen", free, "--admin-listen", free];
    Server::start(binary, &[&quiet[..], &place, more].concat())
}

/// Waits until the workers have applied everything.
fn until_applied(server: &Server) -> Result<()> {
    let (mut last, mut moved) = (u64::MAX, Instant::now());
    loop {
        let behind = erase::behind(server)?;
        if behind == 0 {
            return Ok(());
        }
        if behind != last {
            (last, moved) = (behind, Instant::now());
        }
        ensure!(moved.elapsed() < PATIENCE, "the workers stand still, {behind} records behind");
        std::thread::sleep(POLL);
    }
}
