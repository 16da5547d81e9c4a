//! The delivery oracle can fail: each rule broken on purpose is reported. And it stays silent where
//! engines fail in ways that the product must live with.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_tests::crowd::Crowd;
use millrace_tests::generator::Mix;
use millrace_tests::observe;
use millrace_tests::oracle::{Rule, Violation};
use millrace_tests::process::{Launch, Server};
use millrace_tests::shim::{Shim, Tail};
use millrace_tests::world::{World, until};

/// `millrace dev` with a rule broken.
fn broken(world: &World, name: &str) -> Result<Server> {
    let binary = env!("CARGO_BIN_EXE_broken").into();
    let launch = Launch { binary, ..Launch::dev(&world.data())? };
    launch.env("MILLRACE_BREAK", name).start()
}

fn rules(found: &[Violation]) -> BTreeSet<Rule> {
    found.iter().map(|violation| violation.rule).collect()
}

/// Breaks a rule under calm traffic; the oracle must name one of `expected`.
fn breaks_calmly(name: &str, expected: &[Rule]) -> Result<()> {
    let mut world = World::new(name)?;
    let server = broken(&world, name)?;
    let cast = world.cast("broken", 6);
    world.traffic(&server, &cast, Mix::default(), 3, 80).join()?;
    let found = rules(&world.judge(&server, &world.users)?);
    ensure!(expected.iter().any(|rule| found.contains(rule)), "seed {}: {found:?}", world.seed);
    Ok(())
}

/// Breaks a rule that only shows when the process is killed; within some kills it must.
fn breaks_when_killed(name: &str, mix: Mix) -> Result<()> {
    let mut world = World::new(name)?;
    let mut server = broken(&world, name)?;
    for round in 0..10 {
        let cast = world.cast(&format!("k{round}"), 6);
        let traffic = world.traffic(&server, &cast, mix, 3, usize::MAX);
        std::thread::sleep(Duration::from_millis(300));
        server.kill_9()?;
        traffic.stop()?;
        world.history.process_ended();
        server = broken(&world, name)?;
        if rules(&world.judge(&server, &world.users)?).contains(&Rule::Lost) {
            return Ok(());
        }
    }
    anyhow::bail!("seed {}: ten kills and nothing is missed", world.seed)
}

const NO_DELETIONS: Mix = Mix { deletions: 0, retries: 12, large: false, rest: Duration::ZERO };

#[test]
fn acknowledging_before_it_is_durable_is_reported() -> Result<()> {
    breaks_when_killed("ack-before-durable", NO_DELETIONS)
}

#[test]
fn committing_the_frontier_before_the_data_is_reported() -> Result<()> {
    breaks_when_killed("frontier-before-data", NO_DELETIONS)
}

#[test]
fn ignoring_a_marker_is_reported() -> Result<()> {
    breaks_calmly("ignore-markers", &[Rule::Erased])
}

#[test]
fn a_job_that_is_completed_though_its_markers_were_ignored_is_reported() -> Result<()> {
    breaks_calmly("ignore-markers-unseen", &[Rule::Erased])
}

#[test]
fn a_job_that_is_completed_before_all_is_erased_is_reported() -> Result<()> {
    let mut world = World::new("complete-early")?;
    let server = broken(&world, "complete-early")?;
    let crowd = Crowd::new("early", 400);
    let mut requests = crowd.load();
    requests.push(crowd.deletion(1));
    world.send(&server, &requests)?;
    observe::wait_idle(&server, &world.history.jobs())?;
    let found = until("the completed job is read back", || {
        (!world.watch.judged().is_empty()).then(|| world.watch.found())
    })?;
    let told = |violation: &Violation| {
        violation.rule == Rule::Erased && violation.detail.contains("was completed")
    };
    ensure!(found.iter().any(told), "seed {}: {found:?}", world.seed);
    Ok(())
}

#[test]
fn doubling_an_event_under_another_id_is_reported() -> Result<()> {
    breaks_calmly("double-events", &[Rule::Twice, Rule::NeverSent])
}

#[test]
fn losing_an_event_now_and_then_is_reported() -> Result<()> {
    breaks_calmly("lose-events", &[Rule::Lost])
}

#[test]
fn letting_the_oldest_change_win_is_reported() -> Result<()> {
    breaks_calmly("oldest-wins", &[Rule::Stale])
}

#[test]
fn counting_one_outcome_too_many_is_reported() -> Result<()> {
    breaks_calmly("miscount", &[Rule::Accounting])
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_reported_after_a_power_cut() -> Result<()> {
    let mut world = World::new("lying disk")?;
    let shim = Shim::around(&world.data())?;
    let server = shim.preload(Launch::dev(&world.data())?)?.start()?;
    shim.rules("sync-lie /log/ 0")?;
    let cast = world.cast("lie", 6);
    world.traffic(&server, &cast, NO_DELETIONS, 3, 60).join()?;
    let launch = server.kill_9()?;
    world.history.process_ended();
    // The store goes too, or it would still show what the log has lost.
    shim.power_cut("log", Tail::Gone, &mut world.rng)?;
    std::fs::remove_dir_all(world.data().join("store"))?;
    shim.rules("")?;
    let server = launch.start()?;
    let found = rules(&world.judge(&server, &world.users)?);
    ensure!(found.contains(&Rule::Lost), "seed {}: {found:?}", world.seed);
    Ok(())
}

#[test]
fn engines_that_fail_for_a_while_break_no_promise() -> Result<()> {
    let mut world = World::new("flaky engines")?;
    let server = broken(&world, "flaky-engines")?;
    let cast = world.cast("flaky", 8);
    let traffic = world.traffic(&server, &cast, Mix::default(), 2, usize::MAX);
    std::thread::sleep(Duration::from_secs(5));
    traffic.stop()?;
    world.expect_clean(&server, &world.users)?;
    let log = server.stderr();
    let launch = server.kill_9()?;
    world.history.process_ended();
    let clean = world.expect_clean(&launch.start()?, &world.users);
    clean.with_context(|| log)
}
