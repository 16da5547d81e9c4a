//! `millrace-cluster`: real servers by hand, and the supervisor that owns them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use millrace_cluster::{Cluster, Printed, Shape, down, supervise, up};

/// Starts real Kafka and Cassandra servers on this machine, for tests and trials.
#[derive(Debug, Parser)]
#[command(name = "millrace-cluster")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts servers that stay until `down`, and prints where they are.
    ///
    /// Standard output is for the shell: `export $(tests/cluster/up)`. If they are up already,
    /// prints the same again.
    Up(Up),
    /// Starts servers that end with this process, prints where they are, and waits.
    Hold(Up),
    /// Ends what `up` started, and removes its data.
    Down {
        /// Ends the cluster the tests share instead, which else ends by itself.
        #[arg(long)]
        shared: bool,
    },
    /// Runs the cluster whose plan lies in a folder.
    #[command(hide = true)]
    Supervise {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Up {
    /// Kafka brokers: 0, 1 or 3.
    #[arg(long, default_value_t = 1)]
    brokers: usize,
    /// Cassandra nodes: 0, 1 or 3.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Prints JSON instead, on one line, with the process id and the log of each server.
    #[arg(long)]
    json: bool,
}

impl Up {
    fn shape(&self) -> Shape {
        Shape { brokers: self.brokers, nodes: self.nodes, ..Shape::default() }
    }

    fn print(&self, printed: &Printed) -> Result<()> {
        match self.json {
            true => println!("{}", serde_json::to_string(printed)?),
            false => print!("{printed}"),
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(args) => args.print(&up(args.shape())?)?,
        Command::Hold(args) => {
            let held = Cluster::start(args.shape())?;
            args.print(&held.printed())?;
            loop {
                std::thread::park();
            }
        }
        Command::Down { shared } => match down(shared)? {
            true => eprintln!("ended"),
            false => eprintln!("nothing to end"),
        },
        Command::Supervise { folder } => supervise(&folder)?,
    }
    Ok(())
}
