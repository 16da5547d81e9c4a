//! The front door to Kafka beside Kafka's producer alone, in turns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use millrace_schema::Topic;
use serde::Serialize;

use super::Run;
use super::producer::RawProducer;
use super::product::FrontDoor;
use super::records::{Event, Source};
use super::usage::{Costs, Usage, Watched};
use crate::load::{Plan, load};
use crate::spread::Spread;
use crate::stats::{Report, Stats};
use crate::workload::USERS;

/// Events that the producer alone appends again and again.
const POOL: usize = 20_000;
/// Before anything is counted, so that the broker's code is compiled and its producers known.
const FIRST: Duration = Duration::from_secs(2);
/// Before a round is counted.
const WARM_UP: Duration = Duration::from_millis(300);

const RAW: usize = 0;
const DOOR: usize = 1;

/// What was measured with requests of one size.
#[derive(Debug, Serialize)]
pub(super) struct Shape {
    pub(super) items_per_request: usize,
    /// The producer alone, then the front door.
    pub(super) lines: Vec<Line>,
    /// Requests a second, round by round.
    pub(super) door_to_raw: Spread,
    /// The same in processor time for an event; `null` if a process is not known.
    pub(super) door_to_raw_cpu: Option<f64>,
}

/// One of both.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) report: Report,
    pub(super) usage: Vec<Usage>,
}

struct Tally {
    stats: Stats,
    elapsed: Duration,
    requests_per_s: Vec<f64>,
    costs: Costs,
}

impl Tally {
    fn new() -> Result<Self> {
        let (stats, requests_per_s) = (Stats::new()?, Vec::new());
        Ok(Self { stats, elapsed: Duration::ZERO, requests_per_s, costs: Costs::default() })
    }

    fn measure(
        &mut self,
        plan: &Plan,
        processes: &[Watched],
        load: impl FnOnce(&Plan) -> Result<(Stats, Duration)>,
    ) -> Result<()> {
        let (stats, elapsed) = self.costs.of(processes, || {
            let (stats, elapsed) = load(plan)?;
            // The warm-up costs as well, at the same rate.
            let all = (elapsed + plan.warm_up).as_secs_f64() / elapsed.as_secs_f64();
            let events = stats.accepted() as f64 * plan.items as f64 * all;
            Ok(((stats, elapsed), events))
        })?;
        self.requests_per_s.push(stats.accepted() as f64 / elapsed.as_secs_f64());
        self.stats.merge(&stats)?;
        self.elapsed += elapsed;
        Ok(())
    }

    fn line(&self, name: &'static str) -> Line {
        Line { name, report: self.stats.report(self.elapsed), usage: self.costs.usages() }
    }
}

/// All sizes, all rounds.
pub(super) fn measure(run: &Run<'_>) -> Result<Vec<Shape>> {
    let (door_space, raw_space) = (run.space("door")?, run.space("raw")?);
    let front_door = run.product.front_door(&door_space)?;
    let producer = RawProducer::new(&run.servers.kafka, raw_space.topic(Topic::Events))?;
    let pool = Arc::new(Source::new(run.options.partitions, USERS).events(POOL)?);
    let sizes = run.options.items.iter().copied().map(usize::from);
    let shapes = sizes.map(|items| shape(run, &front_door, &producer, &pool, items));
    let shapes = shapes.collect::<Result<_>>()?;
    front_door.stop()?;
    Ok(shapes)
}

fn shape(
    run: &Run<'_>,
    front_door: &FrontDoor,
    producer: &RawProducer,
    pool: &Arc<Vec<Event>>,
    items: usize,
) -> Result<Shape> {
    let rounds = run.options.rounds;
    let plan = Plan {
        items,
        connections: run.options.connections,
        threads: run.threads(),
        warm_up: WARM_UP,
        measured: Duration::try_from_secs_f64(run.options.seconds)? / rounds,
        requests_max: None,
        rate: None,
    };
    let broker = run.servers.broker;
    let processes = [
        [Watched::own("producer"), broker].to_vec(),
        [Watched::generator(), front_door.watched(), broker].to_vec(),
    ];
    let of = |which: usize, plan: &Plan| match which {
        RAW => producer.load(pool, plan),
        _ => load(&front_door.target, plan),
    };
    let first = Plan { measured: FIRST, ..plan.clone() };
    let mut tallies = [Tally::new()?, Tally::new()?];
    for which in [RAW, DOOR] {
        let (stats, _) = of(which, &first)?;
        ensure!(stats.accepted() > 0, "nothing was acknowledged: {:?}", stats.report(FIRST));
    }
    for round in 0..rounds {
        eprintln!("to Kafka, {items} per request, round {} of {rounds}", round + 1);
        for turn in 0..2 {
            let which = (round as usize + turn) % 2;
            tallies[which].measure(&plan, &processes[which], |plan| of(which, plan))?;
        }
    }
    let [raw, door] = &tallies;
    let ratios = door.requests_per_s.iter().zip(&raw.requests_per_s);
    Ok(Shape {
        items_per_request: items,
        lines: vec![raw.line("producer alone"), door.line("front door")],
        door_to_raw_cpu: raw.costs.cpu_ratio(&door.costs),
        door_to_raw: Spread::of(ratios.map(|(door, raw)| door / raw).collect()),
    })
}
