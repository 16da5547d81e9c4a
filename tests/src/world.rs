//! One data folder through any number of starts, with the history of all that was sent to it.
//!
//! Owns the course of an oracle test: traffic, a fault, a restart, the judgement.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use uuid::Uuid;

use crate::generator::{Cast, Generator, Mix, Prepared};
use crate::model::{Call, History, Item, Op};
use crate::observe::{self, JobSeen, PartitionSeen};
use crate::oracle::{self, Circumstances, Violation};
use crate::sender::Sender;
use crate::system::System;
use crate::watch::Watch;

/// How many violations a report shows.
const SHOWN: usize = 10;

/// A data folder and its history.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    /// Of everything that happens in it.
    pub seed: u64,
    /// Random numbers of the test itself.
    pub rng: fastrand::Rng,
    /// All that was sent.
    pub history: Arc<History>,
    /// Everybody who was ever spoken of.
    pub users: BTreeSet<String>,
    /// What the run was like.
    pub circumstances: Circumstances,
    /// What the next traffic begins with: requests that were never answered.
    pub resend: Vec<Prepared>,
    /// What is seen of jobs while they run.
    pub watch: Watch,
    /// Receipts never change, so each is read once.
    receipts: Mutex<BTreeMap<Uuid, String>>,
    senders: u64,
}

/// Traffic that goes on in the background.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Sender>>,
}

impl Traffic {
    /// Waits until the senders are done. Returns what was never answered.
    ///
    /// # Errors
    /// An answer came that the specification does not allow.
    pub fn join(self) -> Result<Vec<Prepared>> {
        let mut surprises = Vec::new();
        let mut unanswered = Vec::new();
        for thread in self.threads {
            let Ok(sender) = thread.join() else { anyhow::bail!("a sender panicked") };
            surprises.extend(sender.surprises);
            unanswered.extend(sender.unanswered);
        }
        let shown = surprises.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
        ensure!(surprises.is_empty(), "{} unexpected answers:\n{shown}", surprises.len());
        Ok(unanswered)
    }

    /// Asks the senders to stop, and waits.
    ///
    /// # Errors
    /// As [`Traffic::join`].
    pub fn stop(self) -> Result<Vec<Prepared>> {
        self.stop.store(true, Ordering::SeqCst);
        self.join()
    }
}

