//! Devices, lives and claims.

use millrace_schema::{Topic, UserKey};
use millrace_store::{Change, Claim, DeviceRow, Stamp, Store, Version};

use super::{Worker, cell, cells, put_claim, put_device, read_claims, read_devices, user};

pub(crate) async fn devices_are_kept_by_user_and_merge_cell_by_cell<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    let (u, v) = (user("u"), user("v"));
    worker
        .commit([
            (0, put_device(&u, "d", 1, cells([("platform", cell(1, "ios")), ("x", cell(1, "1"))]))),
            (1, put_device(&u, "d1", 2, cells([]))),
            (2, put_device(&v, "d", 3, cells([("platform", cell(1, "web"))]))),
        ])
        .await;
    worker.commit([(3, put_device(&u, "d", 4, cells([("x", cell(2, "2"))])))]).await;
    let read = store.devices(vec![v, user("w"), u]).await.unwrap();
    assert_eq!(read[0].rows.keys().collect::<Vec<_>>(), ["d"]);
    assert_eq!(read[1].rows.len(), 0);
    let d = DeviceRow {
        updated_us: 4,
        cells: cells([("platform", cell(1, "ios")), ("x", cell(2, "2"))]),
    };
    let d1 = DeviceRow { updated_us: 2, cells: cells([]) };
    assert_eq!(read[2].rows, [("d".into(), d), ("d1".into(), d1)].into());
    assert_eq!(read[2].life, None);
}

pub(crate) async fn a_life_that_ended_hides_what_is_stamped_at_or_below_it<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    let u = user("u");
    worker
        .commit([
            (0, put_device(&u, "d", 1, cells([("a", cell(1, "old"))]))),
            (2, put_device(&u, "gone", 1, cells([]))),
            (2, Change::EndLife { user: u.clone() }),
        ])
        .await;
    let devices = store.devices(vec![u.clone()]).await.unwrap().remove(0);
    assert_eq!((devices.life, devices.rows.len()), (Some(worker.stamp(2)), 0));
    worker.commit([(3, put_device(&u, "d", 2, cells([("b", cell(1, "new"))])))]).await;
    let new = [("d".to_owned(), [("b".to_owned(), "new".to_owned())].into())].into();
    assert_eq!(read_devices(store, &u).await, new, "a cell of the old life stays hidden");
    // The second step comes when the first has settled: its stamp is the marker's.
    worker.commit([(2, Change::EraseDevices { user: u.clone() })]).await;
    assert_eq!(read_devices(store, &u).await, new);
    worker.commit([(1, Change::EndLife { user: u.clone() })]).await;
    assert_eq!(read_devices(store, &u).await, new, "an older end changes nothing");
}

pub(crate) async fn erased_devices_are_gone<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    let u = user("u");
    worker
        .commit([
            (0, put_device(&u, "a", 1, cells([("x", cell(1, "1"))]))),
            (1, Change::EraseDevices { user: u.clone() }),
            (2, put_device(&u, "b", 2, cells([]))),
        ])
        .await;
    assert_eq!(read_devices(store, &u).await, [("b".into(), [].into())].into());
    worker.commit([(3, Change::EraseDevices { user: u.clone() })]).await;
    assert!(read_devices(store, &u).await.is_empty());
}

pub(crate) async fn a_device_that_moves_is_claimed_by_both_and_by_nobody<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    worker
        .commit([
            (0, put_claim(Some("u"), "d", 1)),
            (1, put_claim(Some("uv"), "d", 2)),
            (2, put_claim(None, "d", 3)),
            (3, put_claim(Some("u"), "d2", 4)),
            (4, put_claim(Some("u"), "d", 5)),
        ])
        .await;
    let claims = [(None, 3), (Some("u".into()), 5), (Some("uv".into()), 2)];
    assert_eq!(read_claims(store, "d").await, claims);
    let devices = ["d2", "unknown", "d"].map(str::to_owned);
    let read = store.claims("p", devices.into()).await.unwrap();
    assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 3]);
    assert!(store.claims("p2", vec!["d".into()]).await.unwrap()[0].is_empty());
}

