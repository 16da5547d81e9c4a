//! Workers to the database beside the database's driver alone, in turns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use millrace_schema::Topic;
use serde::Serialize;

use super::Run;
use super::metrics::{self, Metrics};
use super::producer::RawProducer;
use super::product::{FrontDoor, SETTLED_AFTER, Space};
use super::records::{self, Event, Source};
use super::rows::RawWriter;
use super::usage::{Costs, Usage, Watched};
use crate::ledger;
use crate::spread::Spread;

/// How often the ledger is looked at.
const POLL: Duration = Duration::from_millis(200);
/// What the worker tells its statements apart by.
const KINDS: [&str; 5] = ["write", "read", "ledger", "lwt", "poll"];
/// Workers that have not moved for so long do not move.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of the driver's batches before a worker has been seen.
const FIRST_ROWS_PER_STATEMENT: f64 = 2.0;
/// The part of a round that the driver writes before anything is counted.
const FIRST_SHARE: usize = 4;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Drains {
    pub(super) events_per_round: u32,
    pub(super) rounds: Vec<Round>,
    pub(super) worker_rows_per_s: Spread,
    pub(super) raw_rows_per_s: Spread,
    /// Rows a second, round by round.
    pub(super) worker_to_raw: Spread,
    /// The same in processor time for an event; `null` if a process is not known.
    pub(super) worker_to_raw_cpu: Option<f64>,
    pub(super) worker_usage: Vec<Usage>,
    pub(super) raw_usage: Vec<Usage>,
    /// Of the role `profiles`, alone; `null` if there were none.
    pub(super) profiles: Option<Profiles>,
}

/// The same events, by a worker and by the driver.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    pub(super) worker_rows_per_s: f64,
    pub(super) raw_rows_per_s: f64,
    pub(super) records_per_commit: f64,
    pub(super) worker_rows_per_statement: f64,
    pub(super) raw_rows_per_statement: f64,
    /// A commit of the worker, from its first look at the ledger to its last write.
    pub(super) commit_ms: f64,
    pub(super) statements: Vec<Statements>,
    pub(super) lag: Vec<Point>,
}

/// The worker's statements of one kind, as it names them itself; a batch is one.
#[derive(Debug, Serialize)]
pub(super) struct Statements {
    pub(super) kind: &'static str,
    pub(super) per_1000_rows: f64,
    pub(super) mean_ms: f64,
}

/// How the worker of profiles did.
#[derive(Debug, Serialize)]
pub(super) struct Profiles {
    pub(super) records: usize,
    pub(super) records_per_s: f64,
    pub(super) usage: Vec<Usage>,
    pub(super) lag: Vec<Point>,
}

/// How far behind the workers were at a time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Point {
    pub(super) seconds: f64,
    pub(super) behind: u64,
}

/// What a worker did of what it was behind.
struct Drained {
    records: u64,
    took: Duration,
    lag: Vec<Point>,
}

impl Drained {
    fn records_per_s(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }
}

struct Bench<'r> {
    run: &'r Run<'r>,
    space: Space,
    /// Tells the ledger, and does nothing else.
    front_door: FrontDoor,
    writer: RawWriter,
    /// Records in the topic of events.
    filled: u64,
    rows_per_statement: f64,
    worker_costs: Costs,
    raw_costs: Costs,
}

/// All rounds, and then the profiles.
pub(super) fn measure(run: &Run<'_>) -> Result<Drains> {
    let (space, raw_space) = (run.space("work")?, run.space("rows")?);
    let front_door = run.product.front_door(&space)?;
    let writer = RawWriter::connect(&run.servers.cql, &raw_space.0, run.threads())?;
    let mut bench = Bench {
        run,
        space,
        front_door,
        writer,
        filled: 0,
        rows_per_statement: FIRST_ROWS_PER_STATEMENT,
        worker_costs: Costs::default(),
        raw_costs: Costs::default(),
    };
    let rounds = bench.rounds()?;
    let profiles = bench.profiles()?;
    let Bench { front_door, worker_costs, raw_costs, .. } = bench;
    front_door.stop()?;
    let spread = |of: fn(&Round) -> f64| Spread::of(rounds.iter().map(of).collect());
    Ok(Drains {
        events_per_round: run.options.events,
        worker_rows_per_s: spread(|round| round.worker_rows_per_s),
        raw_rows_per_s: spread(|round| round.raw_rows_per_s),
        worker_to_raw: spread(|round| round.worker_rows_per_s / round.raw_rows_per_s),
        worker_to_raw_cpu: raw_costs.cpu_ratio(&worker_costs),
        worker_usage: worker_costs.usages(),
        raw_usage: raw_costs.usages(),
        rounds,
        profiles,
    })
}

