//! What the product costs: a load generator, two servers to measure against, and the comparison of
//! both with the real one; and on a cluster, clients of Kafka and of the database to measure
//! against.
//!
//! Owns load and measures. Must not know how the product works: it is run and called like any
//! other server.

mod child;
mod cluster;
mod compare;
mod deletion;
mod http;
mod ledger;
mod load;
mod process;
mod reply;
mod request;
mod server;
mod spread;
mod stats;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures Millrace beside a server that does nothing and one that only parses.
#[derive(Debug, Parser)]
#[command(name = "millrace-benches", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start all three servers, load them in turn, print a table
    Compare(compare::Options),
    /// Measure front door and workers on Kafka and Cassandra beside the clients of both
    Cluster(Box<cluster::Options>),
    /// Measure deletions: time, memory, disk, and what ordinary ingestion loses meanwhile
    Deletion(deletion::Options),
    /// Load a server that runs already
    Load(load::Options),
    /// Serve: read the body, answer 202
    ServeNull(server::Options),
    /// Serve: read, parse, validate and encode the events, answer 202
    ServeParseOnly(server::Options),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Cluster(options) => cluster::run(&options),
        Command::Deletion(options) => deletion::run(&options),
        Command::Load(options) => load::run(&options),
        Command::ServeNull(options) => server::run(&options, server::Work::Nothing),
        Command::ServeParseOnly(options) => server::run(&options, server::Work::Parse),
    }
}
