//! The workers over a database that forgets what it acknowledged: random schedules of everything
//! that may be sent and everything that may go wrong, on a clock that jumps.
//!
//! `MILLRACE_SCHEDULES=n` runs that many, `MILLRACE_SEED=n` one, with its trace.

#![cfg(test)]

mod accounts;
mod cells;
mod checker;
mod client;
mod database;
mod memory_log;
mod reference;
mod schedule;
mod statements;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use checker::Checker;
use database::{SETTLE, Sabotage};
use schedule::Schedule;

const SCHEDULES: u64 = 250;
const STEPS: u32 = 80;

/// What was wrong with a schedule and how it came to it, if anything was.
fn run(seed: u64, sabotage: Sabotage) -> (Result<(), String>, Vec<String>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut schedule = Schedule::new(seed, sabotage);
        let verdict = play(&mut schedule).await;
        (verdict, schedule.trace)
    })
}

async fn play(schedule: &mut Schedule) -> Result<(), String> {
    let mut checker = Checker::default();
    for step in 0..STEPS {
        schedule.step().await;
        checker.look(schedule)?;
        if step % 8 == 0 {
            checker.look_for_withheld(schedule)?;
        }
    }
    schedule.quiesce();
    for _ in 0..30 {
        tokio::time::sleep(SETTLE / 2).await;
        checker.look(schedule)?;
        if checker::unfinished(schedule).is_none() {
            break;
        }
    }
    if let Some(unfinished) = checker::unfinished(schedule) {
        return Err(unfinished);
    }
    // Whatever is still on its way arrives, and who begins at the end changes nothing.
    schedule.hand_on().await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    checker.look(schedule)?;
    checker.look_for_withheld(schedule)?;
    checker::last(schedule)
}

fn setting(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

/// The first seeds that fail, with their verdicts.
fn campaign(sabotage: Sabotage, schedules: u64, enough: usize) -> Vec<(u64, String)> {
    let next = AtomicU64::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules || failures.lock().unwrap().len() >= enough {
                        return;
                    }
                    if let (Err(verdict), _) = run(seed, sabotage) {
                        failures.lock().unwrap().push((seed, verdict));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    failures
}

#[test]
fn whatever_a_store_forgets_nothing_is_lost_doubled_or_back_from_the_dead() {
    if let Some(seed) = setting("MILLRACE_SEED") {
        let (verdict, trace) = run(seed, Sabotage::None);
        println!("{}", trace.join("\n"));
        assert_eq!(verdict, Ok(()), "seed {seed}");
        return;
    }
    let failures = campaign(Sabotage::None, setting("MILLRACE_SCHEDULES").unwrap_or(SCHEDULES), 5);
    assert!(failures.is_empty(), "seeds and verdicts: {failures:#?}");
}

#[test]
fn a_schedule_is_a_pure_function_of_its_seed() {
    for seed in 0..5 {
        let (first, second) = (run(seed, Sabotage::None), run(seed, Sabotage::None));
        assert!(first == second, "seed {seed}");
    }
}

#[test]
fn each_rule_that_is_broken_on_purpose_is_found_out() {
    let broken = [
        Sabotage::SettleZero,
        Sabotage::SettleShort,
        Sabotage::SameGeneration,
        Sabotage::SharedEpoch,
        Sabotage::NoFence,
        Sabotage::ErasuresByJob,
        Sabotage::LateNotice,
        Sabotage::SplitClaim,
        Sabotage::StaleChain,
    ];
    for sabotage in broken {
        let failures = campaign(sabotage, 2_000, 1);
        println!("{sabotage:?}: {failures:?}");
        assert!(!failures.is_empty(), "{sabotage:?} went unnoticed");
    }
}
