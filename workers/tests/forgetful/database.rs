//! A database that behaves as a CQL one: no atomicity beyond one partition, calls that are slow or
//! fail (and may have happened all the same), and crashes that forget what is young.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use millrace_schema::{Topic, UserKey};
use millrace_store::{
    Answer, Cells, Change, Claim, Commit, Completion, DeviceRow, Devices, Erasure, EventQuery,
    EventRow, JobRow, LedgerRow, ProfileRow, Stamp, Store, StoreError, Write,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::cells::{Mutation, Table, Value};
use crate::memory_log::{PARTITIONS, Seat};

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
    /// The ledger is written before the rows.
    LedgerFirst,
    /// The stamps of erasures are one too low.
    WeakErasures,
    /// A restart is noticed some seconds later, as by a poll in the background.
    LateNotice,
    /// The generation is checked before the rows, but not again before the ledger.
    UncheckedLedger,
    /// Between a claim's look at the newest row and its own, others may commit.
    SplitClaim,
}

pub(crate) struct Database {
    inner: Mutex<Inner>,
    pub(crate) sabotage: Sabotage,
}

struct Inner {
    table: Table,
    generation: u64,
    crashed: Instant,
    down_until: Instant,
    rng: Rng,
    faults: bool,
    epochs: BTreeMap<(Topic, u32), u64>,
    /// Resume points as they were last seen, since the last crash.
    resume_points: BTreeMap<(Topic, u32), u64>,
    /// Jobs by id with the time of their first completion.
    completed: BTreeMap<Uuid, (Instant, Completion)>,
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
            violations: Vec::new(),
        };
        Arc::new(Self { inner: Mutex::new(inner), sabotage })
    }

    /// The generation as the engine knows it.
    fn generation(&self) -> u64 {
        let inner = self.inner();
        let late = self.sabotage == Sabotage::LateNotice && inner.crashed.elapsed() < SETTLE / 2;
        inner.generation - u64::from(late && inner.generation > 1)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
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
        let mut row = ProfileRow {
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
    fn newest(&mut self, topic: Topic, partition: u32) -> Option<LedgerRow> {
        let cells = self.table.read(&format!("ledger {topic} {partition}"));
        let newest = cells.visible().last().map(|(_, _, value)| value.clone());
        let Some(Value::Ledger(row)) = newest else { return None };
        Some(*row)
    }

    /// The row of an epoch that nobody has had.
    fn claim(&mut self, newest: Option<LedgerRow>, (topic, partition): (Topic, u32)) -> LedgerRow {
        let newest = newest.unwrap_or_else(|| LedgerRow::new(topic, partition));
        let claimed = self.epochs.entry((topic, partition)).or_default();
        *claimed = newest.epoch.max(*claimed) + 1;
        LedgerRow { epoch: *claimed, ..newest.next_epoch() }
    }

    fn put_ledger(&mut self, row: LedgerRow) {
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

    fn complete(&mut self, job: Uuid, completion: Completion) -> Result<(), StoreError> {
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

fn number(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Number(n)) => Some(*n),
        _ => None,
    }
}

/// Four buckets of a user's events, by time alone.
fn bucket(time_us: i64) -> i64 {
    (time_us / 1_000_000).rem_euclid(4)
}

/// The database as one set of workers reaches it.
pub(crate) struct Client {
    pub(crate) database: Arc<Database>,
    pub(crate) seat: Seat,
}

impl Client {
    /// One message to the database: it takes its time, and may fail.
    async fn send(&self) -> Result<(), StoreError> {
        self.linger(20).await;
        self.seat.pass().await;
        let mut inner = self.database.inner();
        let unlucky = inner.faults && inner.rng.u32(0..150) == 0;
        if inner.down_until > Instant::now() || unlucky {
            return Err(StoreError::Unavailable("test".into()));
        }
        Ok(())
    }

    /// A little delay once in `often`, and a very long one now and then.
    async fn linger(&self, often: u32) {
        let delay_ms = {
            let mut inner = self.database.inner();
            let (faults, dice) = (inner.faults, inner.rng.u32(0..often * 20));
            match dice {
                0 if faults => inner.rng.u64(0..12_000),
                n if n < 20 => inner.rng.u64(1..300),
                _ => 0,
            }
        };
        match delay_ms {
            0 => tokio::task::yield_now().await,
            ms => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
    }

    async fn read<T>(&self, read: impl FnOnce(&Database) -> T) -> Result<T, StoreError> {
        self.send().await?;
        let answer = read(&self.database);
        self.linger(60).await;
        self.seat.pass().await;
        Ok(answer)
    }

    fn check(&self, commit: &Commit) -> Result<(), StoreError> {
        if self.database.generation() != commit.generation {
            return Err(StoreError::Restarted);
        }
        self.fence(commit)
    }

    fn fence(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut inner = self.database.inner();
        let ours = commit.ledger.epoch;
        let newest = inner.newest(commit.ledger.topic, commit.ledger.partition);
        let newest = newest.map_or(0, |row| row.epoch);
        if newest > ours && self.database.sabotage != Sabotage::NoFence {
            return Err(StoreError::Fenced { ours, newest });
        }
        Ok(())
    }

    async fn write(&self, key: String, mutation: Mutation) -> Result<(), StoreError> {
        self.send().await?;
        self.database.inner().table.apply(&key, mutation, SETTLE);
        Ok(())
    }

    async fn write_ledger(&self, commit: &Commit) -> Result<(), StoreError> {
        self.send().await?;
        match self.database.sabotage {
            Sabotage::UncheckedLedger => self.fence(commit)?,
            _ => self.check(commit)?,
        }
        self.send().await?;
        let mut row = commit.ledger.clone();
        let mut inner = self.database.inner();
        if self.database.sabotage == Sabotage::NoFence {
            row.epoch = inner.newest(row.topic, row.partition).map_or(0, |row| row.epoch);
        }
        inner.put_ledger(row);
        Ok(())
    }

    async fn write_rows(&self, commit: &Commit) -> Result<(), StoreError> {
        for write in &commit.writes {
            for (key, mutation) in self.mutations(write) {
                self.write(key, mutation).await?;
            }
        }
        Ok(())
    }

    /// The statements of a write, each about a partition of its own.
    fn mutations(&self, write: &Write) -> Vec<(String, Mutation)> {
        let stamp = write.stamp.0;
        let put = |cells| Mutation::Put { stamp, cells };
        let number = |name: &str, n: &i64| (name.to_owned(), Value::Number(*n));
        let weak = self.database.sabotage == Sabotage::WeakErasures;
        let erase = Mutation::DeleteAll { stamp: if weak { stamp - 1 } else { stamp } };
        match &write.change {
            Change::PutEvent { user, time_us, id, payload, .. } => {
                let cells = vec![(format!("{time_us} {id}"), Value::Payload(payload.clone()))];
                vec![(format!("events {user} {}", bucket(*time_us)), put(cells))]
            }
            Change::PutEventTime { user, id, time_us, .. } => {
                vec![(format!("ids {user}"), put(vec![number(id, time_us)]))]
            }
            Change::EraseEvents { user } => {
                let events = (0..4).map(|n| format!("events {user} {n}"));
                let keys = events.chain([format!("ids {user}")]);
                keys.map(|key| (key, erase.clone())).collect()
            }
            Change::PutProfile { user, created_us, updated_us, cells } => {
                let cells = cells.iter().map(|(n, c)| (format!("p {n}"), Value::Cell(c.clone())));
                let times = [number("created", created_us), number("updated", updated_us)];
                vec![(format!("profile {user}"), put(cells.chain(times).collect()))]
            }
            Change::EraseProfile { user } => vec![(format!("profile {user}"), erase)],
            Change::PutDevice { user, device_id, updated_us, cells } => {
                let name = |name: &str| format!("d {device_id}|{name}");
                let cells = cells.iter().map(|(n, c)| (name(n), Value::Cell(c.clone())));
                let updated = number(&name(""), updated_us);
                vec![(format!("devices {user}"), put(cells.chain([updated]).collect()))]
            }
            Change::EndLife { user } => {
                vec![(format!("devices {user}"), put(vec![number("life", &stamp)]))]
            }
            Change::EraseDevices { user } => vec![(format!("devices {user}"), erase)],
            Change::PutClaim { device_id, claim, .. } => {
                let name = format!("{:?}", claim.holder);
                let cells = vec![(name, Value::Claim(claim.clone()))];
                vec![(format!("claims {device_id}"), put(cells))]
            }
            Change::EraseClaim { user, device_id } => {
                let name = format!("{:?}", Some(&user.user));
                vec![(format!("claims {device_id}"), Mutation::DeleteCell { stamp, name })]
            }
            Change::PutErasure { user, topic, erasure } => {
                let mut name = format!("{:020} {}", erasure.offset, erasure.job);
                if self.database.sabotage == Sabotage::ErasuresByJob {
                    name = erasure.job.to_string();
                }
                let cells = vec![(name, Value::Erasure(erasure.clone()))];
                vec![(format!("erasures {user} {topic}"), put(cells))]
            }
            Change::PutJob { job } => {
                let (id, sample) = (job.job.job.to_string(), job.job.sample.clone());
                let mut row = job.clone();
                row.job.sample.clear();
                let sample = ("sample".to_owned(), Value::Sample(sample));
                let row = put(vec![("job".to_owned(), Value::Job(row)), sample]);
                let open = put(vec![number(&id, &0)]);
                vec![("open".to_owned(), open), (format!("job {id}"), row)]
            }
        }
    }
}

impl Store for Client {
    fn settle(&self) -> Duration {
        match self.database.sabotage {
            Sabotage::SettleZero => Duration::ZERO,
            Sabotage::SettleShort => SETTLE / 8,
            _ => SETTLE,
        }
    }

    fn generation(&self) -> Answer<'_, u64> {
        Box::pin(self.read(Database::generation))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, ()> {
        Box::pin(async move {
            self.send().await?;
            self.check(&commit)?;
            if self.database.sabotage == Sabotage::LedgerFirst {
                self.write_ledger(&commit).await?;
                self.write_rows(&commit).await?;
            } else {
                self.write_rows(&commit).await?;
                self.write_ledger(&commit).await?;
            }
            self.send().await
        })
    }

    fn persist(&self) -> Answer<'_, ()> {
        Box::pin(self.read(|_| ()))
    }

    fn claim(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        Box::pin(async move {
            self.send().await?;
            let newest = self.database.inner().newest(topic, partition);
            if self.database.sabotage == Sabotage::SplitClaim {
                self.send().await?;
            }
            let row = self.database.inner().claim(newest, (topic, partition));
            let shared = self.database.sabotage == Sabotage::SharedEpoch && row.epoch > 1;
            let row = if shared { LedgerRow { epoch: 1, ..row } } else { row };
            self.database.inner().put_ledger(row.clone());
            self.send().await?;
            Ok(row)
        })
    }

    fn ledger(&self) -> Answer<'_, Vec<LedgerRow>> {
        Box::pin(self.read(Database::ledger))
    }

    fn topic_base(&self, _: Topic, _: u32) -> Answer<'_, Stamp> {
        Box::pin(self.read(|_| BASE))
    }

    fn profiles(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Option<ProfileRow>>> {
        Box::pin(self.read(move |database| users.iter().map(|u| database.profile(u)).collect()))
    }

    fn devices(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Devices>> {
        Box::pin(self.read(move |database| users.iter().map(|u| database.devices(u)).collect()))
    }

    fn claims(&self, _: &str, device_ids: Vec<String>) -> Answer<'_, Vec<Vec<Claim>>> {
        Box::pin(self.read(move |database| device_ids.iter().map(|d| database.claims(d)).collect()))
    }

    fn events(&self, user: UserKey, query: EventQuery) -> Answer<'_, Vec<EventRow>> {
        Box::pin(self.read(move |database| {
            let mut rows = database.events(&user);
            rows.truncate(query.limit);
            rows
        }))
    }

    fn event_times(&self, ids: Vec<(UserKey, String)>) -> Answer<'_, Vec<Option<i64>>> {
        Box::pin(self.read(move |database| {
            let mut inner = database.inner();
            let mut time = |(user, id): &(UserKey, String)| {
                number(inner.table.read(&format!("ids {user}")).get(id))
            };
            ids.iter().map(&mut time).collect()
        }))
    }

    fn erasures(&self, user: UserKey, topic: Topic) -> Answer<'_, Vec<Erasure>> {
        Box::pin(self.read(move |database| {
            let cells = database.inner().table.read(&format!("erasures {user} {topic}"));
            let erasure = |value: &Value| match value {
                Value::Erasure(erasure) => Some(erasure.clone()),
                _ => None,
            };
            cells.visible().filter_map(|(_, _, value)| erasure(value)).collect()
        }))
    }

    fn job(&self, _: &str, job: Uuid) -> Answer<'_, Option<JobRow>> {
        Box::pin(self.read(move |database| database.job(job)))
    }

    fn jobs(&self, _: &str, _: Option<(i64, Uuid)>, _: usize) -> Answer<'_, Vec<JobRow>> {
        Box::pin(async { Err(StoreError::Invalid("workers list no jobs".into())) })
    }

    fn open_jobs(&self) -> Answer<'_, Vec<JobRow>> {
        Box::pin(self.read(|database| {
            let open = database.inner().table.read("open");
            let ids = open.visible().map(|(id, ..)| id.parse().unwrap());
            let rows = ids.filter_map(|id| database.job(id));
            rows.filter(|row| row.completion.is_none()).collect()
        }))
    }

    /// The entry among the open jobs stays: were it to go before the completion has settled, a crash
    /// could leave a job that is neither completed nor open.
    fn complete_job(&self, _: &str, job: Uuid, completion: Completion) -> Answer<'_, ()> {
        Box::pin(async move {
            self.send().await?;
            self.database.inner().complete(job, completion)?;
            self.send().await
        })
    }
}
