//! Random commits, in any order, against a model that keeps every record and works out at each
//! step what must be seen: of each cell the write with the largest stamp, if no erasure stands
//! at or above it.

#![expect(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use millrace_schema::{Topic, UserKey};
use millrace_store::embedded::{self, EmbeddedStore};
use millrace_store::{Change, Claim, Commit, EventQuery, Stamp, Store, Version, Write};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const DEVICES: [&str; 3] = ["d", "d1", ""];
const NAMES: [&str; 3] = ["a", "ab", ""];

/// What a record of the history does to its user.
#[derive(Clone, Debug)]
enum Deed {
    Event { time_us: i64, id: u8 },
    EraseEvents,
    Profile { names: u8 },
    EraseProfile,
    Device { device: usize, names: u8 },
    EndLife,
    EraseDevices,
}

#[derive(Clone, Debug)]
struct Record {
    user: UserKey,
    deed: Deed,
}

/// What happens to the store.
#[derive(Clone, Debug)]
enum Step {
    /// Records from..from+len of the history in one commit.
    Commit {
        from: usize,
        len: usize,
    },
    Claim,
    Purge,
    Reopen,
}

/// Users of a case, of similar ids.
fn users(case: u32) -> [UserKey; 3] {
    let project = format!("{case}.");
    [
        UserKey::new(&project, "u"),
        UserKey::new(&project, "u1"),
        UserKey::new(format!("{project}u"), ""),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (-2_i64..2, 0_u8..3).prop_map(|(time_us, id)| Deed::Event { time_us, id }),
        2 => Just(Deed::EraseEvents),
        4 => (0_u8..8).prop_map(|names| Deed::Profile { names }),
        2 => Just(Deed::EraseProfile),
        4 => (0_usize..3, 0_u8..8).prop_map(|(device, names)| Deed::Device { device, names }),
        1 => Just(Deed::EndLife),
        1 => Just(Deed::EraseDevices),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..30, 1_usize..12).prop_map(|(from, len)| Step::Commit { from, len }),
        1 => Just(Step::Claim),
        1 => Just(Step::Purge),
        1 => Just(Step::Reopen),
    ]
}

fn named(names: u8) -> impl Iterator<Item = &'static str> {
    (0..).zip(NAMES).filter(move |(i, _)| names & (1 << i) != 0).map(|(_, name)| name)
}

fn changes(at: usize, record: &Record) -> Vec<Change> {
    let n = at as i64;
    let user = record.user.clone();
    let version = Version { time_us: n, stamp: Stamp(n) };
    let cell = || millrace_store::Cell { version, value: Some(n.to_string()) };
    let cells = |names| named(names).map(|name| (name.to_owned(), cell())).collect();
    match &record.deed {
        Deed::Event { time_us, id } => vec![
            Change::PutEvent {
                user: user.clone(),
                time_us: *time_us,
                id: id.to_string(),
                payload: Bytes::from(n.to_string()),
                expires_us: i64::MAX,
            },
            Change::PutEventTime {
                user,
                id: id.to_string(),
                time_us: *time_us,
                expires_us: i64::MAX,
            },
        ],
        Deed::EraseEvents => vec![Change::EraseEvents { user }],
        Deed::Profile { names } => {
            vec![Change::PutProfile { user, created_us: n, updated_us: n, cells: cells(*names) }]
        }
        Deed::EraseProfile => vec![Change::EraseProfile { user }],
        Deed::Device { device, names } => {
            let device_id = DEVICES[*device].to_owned();
            let holder = Some(user.user.clone());
            let claim = Claim { holder, linked: Some(version), received_us: 0, unlinked: None };
            let project = user.project.clone();
            vec![
                Change::PutDevice {
                    user,
                    device_id: device_id.clone(),
                    updated_us: n,
                    cells: cells(*names),
                },
                Change::PutClaim { project, device_id, claim },
            ]
        }
        Deed::EndLife => vec![Change::EndLife { user }],
        Deed::EraseDevices => DEVICES
            .map(|d| Change::EraseClaim { user: user.clone(), device_id: d.to_owned() })
            .into_iter()
            .chain([Change::EraseDevices { user: user.clone() }])
            .collect(),
    }
}

/// Everything of one user that can be read, as text.
type Seen = BTreeMap<String, String>;

