//! Profiles.

use millrace_schema::Topic;
use millrace_store::{Cell, Change, ProfileRow, Stamp, Store, Version};

use super::{Worker, cell, cells, put_profile, read_profile, user};

pub(crate) async fn a_merge_sets_its_cells_and_leaves_the_others<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Profiles, 1).await;
    let u = user("u");
    let removed = Cell { version: Version { time_us: 9, stamp: Stamp(4) }, value: None };
    worker
        .commit([(0, put_profile(&u, 5, cells([("a", cell(1, "1")), ("", cell(1, "\"x\""))])))])
        .await;
    worker
        .commit([(1, put_profile(&u, 6, cells([("a", cell(2, "2")), ("b", removed.clone())])))])
        .await;
    let row = ProfileRow {
        stamp: worker.stamp(1),
        created_us: 1,
        updated_us: 6,
        cells: cells([("a", cell(2, "2")), ("", cell(1, "\"x\"")), ("b", removed)]),
    };
    let read = store.profiles(vec![user("nobody"), u.clone(), u]).await.unwrap();
    assert_eq!(read, [None, Some(row.clone()), Some(row)]);
}

pub(crate) async fn a_profile_without_properties_is_registered<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Profiles, 1).await;
    worker.commit([(0, put_profile(&user("u"), 5, cells([])))]).await;
    let (stamp, cells) = (worker.stamp(0), cells([]));
    let row = ProfileRow { stamp, created_us: 1, updated_us: 5, cells };
    assert_eq!(store.profiles(vec![user("u"), user("u1")]).await.unwrap(), [Some(row), None]);
}

pub(crate) async fn an_erased_profile_starts_afresh<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Profiles, 1).await;
    let u = user("u");
    let erase = Change::EraseProfile { user: u.clone() };
    worker.commit([(0, put_profile(&u, 5, cells([("a", cell(9, "1"))])))]).await;
    worker.commit([(1, erase.clone())]).await;
    assert_eq!(store.profiles(vec![u.clone()]).await.unwrap(), [None]);
    worker
        .commit([
            (2, put_profile(&u, 6, cells([("b", cell(1, "2"))]))),
            (3, erase),
            (4, put_profile(&u, 7, cells([("c", cell(1, "3"))]))),
        ])
        .await;
    assert_eq!(read_profile(store, &u).await, [("c".into(), "3".into())].into());
}

pub(crate) async fn the_larger_stamp_decides_cell_by_cell<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Profiles, 1).await;
    let u = user("u");
    worker.commit([(7, put_profile(&u, 7, cells([("a", cell(1, "new"))])))]).await;
    let older = cells([("a", cell(9, "old")), ("b", cell(1, "only"))]);
    worker.commit([(5, put_profile(&u, 5, older))]).await;
    let row = store.profiles(vec![u]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.updated_us, 7);
    assert_eq!(row.cells, cells([("a", cell(1, "new")), ("b", cell(1, "only"))]));
}

pub(crate) async fn many_profiles_are_read_in_the_order_asked_for<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Profiles, 1).await;
    let users: Vec<_> = (0..50).map(|n| user(&format!("u{}", n * 37 % 50))).collect();
    let is_stored = |n: &usize| !n.is_multiple_of(3);
    let stored = (0..users.len()).filter(is_stored);
    let name = |n: usize| cells([("n", cell(1, &n.to_string()))]);
    let puts: Vec<_> = stored.map(|n| (n as u64, put_profile(&users[n], 1, name(n)))).collect();
    worker.commit(puts).await;
    let read = store.profiles(users.clone()).await.unwrap();
    let read: Vec<_> = read.into_iter().map(|row| row.map(|row| row.cells)).collect();
    let expected: Vec<_> = (0..users.len()).map(|n| is_stored(&n).then(|| name(n))).collect();
    assert_eq!(read, expected);
}
