//! What is left of commits when the process is killed, or the end of the journal is lost.

#![expect(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::embedded::{Config, EmbeddedStore};
use millrace_store::{
    Cell, Change, Claim, Commit, EventQuery, LedgerRow, Stamp, Store, Version, Write,
};

const DIR: &str = "MILLRACE_STORE_TEST_DIR";
const PARTITIONS: u32 = 3;
/// Small, so that flushes and compactions happen while the process is killed.
const SMALL: Config = Config {
    cache_bytes: 1 << 20,
    write_buffer_bytes: 1 << 18,
    journal_bytes: 1 << 26,
    disk_reserve_bytes: 0,
    journal_residue: Duration::from_secs(3_600),
};

fn user(partition: u32) -> UserKey {
    UserKey::new("p", partition.to_string())
}

/// Commit `n` of a partition: a row in every keyspace, each saying `n`.
fn commit(last: &LedgerRow, payload_bytes: usize) -> Commit {
    let n = i64::try_from(last.frontier).unwrap();
    let version = Version { time_us: n, stamp: Stamp(n) };
    let cells = [("n".to_owned(), Cell { version, value: Some(n.to_string()) })];
    let (user, device_id) = (user(last.partition), last.partition.to_string());
    let holder = Some(user.user.clone());
    let claim = Claim { holder, linked: Some(version), received_us: 0, unlinked: None };
    // Bytes that do not compress, so that buffers fill.
    let noise = (0..payload_bytes as u64).map(|i| ((i * i * 0x9e37_79b9) >> 13) as u8);
    let changes = [
        Change::PutEvent {
            user: user.clone(),
            time_us: n,
            id: "x".into(),
            payload: Bytes::from_iter(noise),
            expires_us: i64::MAX,
        },
        Change::PutEventTime {
            user: user.clone(),
            id: n.to_string(),
            time_us: n,
            expires_us: i64::MAX,
        },
        Change::PutProfile {
            user: user.clone(),
            created_us: 0,
            updated_us: n,
            cells: cells.clone().into(),
        },
        Change::PutDevice {
            user,
            device_id: device_id.clone(),
            updated_us: n,
            cells: cells.into(),
        },
        Change::PutClaim { project: "p".into(), device_id, claim },
    ];
    let stamp = Stamp(1).at(last.frontier);
    let mut ledger = last.clone();
    ledger.sequence += 1;
    ledger.counts.add("p", Outcome::Stored, 1);
    ledger.frontier += 1;
    ledger.settled = ledger.frontier;
    ledger.resume = ledger.frontier;
    ledger.resume_counts = ledger.counts.clone();
    let writes = changes.map(|change| Write { stamp, change }).into();
    Commit { writes, ledger, generation: 0 }
}

