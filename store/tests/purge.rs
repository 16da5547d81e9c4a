//! What is left of erased users in the files of the embedded store.

#![expect(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_schema::{Topic, UserKey};
use millrace_store::embedded::{Config, EmbeddedStore};
use millrace_store::{
    Cell, Change, Claim, Commit, Erasure, EventQuery, LedgerRow, Stamp, Store, StoreError, Version,
    Write,
};
use uuid::Uuid;

const USERS: u64 = 200;
const ALL: EventQuery = EventQuery { from_us: None, to_us: None, before: None, limit: 10 };
/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// Small buffers, so that there is more than one table.
fn config(journal_residue: Duration) -> Config {
    Config { write_buffer_bytes: 1 << 16, journal_residue, ..Config::default() }
}

/// Text that neither compresses nor occurs by chance, the same for the same number.
fn needle(n: u64) -> String {
    let mut random = fastrand::Rng::with_seed(n);
    (0..24).map(|_| random.alphanumeric()).collect()
}

/// Every trace of a user but its id: event ids, payload, property, device.
fn needles(user: u64) -> impl Iterator<Item = String> {
    (0..5).map(move |n| needle(user * 5 + n))
}

fn key(user: u64) -> UserKey {
    UserKey::new("p", format!("user-{user}"))
}

fn puts(user: u64, stamp: i64) -> Vec<(Topic, Change)> {
    let [event, bare, payload, value, device] =
        needles(user).collect::<Vec<_>>().try_into().unwrap();
    let version = Version { time_us: 1, stamp: Stamp(stamp) };
    let cells = BTreeMap::from([("a".to_owned(), Cell { version, value: Some(value) })]);
    let claim = Claim {
        holder: Some(key(user).user),
        linked: Some(version),
        received_us: 1,
        unlinked: None,
    };
    let (user, expires_us) = (key(user), i64::MAX);
    let put_event = |id| {
        let (user, payload) = (user.clone(), Bytes::from(payload.clone()));
        Change::PutEvent { user, time_us: 1, id, payload, expires_us }
    };
    let profile =
        |cells| Change::PutProfile { user: user.clone(), created_us: 1, updated_us: 1, cells };
    vec![
        (Topic::Events, put_event(event)),
        (Topic::Events, put_event(bare.clone())),
        (
            Topic::Events,
            Change::PutEventTime { user: user.clone(), id: bare, time_us: 1, expires_us },
        ),
        (Topic::Profiles, profile(cells.clone())),
        (
            Topic::Devices,
            Change::PutDevice {
                user: user.clone(),
                device_id: device.clone(),
                updated_us: 1,
                cells,
            },
        ),
        (Topic::Devices, Change::PutClaim { project: "p".into(), device_id: device, claim }),
    ]
}

fn erase(user: u64, offset: u64) -> Vec<(Topic, Change)> {
    let erasure = Erasure { job: Uuid::nil(), offset, received_us: 1 };
    let user = key(user);
    let remember =
        |topic| (topic, Change::PutErasure { user: user.clone(), topic, erasure: erasure.clone() });
    vec![
        remember(Topic::Events),
        (Topic::Events, Change::EraseEvents { user: user.clone() }),
        remember(Topic::Profiles),
        (Topic::Profiles, Change::EraseProfile { user: user.clone() }),
        remember(Topic::Devices),
        (Topic::Devices, Change::EndLife { user: user.clone() }),
        (Topic::Devices, Change::EraseDevices { user: user.clone() }),
    ]
}

/// A store, and a worker for each topic.
struct Workers<'s> {
    store: &'s EmbeddedStore,
    ledgers: BTreeMap<Topic, LedgerRow>,
}

impl<'s> Workers<'s> {
    async fn claim(store: &'s EmbeddedStore) -> Self {
        let mut ledgers = BTreeMap::new();
        for topic in Topic::DATA {
            ledgers.insert(topic, store.claim(topic, 0).await.unwrap());
        }
        Self { store, ledgers }
    }

    async fn commit(&mut self, stamp: i64, changes: Vec<(Topic, Change)>) {
        for topic in Topic::DATA {
            let ledger = self.ledgers.get_mut(&topic).unwrap();
            ledger.sequence += 1;
            let of_topic = changes.iter().filter(|(of, _)| *of == topic);
            let write = |(_, change): &(Topic, Change)| Write {
                stamp: Stamp(stamp),
                change: change.clone(),
            };
            let writes = of_topic.map(write).collect();
            let commit = Commit { writes, ledger: ledger.clone(), generation: 0 };
            self.store.commit(commit).await.unwrap();
        }
    }
}

/// Half of the users are erased: those of even number.
async fn put_all_and_erase_half(workers: &mut Workers<'_>) {
    for user in 0..USERS {
        workers.commit(1, puts(user, 1)).await;
    }
    // Another version of each row.
    for user in 0..USERS {
        workers.commit(2, puts(user, 2)).await;
    }
    for user in (0..USERS).step_by(2) {
        workers.commit(3, erase(user, 3)).await;
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jnl")
}

/// How many of the users' traces are in the files, or at least a half of each.
fn found(dir: &Path, users: impl Iterator<Item = u64>, look: impl Fn(&Path) -> bool) -> usize {
    const HALF: usize = 12;
    let mut halves = HashSet::new();
    for path in files(dir).into_iter().filter(|path| look(path)) {
        // A file may vanish between the listing and the reading.
        let text = fs::read(path).unwrap_or_default();
        let runs = text.split(|byte| !byte.is_ascii_alphanumeric());
        halves.extend(runs.flat_map(|run| run.windows(HALF)).map(<[u8]>::to_vec));
    }
    let is_there = |trace: &String| trace.as_bytes().chunks_exact(HALF).any(|h| halves.contains(h));
    users.flat_map(needles).filter(is_there).count()
}

fn journals(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|path| is_journal(path)).collect()
}