/// What must be seen of a user, given the records applied so far.
fn expected(applied: &BTreeMap<usize, Record>, user: &UserKey) -> Seen {
    let mut seen = Seen::new();
    for (at, record) in applied.iter().filter(|(_, record)| record.user == *user) {
        let n = at.to_string();
        match &record.deed {
            Deed::Event { time_us, id } => {
                seen.insert(format!("event {time_us} {id}"), n);
                seen.insert(format!("event-time {id}"), time_us.to_string());
            }
            Deed::EraseEvents => seen.retain(|key, _| !key.starts_with("event")),
            Deed::Profile { names } => {
                seen.insert("profile".into(), format!("{n} {n}"));
                seen.extend(named(*names).map(|name| (format!("profile {name}"), n.clone())));
            }
            Deed::EraseProfile => seen.retain(|key, _| !key.starts_with("profile")),
            Deed::Device { device, names } => {
                let device = DEVICES[*device];
                seen.insert(format!("device {device}"), n.clone());
                seen.insert(format!("claim {device}"), n.clone());
                let cells =
                    named(*names).map(|name| (format!("device {device} {name}"), n.clone()));
                seen.extend(cells);
            }
            // Here claims die with the life.
            Deed::EndLife | Deed::EraseDevices => {
                seen.retain(|key, _| !key.starts_with("device") && !key.starts_with("claim"));
                seen.insert("life".into(), n);
            }
        }
    }
    seen
}

async fn actual(store: &EmbeddedStore, user: &UserKey) -> Seen {
    let mut seen = Seen::new();
    let all = EventQuery { from_us: None, to_us: None, before: None, limit: 100 };
    for event in store.events(user.clone(), all).await.unwrap() {
        let payload = String::from_utf8(event.payload.to_vec()).unwrap();
        seen.insert(format!("event {} {}", event.time_us, event.id), payload);
    }
    let ids = (0..3).map(|id| (user.clone(), id.to_string())).collect();
    for (id, time_us) in (0..).zip(store.event_times(ids).await.unwrap()) {
        seen.extend(time_us.map(|t| (format!("event-time {id}"), t.to_string())));
    }
    if let Some(row) = store.profiles(vec![user.clone()]).await.unwrap().remove(0) {
        seen.insert("profile".into(), format!("{} {}", row.created_us, row.updated_us));
        seen.extend(row.cells.into_iter().map(|(n, c)| (format!("profile {n}"), c.value.unwrap())));
    }
    let devices = store.devices(vec![user.clone()]).await.unwrap().remove(0);
    seen.extend(devices.life.map(|life| ("life".into(), life.0.to_string())));
    for (id, row) in devices.rows {
        seen.insert(format!("device {id}"), row.updated_us.to_string());
        let cells = row.cells.into_iter();
        seen.extend(cells.map(|(name, c)| (format!("device {id} {name}"), c.value.unwrap())));
    }
    let claims = store.claims(&user.project, DEVICES.map(str::to_owned).into()).await.unwrap();
    for (device, claims) in DEVICES.iter().zip(claims) {
        let own = claims.into_iter().find(|claim| claim.holder.as_ref() == Some(&user.user));
        let linked = own.and_then(|claim| claim.linked);
        seen.extend(linked.map(|v| (format!("claim {device}"), v.time_us.to_string())));
    }
    seen
}

/// One partition of the store, and users whose ids nobody else has.
struct Case<'d> {
    dir: &'d Path,
    partition: u32,
}

impl Case<'_> {
    fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(self.dir, embedded::Config::default()).unwrap()
    }

    /// Applies the steps. The topics of deeds are not told apart: the rules are the same.
    async fn run(&self, history: &[Record], steps: Vec<Step>) {
        let mut store = self.open();
        let mut ledger = store.claim(Topic::Events, self.partition).await.unwrap();
        let mut applied = BTreeMap::new();
        for step in steps {
            match step {
                Step::Commit { from, len } => {
                    let records = history.iter().enumerate().skip(from).take(len);
                    let writes = records.clone().flat_map(|(at, record)| {
                        let stamp = Stamp(at as i64);
                        changes(at, record).into_iter().map(move |change| Write { stamp, change })
                    });
                    ledger.sequence += 1;
                    let writes = writes.collect();
                    store
                        .commit(Commit { writes, ledger: ledger.clone(), generation: 0 })
                        .await
                        .unwrap();
                    applied.extend(records.map(|(at, record)| (at, record.clone())));
                }
                Step::Claim => ledger = store.claim(Topic::Events, self.partition).await.unwrap(),
                Step::Purge => store.purge().await.unwrap(),
                Step::Reopen => {
                    drop(store);
                    store = self.open();
                    assert!(store.ledger().await.unwrap().contains(&ledger));
                }
            }
            for user in users(self.partition) {
                assert_eq!(actual(&store, &user).await, expected(&applied, &user), "{user:?}");
            }
        }
    }
}

#[test]
fn what_is_seen_depends_on_the_stamps_and_not_on_the_order() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let partitions = Cell::new(0);
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let strategy =
        (prop::collection::vec((0_usize..3, deed()), 30), prop::collection::vec(step(), 1..12));
    let tested = TestRunner::new(config).run(&strategy, |(history, steps)| {
        let partition = partitions.replace(partitions.get() + 1);
        let users = users(partition);
        let record = |(user, deed): (usize, Deed)| Record { user: users[user].clone(), deed };
        let history: Vec<_> = history.into_iter().map(record).collect();
        runtime.block_on(Case { dir: dir.path(), partition }.run(&history, steps));
        Ok(())
    });
    tested.unwrap();
}
