//! A worker that starts over: the same records again, onto what later ones have left.

use millrace_schema::{Topic, UserKey};
use millrace_store::{Change, Devices, Erasure, EventRow, ProfileRow, Store};
use uuid::Uuid;

use super::{
    ALL, Worker, cell, cells, erase_events, put_claim, put_device, put_event, put_event_time,
    put_profile, read_claims, user,
};

/// Everything of two users that can be read.
#[derive(Debug, PartialEq)]
struct Seen {
    events: Vec<Vec<EventRow>>,
    times: Vec<Option<i64>>,
    profiles: Vec<Option<ProfileRow>>,
    devices: Vec<Devices>,
    claims: Vec<Vec<(Option<String>, i64)>>,
    erasures: Vec<Erasure>,
}

async fn see<S: Store>(store: &S) -> Seen {
    let users = vec![user("u"), user("v")];
    let mut events = Vec::new();
    for user in &users {
        events.push(store.events(user.clone(), ALL).await.unwrap());
    }
    let ids = ["a", "b", "c"].map(|id| (user("u"), id.to_owned()));
    Seen {
        events,
        times: store.event_times(ids.into()).await.unwrap(),
        profiles: store.profiles(users.clone()).await.unwrap(),
        devices: store.devices(users).await.unwrap(),
        claims: vec![read_claims(store, "d").await, read_claims(store, "e").await],
        erasures: store.erasures(user("u"), Topic::Events).await.unwrap(),
    }
}

fn events(u: &UserKey, v: &UserKey) -> Vec<(u64, Change)> {
    let erasure = Erasure { job: Uuid::from_u128(1), offset: 3, received_us: 1 };
    vec![
        (0, put_event(u, 1, "a", "erased")),
        (0, put_event_time(u, "a", 1)),
        (1, put_event(v, 1, "x", "replaced")),
        (2, put_event(u, 2, "b", "erased")),
        (3, erase_events(u)),
        (3, Change::PutErasure { user: u.clone(), topic: Topic::Events, erasure }),
        (4, put_event(u, 1, "a", "again")),
        (4, put_event_time(u, "a", 1)),
        (5, put_event(v, 1, "x", "kept")),
        (6, put_event(u, 3, "c", "kept")),
    ]
}

fn profiles(u: &UserKey, v: &UserKey) -> Vec<(u64, Change)> {
    vec![
        (0, put_profile(u, 1, cells([("a", cell(9, "erased")), ("b", cell(9, "erased"))]))),
        (1, put_profile(v, 1, cells([("a", cell(1, "replaced")), ("b", cell(1, "kept"))]))),
        (2, Change::EraseProfile { user: u.clone() }),
        (3, put_profile(u, 3, cells([("a", cell(1, "new"))]))),
        (4, put_profile(v, 4, cells([("a", cell(2, "new"))]))),
    ]
}

fn devices(u: &UserKey, v: &UserKey) -> Vec<(u64, Change)> {
    vec![
        (0, put_device(u, "d", 1, cells([("a", cell(9, "erased"))]))),
        (0, put_claim(Some("u"), "d", 1)),
        (1, put_device(u, "e", 1, cells([]))),
        (1, put_claim(Some("u"), "e", 2)),
        (2, put_device(v, "d", 2, cells([]))),
        (2, put_claim(Some("v"), "d", 3)),
        (3, Change::EraseClaim { user: u.clone(), device_id: "d".into() }),
        (3, Change::EraseClaim { user: u.clone(), device_id: "e".into() }),
        (3, Change::EndLife { user: u.clone() }),
        (4, put_device(u, "d", 4, cells([("b", cell(1, "new"))]))),
        (4, put_claim(Some("u"), "d", 4)),
        (3, Change::EraseDevices { user: u.clone() }),
    ]
}

pub(crate) async fn a_replay_ends_the_same_and_never_shows_what_was_erased<S: Store>(store: &S) {
    let (u, v) = (user("u"), user("v"));
    let histories = [
        (Topic::Events, events(&u, &v)),
        (Topic::Profiles, profiles(&u, &v)),
        (Topic::Devices, devices(&u, &v)),
    ];
    for (topic, history) in &histories {
        let mut worker = Worker::claim(store, *topic, 0).await;
        for change in history.clone() {
            worker.commit([change]).await;
        }
    }
    let seen = see(store).await;
    assert_eq!(seen.events[0].iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(seen.claims, [vec![(Some("u".into()), 4), (Some("v".into()), 3)], vec![]]);
    for (topic, history) in &histories {
        let mut worker = Worker::claim(store, *topic, 0).await;
        for (i, change) in history.clone().into_iter().enumerate() {
            worker.commit([change]).await;
            assert_eq!(see(store).await, seen, "{topic}, change {i}, one a commit");
        }
        let mut worker = Worker::claim(store, *topic, 0).await;
        worker.commit(history.clone()).await;
        assert_eq!(see(store).await, seen, "{topic}, all in one commit");
        for change in history.clone().into_iter().rev() {
            worker.commit([change]).await;
            assert_eq!(see(store).await, seen, "{topic}, backwards");
        }
    }
}

pub(crate) async fn one_commit_does_what_many_do<S: Store>(store: &S) {
    let (u, v) = (user("u"), user("v"));
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    worker.commit(events(&u, &v)).await;
    let mut worker = Worker::claim(store, Topic::Profiles, 0).await;
    worker.commit(profiles(&u, &v)).await;
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    worker.commit(devices(&u, &v)).await;
    let once = see(store).await;
    for (topic, history) in [
        (Topic::Events, events(&u, &v)),
        (Topic::Profiles, profiles(&u, &v)),
        (Topic::Devices, devices(&u, &v)),
    ] {
        let mut worker = Worker::claim(store, topic, 0).await;
        for change in history {
            worker.commit([change]).await;
        }
    }
    assert_eq!(see(store).await, once);
}

pub(crate) async fn a_purge_changes_nothing_that_is_seen<S: Store>(store: &S) {
    let (u, v) = (user("u"), user("v"));
    let histories = [
        (Topic::Events, events(&u, &v)),
        (Topic::Profiles, profiles(&u, &v)),
        (Topic::Devices, devices(&u, &v)),
    ];
    store.purge().await.unwrap();
    for (topic, history) in &histories {
        Worker::claim(store, *topic, 0).await.commit(history.clone()).await;
    }
    let seen = see(store).await;
    for _ in 0..2 {
        store.purge().await.unwrap();
        assert_eq!(see(store).await, seen);
        for (topic, history) in &histories {
            let mut worker = Worker::claim(store, *topic, 0).await;
            for change in history.clone() {
                worker.commit([change]).await;
                assert_eq!(see(store).await, seen, "{topic}");
            }
        }
    }
}

pub(crate) async fn what_remains_of_the_erased_is_named_with_a_date_but_for_their_ids<S: Store>(
    store: &S,
) {
    let residues = store.residues().await.unwrap();
    let undated: Vec<&str> =
        residues.iter().filter(|r| r.lasts.is_none()).map(|r| r.place).collect();
    assert_eq!((undated, residues.len()), (vec!["store_erasures"], 2));
}
