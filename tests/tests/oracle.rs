//! The delivery oracle against the real binary: without faults, and killed at random moments.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use millrace_tests::generator::Mix;
use millrace_tests::process::Launch;
use millrace_tests::shim::Shim;
use millrace_tests::world::World;

/// Rounds of kill -9; `MILLRACE_ORACLE_ROUNDS` asks for more.
fn rounds() -> usize {
    let given = std::env::var("MILLRACE_ORACLE_ROUNDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(30)
}

#[test]
fn every_promise_is_kept_without_faults() -> Result<()> {
    let mut world = World::new("without faults")?;
    let server = Launch::dev(&world.data())?.start()?;
    let cast = world.cast("calm", 16);
    world.traffic(&server, &cast, Mix::default(), 4, 250).join()?;
    world.expect_clean(&server, &world.users)?;
    let (status, launch) = server.terminate()?;
    assert!(status.success(), "{status}");
    world.history.process_ended();
    world.expect_clean(&launch.start()?, &world.users)
}

#[test]
fn every_promise_is_kept_when_the_process_is_killed_at_random_moments() -> Result<()> {
    let mut world = World::new("kill -9")?;
    let mut server = Launch::dev(&world.data())?.start()?;
    let mut before = BTreeSet::new();
    for round in 0..rounds() {
        let cast = world.cast(&format!("r{round}"), 6);
        let traffic = world.traffic(&server, &cast, Mix::default(), 3, usize::MAX);
        std::thread::sleep(Duration::from_micros(world.rng.u64(20_000..300_000)));
        let launch = server.kill_9()?;
        world.resend = traffic.stop()?;
        world.history.process_ended();
        server = launch.start()?;
        // Those of the last round too: what was not answered then was sent again.
        before.extend(cast.user_set());
        world.expect_clean(&server, &before)?;
        before = cast.user_set();
    }
    assert!(world.accepted() > rounds(), "hardly anything was accepted");
    world.expect_clean(&server, &world.users)
}

#[test]
fn every_promise_is_kept_when_the_process_dies_just_before_or_after_a_sync() -> Result<()> {
    let mut world = World::new("death at a sync")?;
    let shim = Shim::around(&world.data())?;
    let mut server = shim.preload(Launch::dev(&world.data())?)?.start()?;
    for round in 0..8 {
        let cast = world.cast(&format!("sync{round}"), 5);
        let traffic = world.traffic(&server, &cast, Mix::default(), 3, usize::MAX);
        let what = ["sync-kill", "synced-kill"][round % 2];
        shim.rules(&format!("{what} * {}", world.rng.u32(1..40)))?;
        let (_, launch) = server.ended()?;
        world.resend = traffic.stop()?;
        world.history.process_ended();
        shim.rules("")?;
        server = launch.start()?;
        world.expect_clean(&server, &world.users)?;
    }
    Ok(())
}

#[test]
fn every_promise_is_kept_when_the_clock_jumps_back_an_hour_between_restarts() -> Result<()> {
    let mut world = World::new("clock")?;
    world.circumstances.clock_jumped = true;
    let shim = Shim::around(&world.data())?;
    let cast = world.cast("clock", 8);
    for seconds in ["0", "-3600", "-7200", "0"] {
        let launch = shim.preload(Launch::dev(&world.data())?)?;
        let server = launch.env("MILLRACE_SHIM_CLOCK_S", seconds).start()?;
        world.traffic(&server, &cast, Mix::default(), 3, 60).join()?;
        world.expect_clean(&server, &world.users)?;
        let (status, _) = server.terminate()?;
        assert!(status.success(), "{status}");
        world.history.process_ended();
    }
    Ok(())
}