/// Waits until none of these files is there.
async fn are_gone(paths: &[PathBuf]) {
    let started = Instant::now();
    while paths.iter().any(|path| path.exists()) {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn erased() -> impl Iterator<Item = u64> {
    (0..USERS).step_by(2)
}

fn kept() -> impl Iterator<Item = u64> {
    (1..USERS).step_by(2)
}

/// Of half of the users. Compression may break a few.
const TRACES: RangeInclusive<usize> = 490..=5 * USERS as usize / 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_purge_what_was_erased_is_in_no_table() {
    let dir = tempfile::tempdir().unwrap();
    let tables = |path: &Path| !is_journal(path);
    let store = EmbeddedStore::open(dir.path(), config(Duration::from_secs(3_600))).unwrap();
    put_all_and_erase_half(&mut Workers::claim(&store).await).await;
    store.purge().await.unwrap();
    assert_eq!(found(dir.path(), erased(), tables), 0);
    assert!(TRACES.contains(&found(dir.path(), kept(), tables)));
    drop(store);
    // The journal still has it all; nothing of it may come back.
    assert!(TRACES.contains(&found(dir.path(), erased(), is_journal)));
    let store = EmbeddedStore::open(dir.path(), config(Duration::from_secs(3_600))).unwrap();
    let mut workers = Workers::claim(&store).await;
    for user in USERS..2 * USERS {
        workers.commit(4, puts(user, 4)).await;
    }
    drop(workers);
    drop(store);
    assert_eq!(found(dir.path(), erased(), tables), 0);
    assert!(TRACES.contains(&found(dir.path(), kept(), tables)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_without_the_disk_for_it_changes_nothing_and_is_done_when_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let tables = |path: &Path| !is_journal(path);
    let config = config(Duration::from_secs(3_600));
    let store =
        EmbeddedStore::open(dir.path(), Config { disk_reserve_bytes: u64::MAX, ..config }).unwrap();
    put_all_and_erase_half(&mut Workers::claim(&store).await).await;
    for _ in 0..2 {
        let purged = store.purge().await;
        assert!(matches!(&purged, Err(StoreError::Unavailable(why)) if why.contains("disk")));
    }
    for user in 0..USERS {
        let events = store.events(key(user), ALL).await.unwrap();
        assert_eq!(events.len(), if user % 2 == 0 { 0 } else { 2 }, "{user}");
    }
    drop(store);
    assert!(found(dir.path(), erased(), tables) > 0);
    let store = EmbeddedStore::open(dir.path(), config).unwrap();
    store.purge().await.unwrap();
    assert_eq!(found(dir.path(), erased(), tables), 0);
    assert!(TRACES.contains(&found(dir.path(), kept(), tables)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_loses_what_was_erased_within_the_time_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let residue = Duration::from_millis(800);
    let store = EmbeddedStore::open(dir.path(), config(residue)).unwrap();
    let residues = store.residues().await.unwrap();
    assert!(residues.iter().any(|r| r.place == "store_journal" && r.lasts == Some(residue)));
    put_all_and_erase_half(&mut Workers::claim(&store).await).await;
    assert!(TRACES.contains(&found(dir.path(), erased(), is_journal)));
    let old = journals(dir.path());
    store.purge().await.unwrap();
    are_gone(&old).await;
    assert_eq!(found(dir.path(), erased(), |_| true), 0);
    assert!(TRACES.contains(&found(dir.path(), kept(), |_| true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_due_is_rid_of_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), config(Duration::from_millis(1))).unwrap();
    put_all_and_erase_half(&mut Workers::claim(&store).await).await;
    let old = journals(dir.path());
    store.purge().await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(dir.path(), config(Duration::from_millis(100))).unwrap();
    are_gone(&old).await;
    assert_eq!(found(dir.path(), erased(), |_| true), 0);
    drop(store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_during_purges_and_nothing_new_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), config(Duration::from_secs(3_600))).unwrap();
    let writes = async {
        let mut workers = Workers::claim(&store).await;
        for round in 0..5 {
            for user in 0..USERS / 2 {
                workers.commit(2 * round, erase(user, 2 * round as u64)).await;
                workers.commit(2 * round + 1, puts(user, 2 * round + 1)).await;
            }
        }
    };
    let purges = async {
        loop {
            store.purge().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = purges => unreachable!("they never end"),
        () = writes => {}
    }
    store.purge().await.unwrap();
    for user in (0..USERS / 2).map(key) {
        let events = store.events(user.clone(), ALL).await.unwrap();
        assert_eq!(events.iter().map(|e| e.stamp.0).collect::<Vec<_>>(), [9, 9], "{user:?}");
        assert!(store.profiles(vec![user.clone()]).await.unwrap()[0].is_some());
        assert_eq!(store.devices(vec![user.clone()]).await.unwrap()[0].rows.len(), 1);
        assert_eq!(store.erasures(user, Topic::Events).await.unwrap().len(), 5);
    }
}
