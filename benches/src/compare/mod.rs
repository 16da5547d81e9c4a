//! The null server, the parse-only server and the real one, side by side on one machine.
//!
//! Each round loads each of them, one after another and every time in another order, so that
//! whatever else the machine does hits all alike; ratios are taken within a round.

pub(crate) mod child;
mod disk;
mod lag;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::child::Server;
use self::table::{LagLine, Line, Outcome, Shape};
use crate::load::{Plan, default_threads, load};
use crate::spread::Spread;
use crate::stats::{Report, Stats};

/// The servers' names, in the order of the table.
const NAMES: [&str; 3] = ["null", "parse-only", "millrace"];
const NULL: usize = 0;
const PARSE_ONLY: usize = 1;
const REAL: usize = 2;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Seconds of load for each server and size of request
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Rounds that they are spread over
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Open connections, each with one request at a time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Threads of the load generator [default: one for each processor]
    #[arg(long)]
    threads: Option<usize>,
    /// Events of a request, one size after another
    #[arg(long, default_values_t = [1, 100], value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    items: Vec<u16>,
    /// Where the data folder is made [default: beside the binary, as /tmp may be memory]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let own = std::env::current_exe()?;
    let binaries = own.parent().context("the executable has no folder")?;
    let parent = options.data.as_deref().unwrap_or(binaries);
    let folder = tempfile::tempdir_in(parent).context("no data folder")?;
    let sync_ms = disk::sync_time(folder.path())?.as_secs_f64() * 1e3;
    let servers = start(&own, binaries, &folder.path().join("data"))?;

    let mut lags = Vec::new();
    let mut shapes = Vec::new();
    for items in options.items.iter().copied().map(usize::from) {
        shapes.push(shape(options, &servers, items, &mut lags)?);
    }
    let [_, _, real] = &servers;
    let outcome = Outcome {
        connections: options.connections,
        threads: threads(options),
        rounds: options.rounds,
        sync_ms,
        shapes,
        memory: real.memory()?.into(),
        lags,
    };
    if options.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        outcome.print();
    }
    Ok(())
}

fn threads(options: &Options) -> usize {
    options.threads.unwrap_or_else(default_threads)
}

/// Starts all three.
fn start(own: &Path, binaries: &Path, data: &Path) -> Result<[Server; 3]> {
    let real = binaries.join("millrace");
    ensure!(
        real.exists(),
        "{} is missing; build it: cargo build --release -p millrace -p millrace-benches",
        real.display()
    );
    let data = data.to_str().context("the data folder's name is not UTF-8")?;
    let free = "127.0.0.1:0";
    let quiet = ["dev", "--json", "--log", "warn"];
    let place = ["--data", data, "--listen", free, "--admin-listen", free];
    Ok([
        Server::start(own, &["serve-null"])?,
        Server::start(own, &["serve-parse-only"])?,
        Server::start(&real, &[&quiet[..], &place].concat())?,
    ])
}

/// What is kept of one server over the rounds.
struct Tally {
    stats: Stats,
    elapsed: Duration,
    cpu_us_per_request: Vec<f64>,
    requests_per_s: Vec<f64>,
}

impl Tally {
    fn new() -> Result<Self> {
        let (cpu_us_per_request, requests_per_s) = (Vec::new(), Vec::new());
        Ok(Self {
            stats: Stats::new()?,
            elapsed: Duration::ZERO,
            cpu_us_per_request,
            requests_per_s,
        })
    }

    /// One load of one server.
    fn measure(&mut self, server: &Server, plan: &Plan) -> Result<()> {
        let cpu_before = server.cpu_time()?;
        let (stats, elapsed) = load(&server.target, plan)?;
        let cpu = server.cpu_time()?.saturating_sub(cpu_before);
        // The processor's time includes the warm-up, its requests do not: both run at one rate.
        let measured = elapsed.as_secs_f64() / (elapsed + plan.warm_up).as_secs_f64();
        let requests = stats.accepted().max(1) as f64;
        self.cpu_us_per_request.push(cpu.as_secs_f64() * 1e6 * measured / requests);
        self.requests_per_s.push(stats.accepted() as f64 / elapsed.as_secs_f64());
        self.stats.merge(&stats)?;
        self.elapsed += elapsed;
        Ok(())
    }

    fn line(&self, server: &'static str) -> Line {
        let report: Report = self.stats.report(self.elapsed);
        let cpu_us_per_request = Spread::of(self.cpu_us_per_request.clone()).median;
        Line { server, report, cpu_us_per_request }
    }

    /// How many times the other's requests it took, round by round.
    fn ratio(&self, other: &Self) -> Spread {
        let rounds = self.requests_per_s.iter().zip(&other.requests_per_s);
        Spread::of(rounds.map(|(ours, theirs)| ours / theirs).collect())
    }
}

/// All rounds with requests of one size.
fn shape(
    options: &Options,
    servers: &[Server; 3],
    items: usize,
    lags: &mut Vec<LagLine>,
) -> Result<Shape> {
    let plan = Plan {
        items,
        connections: options.connections,
        threads: threads(options),
        warm_up: Duration::from_millis(300),
        measured: Duration::try_from_secs_f64(options.seconds)? / options.rounds,
        requests_max: None,
        rate: None,
    };
    let mut tallies = [Tally::new()?, Tally::new()?, Tally::new()?];
    for round in 0..options.rounds {
        eprintln!("{items} per request, round {} of {}", round + 1, options.rounds);
        for turn in 0..NAMES.len() {
            let which = (round as usize + turn) % NAMES.len();
            tallies[which].measure(&servers[which], &plan)?;
            // What the workers have left would be done at the cost of the next server.
            if let Some(admin) = servers[which].admin {
                lags.push(LagLine::new(items, lag::settle(admin)?));
            }
        }
    }
    let lines = tallies.iter().zip(NAMES).map(|(tally, name)| tally.line(name)).collect();
    Ok(Shape {
        items_per_request: items,
        lines,
        real_to_null: tallies[REAL].ratio(&tallies[NULL]),
        real_to_parse_only: tallies[REAL].ratio(&tallies[PARSE_ONLY]),
    })
}
