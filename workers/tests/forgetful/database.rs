//! A database that behaves as a CQL one: no atomicity beyond one partition, and crashes that forget
//! what is young. It notes what its clients must never do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use millrace_schema::{Topic, UserKey};
use millrace_store::{
    Cells, Claim, Completion, DeviceRow, Devices, EventRow, JobRow, LedgerRow, ProfileRow, Stamp,
    StoreError,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::cells::{Mutation, Table, Value};
use crate::memory_log::PARTITIONS;

pub(crate) const SETTLE: Duration = Duration::from_secs(8);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(3);
pub(crate) const BASE: Stamp = Stamp(1_000_000);

/// A rule that the database breaks on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// It forgets, but says that it does not.
    SettleZero,
    /// It settles later than it says.
    SettleShort,
    /// Its generation stays the same over crashes.
    SameGeneration,
    /// Two may hold the same epoch.
    SharedEpoch,
    /// An older epoch may go on committing to the newest one's row.
    NoFence,
    /// Of two markers of one job, a user's erasures keep the later only.
    ErasuresByJob,
    /// A restart is noticed some seconds later, as by a poll in the background.
    LateNotice,
    /// Between a claim's look at the newest row and its own, others may commit.
    SplitClaim,
    /// The newest receipt is read late, and a number may be taken twice.
    StaleChain,
}

pub(crate) struct Database {
    inner: Mutex<Inner>,
    pub(crate) sabotage: Sabotage,
}

pub(crate) struct Inner {
    pub(crate) table: Table,
    generation: u64,
    crashed: Instant,
    pub(crate) down_until: Instant,
    pub(crate) rng: Rng,
    pub(crate) faults: bool,
    epochs: BTreeMap<(Topic, u32), u64>,
    /// Resume points as they were last seen, since the last crash.
    resume_points: BTreeMap<(Topic, u32), u64>,
    /// Jobs by id with the time of their first completion.
    completed: BTreeMap<Uuid, (Instant, Completion)>,
    /// The receipts as they were taken, the newest last. This the database does not forget.
    chain: Vec<(Uuid, Completion)>,
    violations: Vec<String>,
}

impl Database {
    pub(crate) fn new(seed: u64, sabotage: Sabotage) -> Arc<Self> {
        let inner = Inner {
            table: Table::default(),
            generation: 1,
            crashed: Instant::now(),
            down_until: Instant::now(),
            rng: Rng::with_seed(seed),
            faults: true,
            epochs: BTreeMap::new(),
            resume_points: BTreeMap::new(),
            completed: BTreeMap::new(),
            chain: Vec::new(),
            violations: Vec::new(),
        };
        Arc::new(Self { inner: Mutex::new(inner), sabotage })
    }

