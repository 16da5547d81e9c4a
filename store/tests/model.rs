//! Random commits, in any order, against a model that keeps every record and works out at each
//! step what must be seen: of each cell the write with the largest stamp, if no erasure stands
//! at or above it.

#![expect(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_schema::{Topic, UserKey};
use millrace_store::embedded::{Config, EmbeddedStore};
use millrace_store::{
    Cell, Change, Claim, Commit, EventQuery, LedgerRow, Stamp, Store, Version, Write,
};
use proptest::prelude::*;

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
    Reopen,
}

fn record() -> impl Strategy<Value = Record> {
    let user = prop::sample::select(vec![("p", "u"), ("p", "u1"), ("pu", "")]);
    let deed = prop_oneof![
        4 => (-2_i64..2, 0_u8..3).prop_map(|(time_us, id)| Deed::Event { time_us, id }),
        2 => Just(Deed::EraseEvents),
        4 => (0_u8..8).prop_map(|names| Deed::Profile { names }),
        2 => Just(Deed::EraseProfile),
        4 => (0_usize..3, 0_u8..8).prop_map(|(device, names)| Deed::Device { device, names }),
        1 => Just(Deed::EndLife),
        1 => Just(Deed::EraseDevices),
    ];
    (user, deed).prop_map(|((p, u), deed)| Record { user: UserKey::new(p, u), deed })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..30, 1_usize..12).prop_map(|(from, len)| Step::Commit { from, len }),
        1 => Just(Step::Claim),
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
    let cell = || Cell { version, value: Some(n.to_string()) };
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
            let claim = Claim { holder, linked: Some(version), unlinked: None };
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
            Deed::EndLife => {
                seen.retain(|key, _| !key.starts_with("device"));
                seen.insert("life".into(), n);
            }
            Deed::EraseDevices => {
                seen.retain(|key, _| !key.starts_with("device") && !key.starts_with("claim"));
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

/// The topic of a deed is not told apart: one partition applies them all, as the rules are the same.
async fn run(history: &[Record], steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = EmbeddedStore::open(dir.path(), Config::default()).unwrap();
    let mut ledger = store.claim(Topic::Events, 0).await.unwrap();
    let mut applied = BTreeMap::new();
    for step in steps {
        match step {
            Step::Commit { from, len } => {
                let records = history.iter().enumerate().skip(from).take(len);
                let writes = records.clone().flat_map(|(at, record)| {
                    let stamp = Stamp(at as i64);
                    changes(at, record).into_iter().map(move |change| Write { stamp, change })
                });
                ledger = LedgerRow { sequence: ledger.sequence + 1, ..ledger };
                let commit =
                    Commit { writes: writes.collect(), ledger: ledger.clone(), generation: 0 };
                store.commit(commit).await.unwrap();
                applied.extend(records.map(|(at, record)| (at, record.clone())));
            }
            Step::Claim => ledger = store.claim(Topic::Events, 0).await.unwrap(),
            Step::Reopen => {
                drop(store);
                store = EmbeddedStore::open(dir.path(), Config::default()).unwrap();
                assert_eq!(store.ledger().await.unwrap(), std::slice::from_ref(&ledger));
            }
        }
        for (project, user) in [("p", "u"), ("p", "u1"), ("pu", "")] {
            let user = UserKey::new(project, user);
            assert_eq!(actual(&store, &user).await, expected(&applied, &user), "{user:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_seen_depends_on_the_stamps_and_not_on_the_order(
        history in prop::collection::vec(record(), 30),
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&history, steps));
    }
}