impl Bench<'_> {
    fn rounds(&mut self) -> Result<Vec<Round>> {
        let options = self.run.options;
        let topic = self.space.topic(Topic::Events);
        let producer = RawProducer::new(&self.run.servers.kafka, topic)?;
        let mut source = Source::new(options.partitions, options.users);
        let first = Arc::new(source.events(options.events as usize / FIRST_SHARE)?);
        self.writer.write(&first, self.rows_per_statement)?;
        let mut rounds = Vec::new();
        for round in 0..options.worker_rounds {
            eprintln!("to the database, round {} of {}", round + 1, options.worker_rounds);
            let events = Arc::new(source.events(options.events as usize)?);
            producer.fill(events.iter().map(|event| &event.entry))?;
            self.filled += events.len() as u64;
            // The first turn is the worker's: the driver's batches are of the size that it reached.
            rounds.push(if round % 2 == 0 {
                let work = self.work()?;
                let raw = self.write(&events)?;
                work.round(raw)
            } else {
                let raw = self.write(&events)?;
                self.work()?.round(raw)
            });
        }
        Ok(rounds)
    }

    /// Has a worker apply what is in the topic.
    fn work(&mut self) -> Result<Work> {
        let (admin, filled) = (self.front_door.admin, self.filled);
        let (before, _) = ledger::read(admin)?.of(Topic::Events);
        let worker = self.run.product.worker(&self.space, "events")?;
        let servers = self.run.servers;
        let processes = [worker.watched(), servers.broker, servers.database];
        let drained = self.worker_costs.of(&processes, || {
            let drained = drain(admin, Topic::Events, before, filled)?;
            let records = drained.records as f64;
            Ok((drained, records))
        })?;
        let work = Work::new(drained, &metrics::read(worker.admin)?);
        self.rows_per_statement = work.rows_per_statement;
        std::thread::sleep(SETTLED_AFTER);
        worker.stop()?;
        Ok(work)
    }

    /// Has the driver write the same.
    fn write(&mut self, events: &Arc<Vec<Event>>) -> Result<Raw> {
        let processes = [Watched::own("driver"), self.run.servers.database];
        let (writer, rows_per_statement) = (&self.writer, self.rows_per_statement);
        let written = self.raw_costs.of(&processes, || {
            Ok((writer.write(events, rows_per_statement)?, events.len() as f64))
        })?;
        let rows = events.len() as f64;
        Ok(Raw {
            rows_per_s: rows / written.took.as_secs_f64(),
            rows_per_statement: rows / written.statements.max(1) as f64,
        })
    }

    fn profiles(&self) -> Result<Option<Profiles>> {
        let options = self.run.options;
        let records = options.events as usize * usize::from(options.profiles_percent) / 100;
        if records == 0 {
            return Ok(None);
        }
        eprintln!("profiles to the database");
        let topic = self.space.topic(Topic::Profiles);
        let entries = records::profiles(options.partitions, options.users, records);
        RawProducer::new(&self.run.servers.kafka, topic)?.fill(entries.iter())?;
        let worker = self.run.product.worker(&self.space, "profiles")?;
        let processes = [worker.watched(), self.run.servers.broker, self.run.servers.database];
        let mut costs = Costs::default();
        let drained = costs.of(&processes, || {
            let drained = drain(self.front_door.admin, Topic::Profiles, 0, records as u64)?;
            Ok((drained, records as f64))
        })?;
        worker.stop()?;
        let records_per_s = drained.records_per_s();
        Ok(Some(Profiles { records, records_per_s, usage: costs.usages(), lag: drained.lag }))
    }
}

struct Work {
    drained: Drained,
    records_per_commit: f64,
    rows_per_statement: f64,
    commit_ms: f64,
    statements: Vec<Statements>,
}

struct Raw {
    rows_per_s: f64,
    rows_per_statement: f64,
}

impl Work {
    /// With what the worker has counted since it began.
    fn new(drained: Drained, counted: &Metrics) -> Self {
        let sum = |name: &str| counted.sum(name, "topic=\"events\"");
        let commits = sum("millrace_worker_commit_records_count").max(1.0);
        let records = sum("millrace_worker_commit_records_sum");
        let statements = KINDS.into_iter().map(|kind| {
            let label = format!("kind=\"{kind}\"");
            let count = counted.sum("millrace_cql_seconds_count", &label);
            let seconds = counted.sum("millrace_cql_seconds_sum", &label);
            Statements {
                kind,
                per_1000_rows: count * 1e3 / records.max(1.0),
                mean_ms: seconds * 1e3 / count.max(1.0),
            }
        });
        Self {
            drained,
            records_per_commit: records / commits,
            rows_per_statement: records / sum("millrace_cql_batches_total").max(1.0),
            commit_ms: sum("millrace_worker_commit_seconds_sum") * 1e3 / commits,
            statements: statements.collect(),
        }
    }

    fn round(self, raw: Raw) -> Round {
        Round {
            worker_rows_per_s: self.drained.records_per_s(),
            raw_rows_per_s: raw.rows_per_s,
            records_per_commit: self.records_per_commit,
            worker_rows_per_statement: self.rows_per_statement,
            raw_rows_per_statement: raw.rows_per_statement,
            commit_ms: self.commit_ms,
            statements: self.statements,
            lag: self.drained.lag,
        }
    }
}

/// Looks at the ledger until all records of a topic are applied, `before` of which were so before
/// the worker began. The time that it takes to join its group and to claim its partitions is not
/// counted.
fn drain(admin: SocketAddr, topic: Topic, mut before: u64, filled: u64) -> Result<Drained> {
    let since = Instant::now();
    let (mut began, mut moved, mut last) = (since, since, before);
    let mut lag = Vec::new();
    loop {
        let (applied, _) = ledger::read(admin)?.of(topic);
        let now = Instant::now();
        let behind = filled.saturating_sub(applied);
        lag.push(Point { seconds: now.duration_since(since).as_secs_f64(), behind });
        if applied <= before {
            (before, began) = (applied, now);
        }
        if behind == 0 {
            let (records, took) = (filled.saturating_sub(before), now.duration_since(began));
            ensure!(lag.len() > 1, "all was applied at the first look: take more --events");
            return Ok(Drained { records, took, lag });
        }
        if applied != last {
            (last, moved) = (applied, now);
        }
        ensure!(
            moved.elapsed() < PATIENCE,
            "the worker of {} has not moved for {PATIENCE:?} and is {behind} behind",
            topic.short_name()
        );
        std::thread::sleep(POLL);
    }
}
