//! The delivery oracle against the real binary: without faults, and killed at random moments.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use millrace_tests::generator::Mix;
use millrace_tests::process::Launch;
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
