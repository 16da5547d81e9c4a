//! Everything together at a steady rate: how far behind the workers stay.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use millrace_schema::Topic;
use serde::Serialize;

use super::Run;
use super::drain::Point;
use super::usage::{Costs, Usage, Watched};
use crate::ledger;
use crate::load::{Plan, load};
use crate::stats::Report;

/// Events of a request.
const ITEMS: usize = 10;
/// Open connections: enough that no request waits for another one's answer.
const CONNECTIONS: u16 = 64;
/// How often the ledger is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Before requests are counted.
const WARM_UP: Duration = Duration::from_secs(3);

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Steady {
    pub(super) events_per_s: f64,
    #[serde(flatten)]
    pub(super) report: Report,
    pub(super) lag: Vec<Point>,
    pub(super) usage: Vec<Usage>,
}

/// Front door and worker under so many events a second.
pub(super) fn measure(run: &Run<'_>, events_per_s: f64) -> Result<Steady> {
    let space = run.space("steady")?;
    let front_door = run.product.front_door(&space)?;
    let worker = run.product.worker(&space, "events")?;
    let plan = Plan {
        items: ITEMS,
        connections: CONNECTIONS,
        threads: run.threads(),
        warm_up: WARM_UP,
        measured: Duration::try_from_secs_f64(run.options.steady_seconds)?,
        requests_max: None,
        rate: Some((events_per_s / ITEMS as f64).max(1.0)),
    };
    eprintln!("at {events_per_s:.0} events/s");
    let servers = run.servers;
    let processes = [
        Watched::generator(),
        front_door.watched(),
        servers.broker,
        worker.watched(),
        servers.database,
    ];
    let mut costs = Costs::default();
    let (report, lag) = costs.of(&processes, || {
        let (loaded, lag) = std::thread::scope(|scope| {
            let loading = scope.spawn(|| load(&front_door.target, &plan));
            let mut lag = Vec::new();
            let since = Instant::now();
            while !loading.is_finished() {
                let (applied, end) = ledger::read(front_door.admin)?.of(Topic::Events);
                let behind = end.saturating_sub(applied);
                lag.push(Point { seconds: since.elapsed().as_secs_f64(), behind });
                std::thread::sleep(POLL);
            }
            let loaded = loading.join().map_err(|_| anyhow!("the generator panicked"))?;
            anyhow::Ok((loaded?, lag))
        })?;
        let (stats, elapsed) = loaded;
        let all = (elapsed + plan.warm_up).as_secs_f64() / elapsed.as_secs_f64();
        let events = stats.accepted() as f64 * ITEMS as f64 * all;
        Ok(((stats.report(elapsed), lag), events))
    })?;
    worker.stop()?;
    front_door.stop()?;
    Ok(Steady { events_per_s, report, lag, usage: costs.usages() })
}