    /// The generation as the engine knows it.
    pub(crate) fn generation(&self) -> u64 {
        let inner = self.inner();
        let late =
            self.sabotage == Sabotage::LateNotice && inner.crashed.elapsed() < SETTLE * 7 / 8;
        inner.generation - u64::from(late && inner.generation > 1)
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn crash(&self) {
        let mut inner = self.inner();
        let Inner { table, rng, .. } = &mut *inner;
        table.crash(rng, SETTLE);
        let down_ms = inner.rng.u64(0..4_000);
        inner.down_until = Instant::now() + Duration::from_millis(down_ms);
        inner.crashed = Instant::now();
        if self.sabotage != Sabotage::SameGeneration {
            inner.generation += 1;
        }
        inner.resume_points.clear();
    }

    pub(crate) fn end_faults(&self) {
        let mut inner = self.inner();
        inner.faults = false;
        inner.down_until = Instant::now();
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.inner().violations.first().cloned()
    }

    pub(crate) fn completed(&self) -> BTreeMap<Uuid, (Instant, Completion)> {
        self.inner().completed.clone()
    }

    pub(crate) fn chain(&self) -> Vec<(Uuid, Completion)> {
        self.inner().chain.clone()
    }

    pub(crate) fn ledger(&self) -> Vec<LedgerRow> {
        let mut inner = self.inner();
        let all = (0..PARTITIONS).flat_map(|p| Topic::CONSUMED.map(|topic| (topic, p)));
        all.filter_map(|(topic, partition)| inner.newest(topic, partition)).collect()
    }

    /// All visible cells of the partitions under a prefix: (partition, cell, stamp).
    pub(crate) fn stamps(&self, prefix: &str) -> Vec<(String, String, i64)> {
        let mut all = Vec::new();
        for (key, cells) in self.inner().table.under(prefix) {
            let of = cells.visible();
            all.extend(of.map(|(name, stamp, _)| (key.clone(), name.to_owned(), stamp)));
        }
        all
    }

    pub(crate) fn profile(&self, user: &UserKey) -> Option<ProfileRow> {
        let cells = self.inner().table.read(&format!("profile {user}"));
        let (_, stamp, _) = cells.visible().find(|(name, ..)| *name == "updated")?;
        let mut row = ProfileRow {
            stamp: Stamp(stamp),
            created_us: number(cells.get("created"))?,
            updated_us: number(cells.get("updated"))?,
            cells: Cells::new(),
        };
        for (name, _, value) in cells.visible() {
            if let (Some(name), Value::Cell(cell)) = (name.strip_prefix("p "), value) {
                row.cells.insert(name.to_owned(), cell.clone());
            }
        }
        Some(row)
    }

    pub(crate) fn devices(&self, user: &UserKey) -> Devices {
        let cells = self.inner().table.read(&format!("devices {user}"));
        let life = number(cells.get("life")).map(Stamp);
        let mut devices = Devices { life, ..Devices::default() };
        for (name, stamp, value) in cells.visible() {
            let Some((device, name)) = name.strip_prefix("d ").and_then(|n| n.split_once('|'))
            else {
                continue;
            };
            if devices.life >= Some(Stamp(stamp)) {
                devices.hidden.push(device.to_owned());
                continue;
            }
            let empty = || DeviceRow { updated_us: 0, cells: Cells::new() };
            let row = devices.rows.entry(device.to_owned()).or_insert_with(empty);
            match value {
                Value::Number(updated_us) => row.updated_us = *updated_us,
                Value::Cell(cell) => drop(row.cells.insert(name.to_owned(), cell.clone())),
                _ => {}
            }
        }
        devices.hidden.dedup();
        devices.hidden.retain(|device| !devices.rows.contains_key(device));
        devices
    }

    pub(crate) fn claims(&self, device: &str) -> Vec<Claim> {
        let cells = self.inner().table.read(&format!("claims {device}"));
        let claim = |value: &Value| match value {
            Value::Claim(claim) => Some(claim.clone()),
            _ => None,
        };
        cells.visible().filter_map(|(_, _, value)| claim(value)).collect()
    }

    pub(crate) fn events(&self, user: &UserKey) -> Vec<EventRow> {
        let mut rows = Vec::new();
        for (_, cells) in self.inner().table.under(&format!("events {user} ")) {
            for (name, stamp, value) in cells.visible() {
                let (time_us, id) = name.split_once(' ').unwrap();
                let (time_us, id) = (time_us.parse().unwrap(), id.to_owned());
                if let Value::Payload(payload) = value {
                    let (stamp, payload) = (Stamp(stamp), payload.clone());
                    rows.push(EventRow { time_us, id, stamp, payload });
                }
            }
        }
        rows.sort_by(|a, b| (b.time_us, &b.id).cmp(&(a.time_us, &a.id)));
        rows
    }

    pub(crate) fn job(&self, job: Uuid) -> Option<JobRow> {
        let cells = self.inner().table.read(&format!("job {job}"));
        let Some(Value::Job(row)) = cells.get("job") else { return None };
        let mut row = row.clone();
        if let Some(Value::Sample(sample)) = cells.get("sample") {
            row.job.sample.clone_from(sample);
        }
        if let Some(Value::Completion(completion)) = cells.get("completion") {
            row.completion = Some(completion.clone());
        }
        Some(row)
    }
}

impl Inner {
    pub(crate) fn newest(&mut self, topic: Topic, partition: u32) -> Option<LedgerRow> {
        let cells = self.table.read(&format!("ledger {topic} {partition}"));
        let newest = cells.visible().last().map(|(_, _, value)| value.clone());
        let Some(Value::Ledger(row)) = newest else { return None };
        Some(*row)
    }