impl World {
    /// An empty folder. The seed is `MILLRACE_ORACLE_SEED`, or of the clock; it is printed.
    ///
    /// # Errors
    /// There is no room for a folder.
    pub fn new(name: &str) -> Result<Self> {
        let given = std::env::var("MILLRACE_ORACLE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        println!("{name}: MILLRACE_ORACLE_SEED={seed}");
        let mut folder = tempfile::tempdir()?;
        if std::env::var_os("MILLRACE_KEEP").is_some() {
            folder.disable_cleanup(true);
            println!("{name}: {}", folder.path().display());
        }
        let history = Arc::new(History::default());
        Ok(Self {
            folder,
            seed,
            rng: fastrand::Rng::with_seed(seed),
            watch: Watch::new(Arc::clone(&history)),
            history,
            users: BTreeSet::new(),
            circumstances: Circumstances { whole_history: true, ..Circumstances::default() },
            resend: Vec::new(),
            receipts: Mutex::default(),
            senders: 0,
        })
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder that holds the data folder, for copies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// New users and devices.
    pub fn cast(&mut self, scene: &str, users: usize) -> Cast {
        let cast = Cast::new(scene, users);
        self.users.extend(cast.users.iter().cloned());
        cast
    }

    /// Starts senders, each of which makes `requests` requests.
    pub fn traffic(
        &mut self,
        system: &dyn System,
        cast: &Cast,
        mix: Mix,
        senders: usize,
        requests: usize,
    ) -> Traffic {
        self.watch.over(system.doors());
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..senders {
            self.senders += 1;
            let name = format!("s{}", self.senders);
            let generator = Generator::new(self.rng.u64(..), &name, cast.clone(), mix);
            let (doors, history) = (system.doors(), Arc::clone(&self.history));
            let mut sender = Sender::new(doors, generator, history, self.rng.u64(..));
            let (stop, first) = (Arc::clone(&stop), std::mem::take(&mut self.resend));
            threads.push(std::thread::spawn(move || {
                sender.run(&first, requests, || stop.load(Ordering::SeqCst));
                sender
            }));
        }
        Traffic { stop, threads }
    }

    /// Sends these, in order, each until it is accepted.
    ///
    /// # Errors
    /// One is refused.
    pub fn send(&mut self, system: &dyn System, requests: &[Prepared]) -> Result<()> {
        self.watch.over(system.doors());
        self.users.extend(requests.iter().flat_map(|request| users_of(&request.call)));
        let (history, doors) = (Arc::clone(&self.history), system.doors());
        let generator = Generator::new(0, "by hand", Cast::new("none", 1), Mix::default());
        let mut sender = Sender::new(doors, generator, history, 0);
        for request in requests {
            until("an answer", || sender.exchange(request).then_some(()))?;
        }
        ensure!(sender.surprises.is_empty(), "{:?}", sender.surprises);
        Ok(())
    }

    /// Waits until the system is idle and compares what it shows of `users` with the history.
    /// What was seen of jobs while they ran is judged with it.
    ///
    /// # Errors
    /// It never becomes idle, or cannot be read.
    pub fn judge(&self, system: &dyn System, users: &BTreeSet<String>) -> Result<Vec<Violation>> {
        self.watch.over(system.doors());
        let ends = |ledger: &[PartitionSeen]| ledger.iter().map(|p| p.log_end).collect::<Vec<_>>();
        loop {
            observe::wait_idle(system, &self.history.jobs())?;
            let before = ends(&observe::ledger(system)?);
            let mut seen = observe::read_back(system, users)?;
            seen.receipts = self.receipts(system, &seen.jobs)?;
            // A request that was left open may be taken meanwhile: then it is read again.
            if ends(&seen.ledger) == before {
                let mut found = oracle::check(&self.history.snapshot(), &seen, self.circumstances);
                found.extend(self.watch.found());
                return Ok(found);
            }
        }
    }

    /// The receipts of all jobs that are completed.
    fn receipts(
        &self,
        system: &dyn System,
        jobs: &BTreeMap<Uuid, JobSeen>,
    ) -> Result<BTreeMap<Uuid, String>> {
        let mut known = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        let doors = system.doors();
        let mut client = doors.client(*doors.all().first().context("no front door")?);
        for job in jobs.values().filter(|job| job.status == "completed") {
            if let Entry::Vacant(unknown) = known.entry(job.job_id) {
                unknown.insert(observe::receipt(&mut client, job.job_id)?);
            }
        }
        Ok(known.clone())
    }

    /// As [`World::judge`]; any violation is an error that shows the first of them.
    ///
    /// # Errors
    /// A promise is broken.
    pub fn expect_clean(&self, system: &dyn System, users: &BTreeSet<String>) -> Result<()> {
        let found = self.judge(system, users)?;
        println!("seed {}: {}", self.seed, self.summary());
        let shown: String = found.iter().take(SHOWN).map(|v| format!("\n{v}")).collect();
        let (seed, n) = (self.seed, found.len());
        ensure!(n == 0, "seed {seed}: {n} broken promises:{shown}\n{}", system.stderr());
        ensure!(!system.panicked()?, "seed {seed}: a panic:\n{}", system.stderr());
        Ok(())
    }

    /// How many operations were accepted so far.
    pub fn accepted(&self) -> usize {
        self.history.snapshot().iter().filter(|op: &&Op| op.accepted()).count()
    }

    /// What happened so far, in a line.
    pub fn summary(&self) -> String {
        let ops = self.history.snapshot();
        let refused = ops.iter().filter(|op| op.refused()).count();
        let jobs = self.history.jobs().len();
        let (all, accepted, users) = (ops.len(), self.accepted(), self.users.len());
        format!(
            "{all} requests: {accepted} accepted ({jobs} jobs), {refused} refused, {} open; {users} \
             users",
            all - accepted - refused
        )
    }
}

/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until something is there.
///
/// # Errors
/// It does not come.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let since = Instant::now();
    loop {
        if let Some(there) = look() {
            return Ok(there);
        }
        ensure!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn users_of(call: &Call) -> BTreeSet<String> {
    match call {
        Call::Delete { users, .. } => users.clone(),
        Call::Items(items) => items.iter().filter_map(|sent| user_of(&sent.item)).collect(),
    }
}

fn user_of(item: &Item) -> Option<String> {
    match item {
        Item::Event(event) => Some(event.user.clone()),
        Item::Profile(profile) => Some(profile.user.clone()),
        Item::Device(device) => device.user.clone(),
    }
}