/// Checks that every keyspace tells of the same number of commits; which.
async fn commits_of(store: &EmbeddedStore, partition: u32) -> u64 {
    let ledger = store.ledger().await.unwrap();
    let row = ledger.into_iter().find(|row| row.partition == partition);
    let row = row.unwrap_or_else(|| LedgerRow::new(Topic::Events, partition));
    let n = row.frontier;
    let last = n.checked_sub(1).map(|last| last.to_string());
    assert_eq!(row.counts.total(), n);
    let user = user(partition);
    let all = EventQuery { from_us: None, to_us: None, before: None, limit: usize::MAX };
    let events = store.events(user.clone(), all).await.unwrap();
    let times: Vec<_> = events.iter().rev().map(|e| e.time_us).collect();
    assert_eq!(times, (0..n as i64).collect::<Vec<_>>());
    let ids = (0..=n).map(|n| (user.clone(), n.to_string())).collect();
    assert_eq!(store.event_times(ids).await.unwrap().iter().flatten().count() as u64, n);
    let profile = store.profiles(vec![user.clone()]).await.unwrap().remove(0);
    assert_eq!(profile.and_then(|row| row.cells["n"].value.clone()), last);
    let mut devices = store.devices(vec![user.clone()]).await.unwrap().remove(0).rows;
    assert_eq!(devices.remove(&user.user).and_then(|row| row.cells["n"].value.clone()), last);
    let mut claims = store.claims("p", vec![user.user]).await.unwrap().remove(0);
    let linked = claims.pop().and_then(|claim| claim.linked);
    assert_eq!(linked.map(|version| version.time_us.to_string()), last);
    n
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the tests below"]
async fn commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = EmbeddedStore::open(Path::new(&dir), SMALL).unwrap();
    let workers =
        (0..PARTITIONS).map(|partition| tokio::spawn(commit_on(store.clone(), partition)));
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

/// Commits again and again, and says so, until the pipe is closed.
async fn commit_on(store: EmbeddedStore, partition: u32) {
    let mut ledger = store.claim(Topic::Events, partition).await.unwrap();
    let mut said = Ok(());
    while said.is_ok() {
        let commit = commit(&ledger, 2_000);
        ledger = commit.ledger.clone();
        store.commit(commit).await.unwrap();
        said = writeln!(std::io::stdout(), "ack {partition} {}", ledger.frontier);
    }
}

fn child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "commits_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child after so many acknowledgements; the highest of each partition.
fn kill_after(mut child: Child, acks: usize) -> [u64; PARTITIONS as usize] {
    let mut acked = [0; PARTITIONS as usize];
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut take = |line: String| {
        let mut words = line.split(' ');
        if words.next() == Some("ack") {
            let partition: usize = words.next().unwrap().parse().unwrap();
            if let Some(frontier) = words.next().and_then(|w| w.parse().ok()) {
                acked[partition] = frontier;
            }
        }
    };
    lines.by_ref().take(acks).for_each(&mut take);
    child.kill().unwrap();
    lines.for_each(take);
    child.wait().unwrap();
    acked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_whole_commits_and_all_that_were_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let acked = kill_after(child(dir.path()), 10 + round * 131 % 400);
        let store = EmbeddedStore::open(dir.path(), SMALL).unwrap();
        for (partition, acked) in (0..).zip(acked) {
            let n = commits_of(&store, partition).await;
            // The last line may have been cut short in the pipe, and is not an acknowledgement.
            assert!(n >= acked, "round {round}, partition {partition}: {n} of {acked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_makes_the_store_leaves_one_that_opens() {
    for micros in (0..20).map(|i| i * 12_000) {
        let dir = tempfile::tempdir().unwrap();
        let mut child = child(dir.path());
        // The time of the fault, not of anything awaited.
        std::thread::sleep(std::time::Duration::from_micros(micros));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = EmbeddedStore::open(dir.path(), SMALL)
            .unwrap_or_else(|e| panic!("killed after {micros} us: {e}"));
        for partition in 0..PARTITIONS {
            commits_of(&store, partition).await;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A closed store of two commits, and the bytes of its journal after the first and the second.
async fn two_commits(dir: &Path) -> (PathBuf, usize, usize) {
    let journal = dir.join("0.jnl");
    // The journal is made longer than what is written to it.
    let used = || fs::read(&journal).unwrap().iter().rposition(|b| *b != 0).unwrap() + 1;
    let store = EmbeddedStore::open(dir, SMALL).unwrap();
    let first = commit(&store.claim(Topic::Events, 0).await.unwrap(), 30);
    let second = commit(&first.ledger, 30);
    store.commit(first).await.unwrap();
    let before = used();
    store.commit(second).await.unwrap();
    (journal.clone(), before, used())
}

/// Opens a store of two commits whose journal was cut within the second, and went on with zeroes.
async fn tear(zeroes: usize) {
    let dir = tempfile::tempdir().unwrap();
    let (journal, before, after) = two_commits(&dir.path().join("whole")).await;
    let whole = fs::read(journal).unwrap();
    for cut in (before..after).step_by(7).chain([after - 1, after]) {
        let torn = dir.path().join("torn");
        copy(&dir.path().join("whole"), &torn);
        let mut bytes = whole[..cut].to_vec();
        bytes.resize(cut + zeroes, 0);
        fs::write(torn.join("0.jnl"), bytes).unwrap();
        let store = EmbeddedStore::open(&torn, SMALL).unwrap();
        let commits = commits_of(&store, 0).await;
        assert_eq!(commits, if cut < after { 1 } else { 2 }, "{cut} of {before}..{after}");
        drop(store);
        fs::remove_dir_all(torn).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_torn_at_any_byte_is_not_there() {
    tear(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_commit_before_preallocated_space_is_not_there() {
    tear(5_000).await;
}