    /// The row of an epoch that nobody has had.
    pub(crate) fn claim(
        &mut self,
        newest: Option<LedgerRow>,
        (topic, partition): (Topic, u32),
    ) -> LedgerRow {
        let newest = newest.unwrap_or_else(|| LedgerRow::new(topic, partition));
        let claimed = self.epochs.entry((topic, partition)).or_default();
        *claimed = newest.epoch.max(*claimed) + 1;
        LedgerRow { epoch: *claimed, ..newest.next_epoch() }
    }

    pub(crate) fn put_ledger(&mut self, row: LedgerRow) {
        let (topic, partition) = (row.topic, row.partition);
        let sum = (row.counts.total(), row.resume_counts.total());
        let ordered = row.resume <= row.settled && row.settled <= row.frontier;
        if sum != (row.frontier, row.resume) || !ordered {
            self.violations.push(format!("the ledger does not add up: {row:?}"));
        }
        let key = format!("ledger {topic} {partition}");
        let (name, stamp) = (format!("{:020}", row.epoch), row.sequence as i64);
        let cells = vec![(name, Value::Ledger(Box::new(row)))];
        self.table.apply(&key, Mutation::Put { stamp, cells }, SETTLE);
        let resume = self.newest(topic, partition).map_or(0, |row| row.resume);
        let before = self.resume_points.insert((topic, partition), resume);
        if before.is_some_and(|before| before > resume) {
            let text = format!("{topic}/{partition} went back from {before:?} to {resume}");
            self.violations.push(text);
        }
    }

    /// Makes a receipt the newest. `false`: its number is not the next one.
    pub(crate) fn issue(&mut self, job: Uuid, completion: &Completion, any: bool) -> bool {
        let number = completion.receipt.as_ref().map(|receipt| receipt.number);
        if number != Some(self.chain.len() as u64 + 1) && !any {
            return false;
        }
        self.chain.push((job, completion.clone()));
        true
    }

    /// The completion of the newest receipt, which may have been cut short.
    pub(crate) fn newest_issued(&self, late: bool) -> Option<(Uuid, Completion)> {
        self.chain.iter().rev().nth(usize::from(late)).cloned()
    }

    pub(crate) fn is_completed(&mut self, job: Uuid) -> bool {
        self.table.read(&format!("job {job}")).get("completion").is_some()
    }

    pub(crate) fn complete(&mut self, job: Uuid, completion: Completion) -> Result<(), StoreError> {
        let key = format!("job {job}");
        let cells = self.table.read(&key);
        let row = cells.visible().find(|(name, ..)| *name == "job");
        let Some((_, stamp, _)) = row else {
            return Err(StoreError::Invalid("no such job".into()));
        };
        if cells.get("completion").is_none() {
            let ended = Value::Completion(completion.clone());
            let cells = [("completion", ended), ("sample", Value::Gone)];
            let cells = cells.map(|(name, value)| (name.to_owned(), value)).into();
            self.table.apply(&key, Mutation::Put { stamp, cells }, SETTLE);
            self.completed.entry(job).or_insert((Instant::now(), completion));
        }
        Ok(())
    }
}

pub(crate) fn number(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Number(n)) => Some(*n),
        _ => None,
    }
}
