//! The oracle can fail on these engines too: each rule broken on purpose is reported.
//!
//! Two of the breakages of the embedded engines cannot show here. A frontier that is committed
//! before its data only matters to who resumes at it, and nobody does: the resume point is older
//! and the data comes back. A disk that lies about its syncs is the brokers', not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};
use millrace_tests::crowd::{Crowd, prepared};
use millrace_tests::generator::{Prepared, path};
use millrace_tests::model::{At, Call, Device, Item, Kind, Sent};
use millrace_tests::observe;
use millrace_tests::oracle::{Rule, Violation};
use millrace_tests::process::broken_binary;
use millrace_tests::world::until;

use crate::cluster;
use crate::faults::{LEDGER_SURVIVES_WORKERS_DO_NOT, STORM};
use crate::scene::{MIX, Scene};

/// What happens while a rule is broken.
type Strike = fn(&mut Scene<'_>) -> Result<()>;

/// Nothing.
const CALM: Strike = |_| Ok(());

/// The doors are killed and started again.
const DOORS_KILLED: Strike = |scene| {
    for place in scene.split.door_places() {
        scene.split.members()[place].kill_9()?;
        scene.split.start_again(place)?;
    }
    Ok(())
};

/// A breakage, its rounds, and the settling time under it.
struct Breakage {
    name: &'static str,
    strike: Strike,
    settle_ms: u64,
    rounds: usize,
    /// Of 100 requests.
    deletions: u32,
    expected: &'static [Rule],
}

impl Breakage {
    /// Within its rounds the oracle must name one of the expected rules. A system that never
    /// becomes idle is told, too: its frontier is not the end of the log.
    fn is_reported(&self) -> Result<()> {
        let (_turn, cluster) = cluster()?;
        let binary = Some(broken_binary()?);
        let env = vec![("MILLRACE_BREAK".to_owned(), self.name.to_owned())];
        let mut scene = Scene::new(cluster, self.name, |spec| {
            (spec.binary, spec.env, spec.settle_ms) = (binary, env, self.settle_ms);
        })?;
        scene.mix.deletions = self.deletions;
        let mut told = String::new();
        for round in 1..=self.rounds {
            let found = match scene.judged(self.strike) {
                Err(error) if format!("{error:#}").contains("never idle") => {
                    let idle = self.expected.contains(&Rule::Accounting);
                    ensure!(idle, "{}: {error:#}", self.name);
                    println!("{}: reported in round {round}: never idle", self.name);
                    return Ok(());
                }
                judged => judged?,
            };
            let rules: BTreeSet<Rule> = found.iter().map(|violation| violation.rule).collect();
            println!("{}: round {round}: {} violations, {rules:?}", self.name, found.len());
            if self.expected.iter().any(|rule| rules.contains(rule)) {
                return Ok(());
            }
            let _ = write!(told, "\nround {round}: {rules:?}");
        }
        bail!("{}: seed {}: not reported:{told}", self.name, scene.world.seed)
    }
}

/// One that shows under calm traffic.
fn calm(name: &'static str, expected: &'static [Rule]) -> Breakage {
    Breakage { name, strike: CALM, settle_ms: 1_000, rounds: 2, deletions: MIX.deletions, expected }
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn ignoring_a_marker_is_reported() -> Result<()> {
    calm("ignore-markers", &[Rule::Erased]).is_reported()
}

#[test]
#[ignore = "slow"]
fn a_job_that_is_completed_though_its_markers_were_ignored_is_reported() -> Result<()> {
    calm("ignore-markers-unseen", &[Rule::Erased]).is_reported()
}

/// Somebody who looks at the moment of the completion sees it; later all is erased.
#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn a_job_that_is_completed_before_all_is_erased_is_reported() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let binary = broken_binary()?;
    let mut scene = Scene::new(cluster, "early", |spec| {
        // Each partition is erased when it is written to again, which is never.
        (spec.doors, spec.workers, spec.settle_ms, spec.binary) = (1, 1, 0, Some(binary));
        spec.env = vec![("MILLRACE_BREAK".to_owned(), "complete-early".to_owned())];
    })?;
    let crowd = Crowd::new("early", 100);
    let mut requests = crowd.load();
    requests.push(crowd.deletion(1));
    scene.send(&requests)?;
    observe::wait_idle(&scene.split, &scene.world.history.jobs())?;
    let watch = &scene.world.watch;
    until("the job is read back", || (!watch.judged().is_empty()).then_some(()))?;
    let found = watch.found();
    let told = |violation: &Violation| {
        violation.rule == Rule::Erased && violation.detail.contains("was completed")
    };
    println!("complete-early: {} violations", found.len());
    ensure!(found.iter().any(told), "seed {}: not reported: {found:?}", scene.world.seed);
    Ok(())
}

/// What the database forgot is behind the frontier, and nobody writes it again. Without deletions:
/// a job that is forgotten would be waited for.
#[test]
#[ignore = "slow"]
fn resuming_at_the_frontier_is_reported_after_the_database_was_killed() -> Result<()> {
    let strike = LEDGER_SURVIVES_WORKERS_DO_NOT.1;
    let (settle_ms, rounds, deletions) = (12_000, 4, 0);
    let (name, expected) = ("resume-at-frontier", &[Rule::Lost]);
    Breakage { name, strike, settle_ms, rounds, deletions, expected }.is_reported()
}

#[test]
#[ignore = "slow"]
fn acknowledging_before_it_is_durable_is_reported() -> Result<()> {
    let (strike, expected) = (DOORS_KILLED, &[Rule::Lost]);
    let breakage = calm("ack-before-durable", expected);
    Breakage { strike, rounds: 6, ..breakage }.is_reported()
}

#[test]
#[ignore = "slow"]
fn doubling_an_event_under_another_id_is_reported() -> Result<()> {
    calm("double-events", &[Rule::Twice, Rule::NeverSent]).is_reported()
}

#[test]
#[ignore = "slow"]
fn losing_an_event_now_and_then_is_reported() -> Result<()> {
    calm("lose-events", &[Rule::Lost]).is_reported()
}

#[test]
#[ignore = "slow"]
fn letting_the_oldest_change_win_is_reported() -> Result<()> {
    calm("oldest-wins", &[Rule::Stale]).is_reported()
}

#[test]
#[ignore = "slow"]
fn counting_one_outcome_too_many_is_reported() -> Result<()> {
    calm("miscount", &[Rule::Accounting]).is_reported()
}

/// The ledger's writes of a worker that began again lose to those of the one before it.
#[test]
#[ignore = "slow"]
fn an_epoch_that_is_shared_is_reported() -> Result<()> {
    let (strike, expected) = (STORM.1, &[Rule::Accounting]);
    Breakage { strike, rounds: 4, ..calm("shared-epoch", expected) }.is_reported()
}

/// Who is killed between the two steps finds no row that leads to the claims. A replay of the
/// records that made the rows would, so these must be settled before.
#[test]
#[ignore = "slow"]
fn a_list_that_is_erased_before_what_it_leads_to_is_reported() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let binary = broken_binary()?;
    let mut scene = Scene::new(cluster, "list-first", |spec| {
        (spec.settle_ms, spec.binary) = (3_000, Some(binary));
        spec.env = vec![("MILLRACE_BREAK".to_owned(), "list-first".to_owned())];
    })?;
    let links = (0..8).flat_map(|n| [link("x", n, 2), link("y", n, 1)]);
    let others = [erase("z", 0)];
    scene.send(&links.chain(others).collect::<Vec<_>>())?;
    // A job is completed when the resume point has passed it.
    observe::wait_idle(&scene.split, &scene.world.history.jobs())?;
    scene.send(&(0..8).map(|n| erase("x", n)).collect::<Vec<_>>())?;
    scene.until_applied()?;
    for place in scene.split.worker_places() {
        scene.split.members()[place].kill_9()?;
        scene.split.start_again(place)?;
    }
    let found = scene.world.judge(&scene.split, &scene.world.users)?;
    let lost = found.iter().filter(|violation| violation.rule == Rule::Lost).count();
    println!("list-first: {} violations, {lost} of them lost", found.len());
    ensure!(lost > 0, "seed {}: not reported: {found:?}", scene.world.seed);
    Ok(())
}

