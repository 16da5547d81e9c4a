//! How fast users are erased: `cargo bench -p millrace-store --bench erase -- --users 100000`.
//!
//! Each user has ten events, a profile of five properties and a device. All are erased by commits
//! as the workers make them, then purged. For comparison the same rows are written and compacted by
//! fjall alone.

#![expect(clippy::unwrap_used, reason = "a bench may fail at any step")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions};
use millrace_schema::{Topic, UserKey};
use millrace_store::embedded::{Config, EmbeddedStore};
use millrace_store::{
    Cell, Change, Claim, Commit, Erasure, LedgerRow, Stamp, Store, Version, Write,
};
use tokio::runtime::Runtime;
use uuid::Uuid;

const EVENTS: u64 = 10;
/// Users of one commit.
const BATCH: usize = 1_000;

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--users").skip(1);
    let users: u64 = args.next().map_or(20_000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(measure(dir.path(), users));
    drop(runtime);
    let dir = tempfile::tempdir().unwrap();
    raw(dir.path(), users);
}

async fn measure(dir: &Path, users: u64) {
    let store = EmbeddedStore::open(dir, Config::default()).unwrap();
    let order = shuffled(users);
    let started = Instant::now();
    load(&store, &order).await;
    let rate = |elapsed: Duration| users as f64 / elapsed.as_secs_f64();
    println!("load: {:.1} s, {}", started.elapsed().as_secs_f64(), state(dir));
    let order = shuffled(users + 1).into_iter().filter(|user| *user < users).collect::<Vec<_>>();
    let started = Instant::now();
    let (events, profiles, devices) = tokio::join!(
        erase(&store, Topic::Events, &order),
        erase(&store, Topic::Profiles, &order),
        erase(&store, Topic::Devices, &order),
    );
    let committed = started.elapsed();
    println!(
        "commits: {:.2} s, {:.0} users/s (events {events:.1?}, profiles {profiles:.1?}, devices \
         {devices:.1?}), {}",
        committed.as_secs_f64(),
        rate(committed),
        state(dir)
    );
    let started = Instant::now();
    store.persist().await.unwrap();
    store.purge().await.unwrap();
    let purged = started.elapsed();
    println!("purge: {:.2} s, {:.0} users/s, {}", purged.as_secs_f64(), rate(purged), state(dir));
    println!("together: {:.0} users/s", rate(committed + purged));
}

async fn load(store: &EmbeddedStore, order: &[u64]) {
    let mut worker = Worker::claim(store, Topic::Events).await;
    for round in 0..EVENTS {
        for users in order.chunks(BATCH) {
            worker.commit(users.iter().map(|user| vec![event(*user, round)])).await;
        }
    }
    let mut worker = Worker::claim(store, Topic::Profiles).await;
    for users in order.chunks(BATCH) {
        worker.commit(users.iter().map(|user| vec![profile(*user)])).await;
    }
    let mut worker = Worker::claim(store, Topic::Devices).await;
    for users in order.chunks(BATCH) {
        worker.commit(users.iter().map(|user| device(*user).into())).await;
    }
}

async fn erase(store: &EmbeddedStore, topic: Topic, order: &[u64]) -> Duration {
    let started = Instant::now();
    let mut worker = Worker::claim(store, topic).await;
    // Where the load ended.
    worker.offset = order.len() as u64 * EVENTS;
    let mut settled = Vec::new();
    for users in order.chunks(BATCH) {
        let keys: Vec<UserKey> = users.iter().map(|user| key(*user)).collect();
        if topic == Topic::Devices {
            let devices = store.devices(keys.clone()).await.unwrap();
            assert!(devices.iter().all(|devices| devices.rows.len() == 1));
        }
        let of_users = (worker.offset..).zip(keys.iter().zip(users));
        let changes =
            of_users.map(|(offset, (user, n))| erasure(topic, user, *n, offset)).collect();
        // The last step of an erasure comes with the next commit.
        let last = |user: &UserKey| Change::EraseDevices { user: user.clone() };
        let after = if topic == Topic::Devices { keys.iter().map(last).collect() } else { vec![] };
        worker.commit_after(std::mem::replace(&mut settled, after), changes).await;
    }
    worker.commit_after(settled, Vec::new()).await;
    started.elapsed()
}

fn erasure(topic: Topic, user: &UserKey, n: u64, offset: u64) -> Vec<Change> {
    let erasure = Erasure { job: Uuid::nil(), offset, received_us: 1 };
    let user = user.clone();
    let mut changes = vec![Change::PutErasure { user: user.clone(), topic, erasure }];
    match topic {
        Topic::Events => changes.push(Change::EraseEvents { user }),
        Topic::Profiles => changes.push(Change::EraseProfile { user }),
        _ => {
            changes.push(Change::EndLife { user: user.clone() });
            changes.push(Change::EraseClaim { user, device_id: device_id(n) });
        }
    }
    changes
}

/// A worker of one partition.
struct Worker<'s> {
    store: &'s EmbeddedStore,
    ledger: LedgerRow,
    offset: u64,
}

impl<'s> Worker<'s> {
    async fn claim(store: &'s EmbeddedStore, topic: Topic) -> Self {
        Self { store, ledger: store.claim(topic, 0).await.unwrap(), offset: 0 }
    }

