//! What ordinary ingestion loses while jobs run: the same load with and without, in turns.
//!
//! The load is as fast as answers come, unless a rate is asked for. It is sent in slices: those
//! during which a job ran, until it was completed, and then (or before) as many without one.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::erase::{behind, completed};
use super::fill::fill;
use super::people::People;
use super::{Options, until_applied};
use crate::compare::child::Server;
use crate::load::{Plan, default_threads, load};
use crate::spread::Spread;

/// How long one slice is.
const SLICE: Duration = Duration::from_millis(500);
/// Events of a request.
const ITEMS: usize = 100;
const CONNECTIONS: u16 = 64;
/// Slices without a job before it is known how many the job takes.
const FIRST_SLICES: u32 = 10;
/// A job that takes more slices is told by these.
const SLICES_MAX: u32 = 120;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    pub(super) users_per_round: u64,
    pub(super) rounds: Vec<Round>,
    /// Accepted with a job over accepted without, round by round.
    pub(super) accepted: Spread,
    /// The same of events that the workers have stored.
    pub(super) applied: Spread,
}

/// The same load with and without a job.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    pub(super) with_job: Rates,
    pub(super) without: Rates,
}

/// Events a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rates {
    pub(super) seconds: f64,
    pub(super) accepted_per_s: f64,
    pub(super) applied_per_s: f64,
}

/// All rounds, on one server.
pub(super) fn measure(server: &Server, options: &Options) -> Result<Kept> {
    let (mut rounds, mut slices) = (Vec::new(), FIRST_SLICES);
    // Memory and files are as they will be.
    rates(server, options, |done| Ok(done >= FIRST_SLICES))?;
    for round in 0..options.rounds {
        let people = People::new('i', round, options.ingestion_users);
        fill(server, &people)?;
        eprintln!("ingestion, round {} of {}", round + 1, options.rounds);
        rounds.push(if round % 2 == 0 {
            let with_job = with_job(server, options, &people, &mut slices)?;
            Round { with_job, without: rates(server, options, |done| Ok(done >= slices))?.0 }
        } else {
            let without = rates(server, options, |done| Ok(done >= slices))?.0;
            Round { with_job: with_job(server, options, &people, &mut slices)?, without }
        });
    }
    let ratio = |of: fn(&Rates) -> f64| {
        Spread::of(rounds.iter().map(|round| of(&round.with_job) / of(&round.without)).collect())
    };
    Ok(Kept {
        users_per_round: options.ingestion_users,
        accepted: ratio(|rates| rates.accepted_per_s),
        applied: ratio(|rates| rates.applied_per_s),
        rounds,
    })
}

/// The rates while a job runs, from its first call to its end.
fn with_job(
    server: &Server,
    options: &Options,
    people: &People,
    slices: &mut u32,
) -> Result<Rates> {
    let all: Vec<String> = people.calls(u64::MAX).flatten().collect();
    let mut open = Vec::new();
    for ids in all.chunks(100_000) {
        open.push(server.target.delete(ids)?);
    }
    let (rates, done) = rates(server, options, |done| {
        for location in std::mem::take(&mut open) {
            if completed(server, &location)?.is_none() {
                open.push(location);
            }
        }
        Ok(open.is_empty() || done >= SLICES_MAX)
    })?;
    *slices = done;
    Ok(rates)
}

/// Loads slice by slice until it is over, at least one; then waits until all is applied.
fn rates(
    server: &Server,
    options: &Options,
    mut over: impl FnMut(u32) -> Result<bool>,
) -> Result<(Rates, u32)> {
    let plan = Plan {
        items: ITEMS,
        connections: CONNECTIONS,
        threads: default_threads(),
        warm_up: Duration::ZERO,
        measured: SLICE,
        requests_max: None,
        rate: options.ingestion_events_per_s.map(|events| events / ITEMS as f64),
    };
    let stored_before = server.target.events_stored()?;
    let (since, mut accepted, mut slices) = (Instant::now(), 0, 0);
    loop {
        let (stats, _) = load(&server.target, &plan)?;
        accepted += stats.accepted() * ITEMS as u64;
        slices += 1;
        if over(slices)? {
            break;
        }
    }
    let seconds = since.elapsed().as_secs_f64();
    let stored = server.target.events_stored()?.saturating_sub(stored_before);
    if behind(server)? > 0 {
        until_applied(server)?;
    }
    let rates = Rates {
        seconds,
        accepted_per_s: accepted as f64 / seconds,
        applied_per_s: stored as f64 / seconds,
    };
    Ok((rates, slices))
}