pub(crate) async fn a_claim_is_read_back_as_it_was_put<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    let version = |n: i64| Version { time_us: -n, stamp: Stamp(n) };
    let claim = Claim {
        holder: Some("u\0\"".into()),
        linked: Some(version(4)),
        received_us: 9,
        unlinked: Some(version(7)),
    };
    let put =
        Change::PutClaim { project: "p".into(), device_id: "gaid:1".into(), claim: claim.clone() };
    worker.commit([(0, put)]).await;
    assert_eq!(store.claims("p", vec!["gaid:1".into()]).await.unwrap(), [vec![claim]]);
}

pub(crate) async fn a_claim_is_erased_at_or_below_a_stamp<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    let erase = |user: UserKey| Change::EraseClaim { user, device_id: "d".into() };
    worker.commit([(0, put_claim(Some("u"), "d", 1)), (1, put_claim(Some("v"), "d", 2))]).await;
    worker.commit([(2, put_claim(None, "d", 3)), (3, erase(user("u")))]).await;
    assert_eq!(read_claims(store, "d").await, [(None, 3), (Some("v".into()), 2)]);
    worker.commit([(0, erase(user("v")))]).await;
    assert_eq!(read_claims(store, "d").await, [(None, 3), (Some("v".into()), 2)]);
    worker
        .commit([
            (4, put_claim(Some("u"), "d", 4)),
            (5, erase(user("u"))),
            (6, put_claim(Some("u"), "d", 6)),
        ])
        .await;
    let claims = [(None, 3), (Some("u".into()), 6), (Some("v".into()), 2)];
    assert_eq!(read_claims(store, "d").await, claims);
}

pub(crate) async fn a_device_that_moves_back_and_forth_is_the_last_ones<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    let erase = |id: &str| Change::EraseClaim { user: user(id), device_id: "d".into() };
    let moves = [
        (put_claim(Some("u"), "d", 1), Some("u")),
        (put_claim(Some("v"), "d", 2), Some("v")),
        (put_claim(Some("u"), "d", 3), Some("u")),
        (put_claim(None, "d", 4), None),
        (put_claim(Some("v"), "d", 5), Some("v")),
        (erase("v"), None),
        (put_claim(Some("u"), "d", 7), Some("u")),
        (erase("v"), Some("u")),
    ];
    for (offset, (change, owner)) in (0..).zip(moves) {
        worker.commit([(offset, change)]).await;
        let claims = store.claims("p", vec!["d".into()]).await.unwrap().remove(0);
        assert_eq!(Claim::owner(&claims), owner, "after {offset}: {claims:?}");
    }
}

pub(crate) async fn many_users_devices_and_claims_are_read_in_the_order_asked_for<S: Store>(
    store: &S,
) {
    let mut worker = Worker::claim(store, Topic::Devices, 0).await;
    let ids: Vec<String> = (0..50).map(|n| format!("{}", n * 37 % 50)).collect();
    let users: Vec<_> = ids.iter().map(|id| user(id)).collect();
    let devices = |n: usize| (0..n % 4).map(move |device| format!("d{device}"));
    let rows = (0..users.len()).flat_map(|n| {
        let put = |device: String| put_device(&users[n], &device, 1, cells([("x", cell(1, "1"))]));
        let claims = (0..n % 3).map(|holder| put_claim(Some(&holder.to_string()), &ids[n], 7));
        let puts: Vec<_> = devices(n).map(put).chain(claims).collect();
        puts.into_iter().map(move |put| (n as u64, put))
    });
    worker.commit(rows.collect::<Vec<_>>()).await;
    for (n, read) in store.devices(users.clone()).await.unwrap().into_iter().enumerate() {
        assert!(read.rows.into_keys().eq(devices(n)), "of user {n}");
    }
    for (n, claims) in store.claims("p", ids).await.unwrap().into_iter().enumerate() {
        let mut holders: Vec<_> = claims.into_iter().filter_map(|claim| claim.holder).collect();
        holders.sort();
        assert!(holders.into_iter().eq((0..n % 3).map(|holder| holder.to_string())), "of {n}");
    }
}
