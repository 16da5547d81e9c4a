//! How fast the embedded store applies commits: events of random users, merges of profiles,
//! deletions of users. 1,000 writes a commit, and the sync that workers make now and then.

#![expect(clippy::unwrap_used, reason = "a bench may fail at any step")]

use std::cell::RefCell;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millrace_schema::{Topic, UserKey};
use millrace_store::embedded::{Config, EmbeddedStore};
use millrace_store::{Cell, Change, Commit, LedgerRow, Stamp, Store, Version, Write};
use tokio::runtime::Runtime;

const WRITES: u64 = 1_000;
const USERS: u64 = 100_000;
const PAYLOAD: &[u8] = &[b'x'; 300];

/// A store with one worker.
struct Bench {
    runtime: Runtime,
    store: EmbeddedStore,
    ledger: LedgerRow,
    random: u64,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let store = EmbeddedStore::open(dir.path(), Config::default()).unwrap();
        let ledger = runtime.block_on(store.claim(Topic::Events, 0)).unwrap();
        Self { runtime, store, ledger, random: 0, _dir: dir }
    }

    /// A user at random (a Weyl sequence through a multiplicative mix, the same at each run).
    fn user(&mut self) -> UserKey {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        UserKey::new("bench", format!("user-{}", (mixed >> 32) % USERS))
    }

    /// The next commit, of one change for each of the next offsets.
    fn next(&mut self, changes: Vec<Change>) -> Commit {
        let first = self.ledger.frontier;
        self.ledger.sequence += 1;
        self.ledger.frontier += changes.len() as u64;
        let writes = (first..).zip(changes);
        let writes = writes.map(|(n, change)| Write { stamp: Stamp(1).at(n), change }).collect();
        Commit { writes, ledger: self.ledger.clone(), generation: 0 }
    }

    fn events(&mut self) -> Commit {
        let first = self.ledger.frontier;
        let put = |(n, user)| Change::PutEvent {
            user,
            time_us: 1_700_000_000_000_000 + n as i64,
            id: format!("0192f0c0-0000-7000-8000-{n:012}"),
            payload: Bytes::from_static(PAYLOAD),
            expires_us: i64::MAX,
        };
        let users: Vec<_> = (first..first + WRITES).map(|n| (n, self.user())).collect();
        self.next(users.into_iter().map(put).collect())
    }

    fn profiles(&mut self) -> Commit {
        let n = self.ledger.frontier as i64;
        let version = Version { time_us: n, stamp: Stamp(n) };
        let cell = Cell { version, value: Some("\"a value of some length\"".into()) };
        let names = ["mkt_name", "mkt_email", "mkt_grade"];
        let cells = names.map(|name| (name.to_owned(), cell.clone()));
        let put = |user| Change::PutProfile {
            user,
            created_us: 1,
            updated_us: n,
            cells: cells.clone().into(),
        };
        let users: Vec<_> = (0..WRITES).map(|_| self.user()).collect();
        self.next(users.into_iter().map(put).collect())
    }

    fn deletions(&mut self) -> Commit {
        let users: Vec<_> = (0..WRITES).map(|_| self.user()).collect();
        self.next(users.into_iter().map(|user| Change::EraseEvents { user }).collect())
    }

    fn commit(&self, commit: Commit) {
        self.runtime.block_on(self.store.commit(commit)).unwrap();
    }
}

/// Measures commits that `make` makes; whatever it commits itself is not measured.
fn measure(criterion: &mut Criterion, name: &str, make: impl Fn(&mut Bench) -> Commit) {
    let bench = RefCell::new(Bench::new());
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(WRITES));
    group.bench_function(name, |b| {
        b.iter_batched(
            || make(&mut bench.borrow_mut()),
            |commit| bench.borrow().commit(commit),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn apply(criterion: &mut Criterion) {
    measure(criterion, "events", Bench::events);
    measure(criterion, "profiles", Bench::profiles);
    // Ten times as many events as deletions: about ten events a user.
    measure(criterion, "user deletions", |bench| {
        for _ in 0..10 {
            let events = bench.events();
            bench.commit(events);
        }
        bench.deletions()
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = apply
}
criterion_main!(benches);