    /// Commits the changes of the next records.
    async fn commit(&mut self, records: impl Iterator<Item = Vec<Change>>) {
        self.commit_after(Vec::new(), records.collect()).await;
    }

    /// Commits changes of records before, then those of the next ones.
    async fn commit_after(&mut self, before: Vec<Change>, records: Vec<Vec<Change>>) {
        let stamp = Stamp(1).at(self.offset.saturating_sub(1));
        let mut writes: Vec<Write> =
            before.into_iter().map(|change| Write { stamp, change }).collect();
        for changes in records {
            let stamp = Stamp(1).at(self.offset);
            writes.extend(changes.into_iter().map(|change| Write { stamp, change }));
            self.offset += 1;
        }
        self.ledger.sequence += 1;
        let commit = Commit { writes, ledger: self.ledger.clone(), generation: 0 };
        self.store.commit(commit).await.unwrap();
    }
}

fn key(user: u64) -> UserKey {
    UserKey::new("bench", format!("user-{:016x}", user.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn device_id(user: u64) -> String {
    format!("gaid:{:016x}", user.wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

fn event(user: u64, n: u64) -> Change {
    let mut payload = Vec::with_capacity(300);
    while payload.len() < 300 {
        payload.extend_from_slice(b"\"property\":\"");
        payload.extend_from_slice(format!("{:016x}\",", fastrand::u64(..)).as_bytes());
    }
    Change::PutEvent {
        user: key(user),
        time_us: 1_700_000_000_000_000 + n as i64,
        id: Uuid::from_u128(u128::from(user) << 64 | u128::from(n)).to_string(),
        payload: payload.into(),
        expires_us: i64::MAX,
    }
}

fn cells(names: &[&str]) -> BTreeMap<String, Cell> {
    let version = Version { time_us: 1, stamp: Stamp(1) };
    let cell = || Cell { version, value: Some(format!("\"value {:016x}\"", fastrand::u64(..))) };
    names.iter().map(|name| ((*name).to_owned(), cell())).collect()
}

fn profile(user: u64) -> Change {
    let cells = cells(&["name", "email", "grade", "city", "plan"]);
    Change::PutProfile { user: key(user), created_us: 1, updated_us: 1, cells }
}

fn device(user: u64) -> [Change; 2] {
    let (of, device_id) = (key(user), device_id(user));
    let linked = Some(Version { time_us: 1, stamp: Stamp(1) });
    let holder = Some(of.user.clone());
    let claim = Claim { holder, linked, received_us: 1, unlinked: None };
    let project = of.project.clone();
    let cells = cells(&["platform", "properties.os", "properties.model"]);
    [
        Change::PutDevice { user: of, device_id: device_id.clone(), updated_us: 1, cells },
        Change::PutClaim { project, device_id, claim },
    ]
}

fn shuffled(n: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..n).collect();
    fastrand::Rng::with_seed(n).shuffle(&mut numbers);
    numbers
}

/// Writes the same number of rows of about the same size, and compacts them.
fn raw(dir: &Path, users: u64) {
    let db = Database::builder(dir).worker_threads(2).open().unwrap();
    let options = || KeyspaceCreateOptions::default().max_memtable_size(16 << 20);
    let rows = db.keyspace("rows", options).unwrap();
    let started = Instant::now();
    let (order, mut written) = (shuffled(users), 0_u64);
    // 10 events of 440 bytes, and 11 cells and claims of 130.
    let sizes = [(EVENTS, 390), (11, 80)];
    for (n, (count, bytes)) in
        sizes.into_iter().flat_map(|(count, bytes)| (0..count).map(move |n| (n, (count, bytes))))
    {
        for users in order.chunks(BATCH) {
            let mut batch = db.batch();
            for user in users {
                let row = format!("{}{count:02}{n:02}{:020}", key(*user).user, 0);
                let value: Bytes = std::iter::repeat_with(|| format!("{:016x}", fastrand::u64(..)))
                    .flat_map(|text| [text.into_bytes(), b"a common text   ".to_vec()].concat())
                    .take(bytes)
                    .collect();
                written += (row.len() + value.len()) as u64;
                batch.insert(&rows, row.into_bytes(), &value[..]);
            }
            batch.commit().unwrap();
        }
    }
    rows.rotate_memtable_and_wait().unwrap();
    let wrote = started.elapsed();
    let started = Instant::now();
    rows.major_compact().unwrap();
    println!(
        "fjall alone: {} MB written in {:.1} s, compacted in {:.1} s, {}",
        written / 1_000_000,
        wrote.as_secs_f64(),
        started.elapsed().as_secs_f64(),
        state(dir)
    );
}

/// Memory of the process and disk space of a folder.
fn state(dir: &Path) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0_u64)
    };
    let (rss, peak) = (kib("VmRSS:") / 1_024, kib("VmHWM:") / 1_024);
    format!("RSS {rss} MiB (peak {peak}), disk {} MB", disk_bytes(dir) / 1_000_000)
}

fn disk_bytes(dir: &Path) -> u64 {
    let bytes = |entry: fs::DirEntry| {
        // A file may vanish meanwhile.
        let Ok(metadata) = entry.metadata() else { return 0 };
        if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.len() }
    };
    fs::read_dir(dir).map_or(0, |entries| entries.flatten().map(bytes).sum())
}
