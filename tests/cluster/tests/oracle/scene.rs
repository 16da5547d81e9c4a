//! A split system on a cluster, its history, and rounds of faults.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_cluster::Cluster;
use millrace_tests::generator::{Cast, Mix, Prepared};
use millrace_tests::observe;
use millrace_tests::oracle::Violation;
use millrace_tests::split::{Spec, Split};
use millrace_tests::system::System;
use millrace_tests::world::{Traffic, World};

use crate::table::Row;

/// Who is spoken of in a round.
const USERS: usize = 8;
/// Who speaks.
const SENDERS: usize = 3;
/// How long traffic runs before a fault, and after it.
const CALM: Duration = Duration::from_secs(2);
/// How many violations an error shows.
const SHOWN: usize = 8;

/// As much as two workers and one database bear on two cores.
pub(crate) const MIX: Mix =
    Mix { deletions: 6, retries: 12, large: false, rest: Duration::from_millis(25) };

/// What a fault is called, and what it does while traffic is on.
pub(crate) type Fault = (&'static str, fn(&mut Scene<'_>) -> Result<()>);

/// A system, its servers, and all that was sent to it.
pub(crate) struct Scene<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) spec: Spec,
    pub(crate) split: Split,
    pub(crate) world: World,
    pub(crate) mix: Mix,
    traffic: Option<Traffic>,
    /// Of the last round: what was not answered then was sent again in the next.
    before: BTreeSet<String>,
    /// Who else is read back at the end of the round.
    pub(crate) beside: BTreeSet<String>,
    rounds: usize,
}

impl<'c> Scene<'c> {
    /// A new system with its own topics and keyspace.
    pub(crate) fn new(
        cluster: &'c Cluster,
        name: &str,
        change: impl FnOnce(&mut Spec),
    ) -> Result<Self> {
        let points: Vec<String> =
            cluster.contact_points().iter().map(ToString::to_string).collect();
        let mut spec = Spec::new(&cluster.bootstrap(), &points.join(","), &cluster.unique(name));
        spec.replicas = u32::try_from(cluster.nodes().len().min(cluster.brokers().len()))?;
        change(&mut spec);
        let world = World::new(name)?;
        let split = Split::start(&spec, world.folder())?;
        // A node that forgets would also forget tables' version, project and key, made just now.
        for node in cluster.nodes() {
            node.nodetool(&["flush", &spec.name])?;
        }
        let (traffic, before, beside) = (None, BTreeSet::new(), BTreeSet::new());
        Ok(Self { cluster, spec, split, world, mix: MIX, traffic, before, beside, rounds: 0 })
    }

    /// Traffic, the fault, the end of both, and the judgement.
    pub(crate) fn round(&mut self, (name, strike): Fault) -> Result<Row> {
        let from = self.world.history.snapshot().len();
        let found = self.judged(strike).with_context(|| name.to_owned())?;
        let (door, worker) = self.longest_not_ready();
        let row = Row::new(name, &self.world.history.snapshot()[from..], &found, (door, worker));
        let shown: String = found.iter().take(SHOWN).map(|v| format!("\n{v}")).collect();
        let (n, seed, logs) = (found.len(), self.world.seed, self.split.stderr());
        ensure!(n == 0, "{name}: seed {seed}: {n} broken promises:{shown}\n{logs}");
        ensure!(!self.split.panicked()?, "{name}: seed {seed}: a panic:\n{logs}");
        Ok(row)
    }

    /// A round, and what is found to be wrong after it.
    pub(crate) fn judged(
        &mut self,
        strike: fn(&mut Scene<'_>) -> Result<()>,
    ) -> Result<Vec<Violation>> {
        self.rounds += 1;
        let cast = self.cast();
        self.split.readiness().reset();
        self.traffic = Some(self.world.traffic(&self.split, &cast, self.mix, SENDERS, usize::MAX));
        std::thread::sleep(CALM);
        strike(self)?;
        if self.traffic.is_some() {
            std::thread::sleep(CALM);
        }
        self.silence()?;
        self.split.wait_ready()?;
        let users = &(&self.before | &cast.user_set()) | &std::mem::take(&mut self.beside);
        self.before = cast.user_set();
        self.world.judge(&self.split, &users)
    }

    /// Who is spoken of in this round.
    pub(crate) fn cast(&mut self) -> Cast {
        self.world.cast(&format!("r{}", self.rounds), USERS)
    }

    /// Sends these, in order; each until it is accepted.
    pub(crate) fn send(&mut self, requests: &[Prepared]) -> Result<()> {
        self.world.send(&self.split, requests)
    }

    /// Ends the traffic of the round.
    pub(crate) fn silence(&mut self) -> Result<()> {
        if let Some(traffic) = self.traffic.take() {
            self.world.resend = traffic.stop()?;
        }
        Ok(())
    }

    /// Ends the traffic and waits until the workers have applied everything.
    pub(crate) fn until_applied(&mut self) -> Result<()> {
        self.silence()?;
        observe::wait_idle(&self.split, &BTreeSet::new())
    }

    /// The longest times of any door, and of any worker.
    fn longest_not_ready(&self) -> (Duration, Duration) {
        let all = self.split.readiness().longest();
        let longest =
            |places: std::ops::Range<usize>| all[places].iter().max().copied().unwrap_or_default();
        (longest(self.split.door_places()), longest(self.split.worker_places()))
    }

    /// One of the places, by chance.
    pub(crate) fn pick(&mut self, places: std::ops::Range<usize>) -> usize {
        self.world.rng.usize(places)
    }
}
