//! People are loaded, and then erased: how long, with how much memory and disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::fill::fill;
use super::people::People;
use super::raw_store::{self, Raw};
use super::rest::rest;
use super::watch::{Disk, Peak, mib};
use crate::compare::child::Server;
use crate::ledger;

/// Ids of a call.
const IDS: u64 = 100_000;
/// How often jobs and positions are looked at, at most. To look is work for the server.
const POLL: Duration = Duration::from_millis(50);
/// A look comes when so much of the time has passed again, and is late by no more.
const POLL_SHARE: u32 = 100;
/// Jobs are given so long.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What erasing so many took.
#[derive(Debug, Serialize)]
pub(super) struct Erased {
    pub(super) users: u64,
    pub(super) loaded_s: f64,
    /// Until what loading had left over was done.
    pub(super) rested_s: f64,
    pub(super) times: Times,
    pub(super) users_per_s: f64,
    /// Resident when the first job was submitted.
    pub(super) resident_before_mib: f64,
    /// Resident at most from then on.
    pub(super) resident_peak_mib: f64,
    pub(super) before: Disk,
    pub(super) after: Disk,
    /// What the store's engine alone takes for as much.
    pub(super) raw: Raw,
    /// Until completed, over the engine alone.
    pub(super) to_raw: f64,
}

/// From the first call on, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Times {
    /// All calls are answered.
    pub(super) submitted_s: f64,
    /// The workers have passed all markers.
    pub(super) erased_s: f64,
    /// All jobs say that they are completed.
    pub(super) completed_s: f64,
}

/// On a server of its own.
pub(super) fn measure(server: &Server, folder: &Path, count: u64) -> Result<Erased> {
    let people = People::new('e', 0, count);
    let loaded_s = fill(server, &people)?;
    let rested_s = rest(&[server.id()])?;
    let data = folder.join("data");
    let (before, resident_before) = (Disk::of(&data), server.memory()?.resident);
    let peak = Peak::of(server.id());
    let times = erase(server, &people)?;
    let (resident_peak_mib, after) = (peak.end()?, Disk::of(&data));
    let raw = raw_store::measure(&folder.join("raw"), &people)?;
    Ok(Erased {
        users: count,
        loaded_s,
        rested_s,
        times,
        users_per_s: count as f64 / times.completed_s,
        resident_before_mib: mib(resident_before),
        resident_peak_mib,
        before,
        after,
        raw,
        to_raw: times.completed_s / raw.seconds(),
    })
}

/// Submits jobs for all of them, and waits until they are completed.
pub(super) fn erase(server: &Server, people: &People) -> Result<Times> {
    eprintln!("erasing {} users", people.count);
    let calls: Vec<Vec<String>> = people.calls(IDS).collect();
    let since = Instant::now();
    let submitted = calls.iter().map(|ids| server.target.delete(ids));
    let mut open = submitted.collect::<Result<Vec<String>>>()?;
    let submitted_s = since.elapsed().as_secs_f64();
    drop(calls);
    let (mut erased_s, mut users) = (None, 0);
    loop {
        if erased_s.is_none() && behind(server)? == 0 {
            erased_s = Some(since.elapsed().as_secs_f64());
        }
        // Not all are completed before.
        if erased_s.is_some() {
            let mut still_open = Vec::new();
            for location in open {
                match completed(server, &location)? {
                    Some(n) => users += n,
                    None => still_open.push(location),
                }
            }
            open = still_open;
        }
        if let (true, Some(erased_s)) = (open.is_empty(), erased_s) {
            ensure!(users == people.count, "{users} users erased, not {}", people.count);
            return Ok(Times { submitted_s, erased_s, completed_s: since.elapsed().as_secs_f64() });
        }
        ensure!(since.elapsed() < PATIENCE, "{} jobs are still open", open.len());
        std::thread::sleep(POLL.max(since.elapsed() / POLL_SHARE));
    }
}

/// The number of users of a job, if it is completed.
pub(super) fn completed(server: &Server, location: &str) -> Result<Option<u64>> {
    let Some(job) = server.target.job(location)? else { return Ok(None) };
    ensure!(job.status != "failed", "{location} has failed");
    Ok((job.status == "completed").then_some(job.users))
}

/// Records that the workers have not applied.
pub(super) fn behind(server: &Server) -> Result<u64> {
    server.admin.map_or(Ok(0), |admin| Ok(ledger::read(admin)?.behind()))
}
