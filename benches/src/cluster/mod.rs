//! Millrace on Kafka and a CQL database, beside the clients of both.
//!
//! Three questions, one after another: what the front door keeps of the producer's throughput, what
//! the workers keep of the driver's, and how far behind they stay at a steady rate. What is compared
//! takes turns, round by round, and ratios are taken within a round.

mod door;
mod drain;
mod metrics;
mod producer;
mod product;
mod records;
mod rows;
mod servers;
mod steady;
mod table;
mod traces;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;

use self::product::{Product, Space};
use self::servers::Servers;
use self::table::Outcome;
use self::traces::Traces;
use crate::load::default_threads;

/// Of what the workers have reached, the part that is a steady rate, unless another one is named.
const STEADY_SHARE: f64 = 0.5;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// A Kafka broker that runs already [default: one started for this]
    #[arg(long, value_name = "HOST:PORT", requires = "cql")]
    kafka: Option<String>,
    /// A node of Cassandra or ScyllaDB that runs already [default: one started for this]
    #[arg(long, value_name = "HOST:PORT", requires = "kafka")]
    cql: Option<String>,
    /// The process of that broker on this machine, to tell its processor time and memory
    #[arg(long, value_name = "PID", requires = "kafka")]
    kafka_pid: Option<u32>,
    /// The process of that node on this machine, to tell its processor time and memory
    #[arg(long, value_name = "PID", requires = "cql")]
    cql_pid: Option<u32>,
    /// Copies of every partition and of every row
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    replication_factor: u16,
    /// Partitions of every topic
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    partitions: u32,
    /// To Kafka: seconds of load for each of both and each size of request
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// To Kafka: rounds that they are spread over
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// To Kafka: requests under way at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Threads of the generator and of the clients alone [default: one for each processor]
    #[arg(long)]
    threads: Option<usize>,
    /// To Kafka: events of a request, one size after another
    #[arg(long, default_values_t = [1, 100], value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    items: Vec<u16>,
    /// To the database: events that wait in the topic when a round begins
    #[arg(long, default_value_t = 200_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    events: u32,
    /// To the database: different users of these events. The fewer, the more rows a batch has
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// To the database: rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    worker_rounds: u32,
    /// To the database: changes of profiles that are applied at the end, in percent of the events
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    profiles_percent: u8,
    /// At a steady rate: events a second [default: half of what the workers have reached]
    #[arg(long, value_parser = crate::load::rate)]
    steady_events_per_s: Option<f64>,
    /// At a steady rate: seconds
    #[arg(long, default_value_t = 20.0)]
    steady_seconds: f64,
    /// Where keys are made [default: beside the binary]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the parts of one run share.
struct Run<'r> {
    options: &'r Options,
    servers: &'r Servers,
    product: Product,
    traces: Arc<Traces>,
}

impl Run<'_> {
    fn threads(&self) -> usize {
        self.options.threads.unwrap_or_else(default_threads)
    }

    /// Topics and tables of a part's own.
    fn space(&self, part: &str) -> Result<Space> {
        let space = Space(format!("{}_{part}", self.servers.name));
        self.traces.add(space.clone());
        self.product.make(&space)?;
        Ok(space)
    }
}

/// Measures and prints. Whatever comes of it, nothing that it started or made stays.
pub(crate) fn run(options: &Options) -> Result<()> {
    let own = std::env::current_exe()?;
    let binaries = own.parent().context("the executable has no folder")?;
    let parent = options.data.as_deref().unwrap_or(binaries);
    let servers = Servers::new(options)?;
    let folder = tempfile::tempdir_in(parent).context("no data folder")?;
    let data = folder.path().join("data");
    let traces = Traces::new(folder.keep(), servers.foreign());
    traces.watch()?;
    let product = Product::new(binaries, data, &servers, options);
    let measured = product.and_then(|product| {
        measure(&Run { options, servers: &servers, product, traces: Arc::clone(&traces) })
    });
    traces.remove();
    let outcome = measured?;
    if options.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        outcome.print();
    }
    Ok(())
}

fn measure(run: &Run<'_>) -> Result<Outcome> {
    let options = run.options;
    let to_kafka = door::measure(run)?;
    let to_database = drain::measure(run)?;
    let reached = to_database.worker_rows_per_s.median;
    let rate = options.steady_events_per_s.unwrap_or(reached * STEADY_SHARE);
    let steady = steady::measure(run, rate)?;
    Ok(Outcome {
        partitions: options.partitions,
        replication_factor: options.replication_factor,
        connections: options.connections,
        threads: run.threads(),
        rounds: options.rounds,
        users: options.users,
        to_kafka,
        to_database,
        steady,
    })
}
