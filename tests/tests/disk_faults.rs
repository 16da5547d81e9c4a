//! The delivery oracle while the disk fails: syncs, space, power.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_log::Log;
use millrace_log::embedded::{Config, EmbeddedLog};
use millrace_schema::Topic;
use millrace_tests::client::{Connection, Request};
use millrace_tests::generator::{Mix, path};
use millrace_tests::process::{Launch, Server};
use millrace_tests::shim::{Shim, Tail, copy_folder};
use millrace_tests::world::World;

/// A server on a fresh folder, with the shim around it.
fn start(world: &World) -> Result<(Server, Shim)> {
    let shim = Shim::around(&world.data())?;
    let server = shim.preload(Launch::dev(&world.data())?)?.start()?;
    Ok((server, shim))
}

/// A request with one event that means nothing to the oracle's users.
fn probe(server: &Server) -> Request {
    let body = r#"{"events":[{"name":"probe","user_id":"probe"}]}"#;
    server.client().call(path::EVENTS, body)
}

/// Sends probes until one is answered with this status, and returns the answer's `Retry-After`.
fn await_status(server: &Server, status: u16) -> Result<Option<String>> {
    for _ in 0..3_000 {
        let answer = server.client().send(&probe(server))?;
        if answer.status == status {
            return Ok(answer.header("retry-after").map(str::to_owned));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("no answer {status}; standard error:\n{}", server.stderr())
}

#[test]
fn a_failing_sync_of_the_log_ends_the_process_and_loses_nothing() -> Result<()> {
    let mut world = World::new("failing fdatasync")?;
    let (mut server, shim) = start(&world)?;
    for round in 0..3 {
        let cast = world.cast(&format!("eio{round}"), 6);
        let traffic = world.traffic(&server, &cast, Mix::default(), 3, usize::MAX);
        std::thread::sleep(Duration::from_millis(150));
        shim.rules(&format!("sync-eio /log/ {}", world.rng.u32(1..20)))?;
        let (status, launch) = server.ended()?;
        ensure!(!status.success(), "the process ended well after a failed fdatasync");
        world.resend = traffic.stop()?;
        world.history.process_ended();
        shim.rules("")?;
        server = launch.start()?;
        world.expect_clean(&server, &world.users)?;
    }
    Ok(())
}

#[test]
fn a_full_disk_is_503_and_loses_nothing_and_space_that_returns_is_used() -> Result<()> {
    let mut world = World::new("full disk")?;
    world.circumstances.whole_history = false;
    let (server, shim) = start(&world)?;
    let cast = world.cast("full", 8);
    for _ in 0..3 {
        let traffic = world.traffic(&server, &cast, Mix::default(), 3, usize::MAX);
        shim.rules(&format!("write-enospc /log/ {}", world.rng.u32(0..30_000)))?;
        let retry_after = await_status(&server, 503)?.context("a 503 without Retry-After")?;
        retry_after.parse::<u32>().context("Retry-After is no integer")?;
        ensure!(server.probe("/healthz")? == 200, "not alive while the disk is full");
        shim.rules("")?;
        await_status(&server, 202)?;
        traffic.stop()?;
        world.expect_clean(&server, &world.users)?;
    }
    let launch = server.kill_9()?;
    world.history.process_ended();
    world.expect_clean(&launch.start()?, &world.users)
}

#[test]
fn too_little_free_space_is_503_with_retry_after() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let launch = Launch::dev(&data)?.arg("--disk-floor-bytes").arg("1000000000000000");
    // It is alive and not ready, so only the greeting is waited for.
    let server = launch.spawn()?.greeted()?;
    let answer = server.client().send(&probe(&server))?;
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(answer.header("retry-after").is_some(), "{answer:?}");
    ensure!(server.probe("/healthz")? == 200 && server.probe("/readyz")? == 503, "probes");
    Ok(())
}

#[test]
fn a_store_that_fails_for_a_while_delays_and_loses_nothing() -> Result<()> {
    let mut world = World::new("failing store")?;
    let (mut server, shim) = start(&world)?;
    for rule in ["write-eio /store/ 2000", "write-enospc /store/ 2000", "sync-eio /store/ 1"] {
        let cast = world.cast(&format!("store{}", rule.len()), 6);
        let traffic = world.traffic(&server, &cast, Mix::default(), 3, 60);
        shim.rules(rule)?;
        world.resend = traffic.join()?;
        shim.rules("")?;
        // An engine that cannot go on ends its process; it must not hang, nor lose.
        let clean = world.expect_clean(&server, &world.users);
        if clean.is_err() && Connection::open(server.address).is_err() {
            let (status, launch) = server.ended()?;
            ensure!(!status.success(), "{rule}: the process ended well");
            world.history.process_ended();
            server = launch.start()?;
            world.expect_clean(&server, &world.users).context(rule)?;
        } else {
            clean.context(rule)?;
        }
    }
    Ok(())
}

#[test]
fn a_power_cut_takes_nothing_that_was_promised() -> Result<()> {
    let mut world = World::new("power cut")?;
    let (mut server, shim) = start(&world)?;
    let parts = [&["log"][..], &["store"], &["log", "store"]];
    for (round, tail) in Tail::ALL.into_iter().cycle().take(12).enumerate() {
        let cast = world.cast(&format!("cut{round}"), 5);
        let traffic = world.traffic(&server, &cast, Mix::default(), 3, usize::MAX);
        std::thread::sleep(Duration::from_millis(world.rng.u64(50..250)));
        let launch = server.kill_9()?;
        world.resend = traffic.stop()?;
        world.history.process_ended();
        let cut = parts[round / Tail::ALL.len() % parts.len()];
        for part in cut {
            let gone = shim.power_cut(part, tail, &mut world.rng)?;
            println!("round {round}: {tail:?} of {part}: {gone} bytes");
        }
        if cut.contains(&"store") {
            world.watch.expect_less_done();
        }
        server = launch.start().with_context(|| format!("{tail:?} of {cut:?}"))?;
        let clean = world.expect_clean(&server, &world.users);
        clean.with_context(|| format!("round {round}: {tail:?} of {cut:?}"))?;
    }
    Ok(())
}

/// A log that is killed between a write of three events and its sync: the newest segment, and
/// where the three stand.
fn torn_log(world: &mut World) -> Result<(PathBuf, Range<u64>)> {
    let (server, shim) = start(world)?;
    let cast = world.cast("torn", 4);
    let mix = Mix { large: false, ..Mix::default() };
    world.traffic(&server, &cast, mix, 3, 30).join()?;
    world.expect_clean(&server, &world.users)?;
    shim.rules("sync-kill /log/ 1")?;
    let event = |user: &str| format!(r#"{{"name":"probe","user_id":"{user}"}}"#);
    let events = [event("probe-a"), event("probe-b"), event("probe-c")].join(",");
    let request = server.client().call(path::EVENTS, format!("{{\"events\":[{events}]}}"));
    ensure!(server.client().send(&request).is_err(), "an answer before the sync");
    server.ended()?;
    world.history.process_ended();
    let segment = world.data().join("log/00000000000000000001.segment");
    let unsynced = shim.unsynced(&segment)?;
    let torn = unsynced.first().context("nothing was written before the sync")?;
    Ok((segment, torn.clone()))
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_records_is_cut_off() -> Result<()> {
    let mut world = World::new("torn tail")?;
    world.circumstances.whole_history = false;
    let (segment, torn) = torn_log(&mut world)?;
    let whole = fs::read(&segment)?;
    let (from, to) = (usize::try_from(torn.start)?, usize::try_from(torn.end)?);
    let folder = world.folder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = |bytes: &[u8]| records(&runtime, folder, &segment, bytes);
    let least = count(&whole[..from])?;
    ensure!(count(&whole)? == least + 3, "the three events are not whole");
    for at in from..to {
        let zeros = [&whole[..at], &vec![0; whole.len() - at][..]].concat();
        let n = count(&zeros)?;
        ensure!((least..least + 3).contains(&n), "zeros from {at}: {n} records, not {least}");
        if at % 4 == 0 {
            let n = count(&whole[..at])?;
            ensure!((least..least + 3).contains(&n), "cut at {at}: {n} records, not {least}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            let n = count(&flipped)?;
            ensure!((least..least + 3).contains(&n), "flipped at {at}: {n} records");
        }
    }
    // The real binary, from copies of the whole folder, at a sample of bytes.
    let name = segment.strip_prefix(world.data())?;
    for round in 0..4 {
        let at = world.rng.u64(torn.clone());
        let data = world.folder().join(format!("sample{round}"));
        copy_folder(&world.data(), &data)?;
        fs::OpenOptions::new().write(true).open(data.join(name))?.set_len(at)?;
        let server = Launch::dev(&data)?.start()?;
        world.expect_clean(&server, &world.users).with_context(|| format!("cut at {at}"))?;
    }
    Ok(())
}

/// Opens a log of one segment with these bytes and counts its records.
fn records(
    runtime: &tokio::runtime::Runtime,
    folder: &Path,
    segment: &Path,
    bytes: &[u8],
) -> Result<u64> {
    // A folder of its own: a process that another test starts holds the locks of this one until
    // it has begun.
    let folder = tempfile::tempdir_in(folder)?;
    let folder = folder.path();
    fs::write(folder.join(segment.file_name().context("no name")?), bytes)?;
    let log = EmbeddedLog::open(folder, Config::default())?;
    runtime.block_on(async {
        let mut sum = 0;
        for topic in Topic::ALL {
            sum += log.bounds(topic).await?.iter().map(|bounds| bounds.end).sum::<u64>();
        }
        log.close().await?;
        Ok(sum)
    })
}

#[test]
fn damage_before_good_records_refuses_to_start_and_names_the_repair() -> Result<()> {
    let mut world = World::new("damage")?;
    let server = Launch::dev(&world.data())?.start()?;
    let cast = world.cast("damage", 4);
    world.traffic(&server, &cast, Mix::default(), 2, 30).join()?;
    world.expect_clean(&server, &world.users)?;
    let launch = server.kill_9()?;
    let segment = world.data().join("log/00000000000000000001.segment");
    let mut bytes = fs::read(&segment)?;
    // Behind the records the file may hold zeros.
    let end = bytes.iter().rposition(|byte| *byte != 0).context("an empty log")?;
    let middle = 8_192 + (end - 8_192) / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes)?;
    let (status, error) = launch.spawn()?.ended()?;
    ensure!(!status.success(), "started on a damaged log");
    ensure!(error.contains("log repair"), "the repair is not named:\n{error}");
    Ok(())
}