/// A user links a device, on one of two days long ago.
fn link(user: &str, number: usize, day: usize) -> Prepared {
    let (user, device_id) = (format!("{user}{number}"), format!("d{number}"));
    let text = format!("2026-01-0{day}T00:00:00Z");
    let json = format!(
        r#"{{"device_id":"{device_id}","platform":"web","user_id":"{user}","timestamp":"{text}"}}"#
    );
    let us = observe::time_us(&text).unwrap_or_default();
    let cells = BTreeMap::from([("platform".to_owned(), Some("\"web\"".to_owned()))]);
    let at = Some(At { text, us });
    let item = Item::Device(Device { user: Some(user), device_id, at, cells, unlink: false });
    let text = format!(r#"{{"devices":[{json}]}}"#);
    prepared(path::DEVICES, text, Call::Items(vec![Sent { index: 0, json, item }]))
}

/// A user is erased.
fn erase(user: &str, number: usize) -> Prepared {
    let user = format!("{user}{number}");
    let text = format!(r#"{{"user_id":"{user}"}}"#);
    prepared(path::DELETE, text, Call::Delete { users: [user].into(), reach: Kind::ALL.into() })
}

#[test]
#[ignore = "slow"]
fn engines_that_fail_for_a_while_break_no_promise() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let binary = Some(broken_binary()?);
    let env = vec![("MILLRACE_BREAK".to_owned(), "flaky-engines".to_owned())];
    let mut scene = Scene::new(cluster, "flaky", |spec| (spec.binary, spec.env) = (binary, env))?;
    scene.round(("flaky engines", |_| Ok(()))).map(drop)
}
