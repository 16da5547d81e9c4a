//! Events and the times of ids.

use bytes::Bytes;
use millrace_schema::time::wall_clock_us;
use millrace_schema::{Topic, UserKey};
use millrace_store::{Change, EventQuery, Store};

use super::{ALL, Worker, erase_events, put_event, put_event_time, read_events, user};

pub(crate) async fn an_event_is_read_back_as_it_was_put<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let payload = Bytes::from_static(b"\0not text \xff");
    let put = Change::PutEvent {
        user: user("u"),
        time_us: -7,
        id: "id".into(),
        payload: payload.clone(),
        expires_us: i64::MAX,
    };
    worker.commit([(3, put), (3, put_event_time(&user("u"), "id", -7))]).await;
    let rows = store.events(user("u"), ALL).await.unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.time_us, row.id.as_str(), &row.payload), (-7, "id", &payload));
    assert_eq!(row.stamp, worker.stamp(3));
    let ids = vec![(user("u"), "other".into()), (user("u"), "id".into()), (user("v"), "id".into())];
    assert_eq!(store.event_times(ids).await.unwrap(), [None, Some(-7), None]);
}

pub(crate) async fn the_same_identity_is_stored_once_with_the_later_content<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    worker
        .commit([(0, put_event(&u, 5, "a", "first")), (1, put_event(&u, 5, "a", "second"))])
        .await;
    assert_eq!(read_events(store, &u).await, [(5, "a".into(), "second".into())]);
    worker.commit([(2, put_event(&u, 5, "a", "third"))]).await;
    assert_eq!(read_events(store, &u).await, [(5, "a".into(), "third".into())]);
}

pub(crate) async fn events_page_newest_first_and_equal_times_by_id<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    let times = [(1, "b"), (2, "a"), (2, "ab"), (2, "b"), (-3, "c"), (i64::MAX, "d")];
    worker.commit((0..).zip(times.map(|(t, id)| put_event(&u, t, id, "")))).await;
    let expected = [(i64::MAX, "d"), (2, "b"), (2, "ab"), (2, "a"), (1, "b"), (-3, "c")];
    let expected: Vec<_> = expected.map(|(t, id)| (t, id.to_owned())).into();
    for limit in 1..=expected.len() + 1 {
        let mut read = Vec::new();
        loop {
            let query = EventQuery { before: read.last().cloned(), limit, ..ALL };
            let page = store.events(u.clone(), query).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            read.extend(page.into_iter().map(|e| (e.time_us, e.id)));
        }
        assert_eq!(read, expected, "pages of {limit}");
    }
    assert!(store.events(u, EventQuery { limit: 0, ..ALL }).await.unwrap().is_empty());
}

pub(crate) async fn a_query_takes_its_start_and_leaves_its_end<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    worker.commit((0..6).map(|i| (i, put_event(&u, i as i64, "x", "")))).await;
    let times = async |from_us, to_us, before: Option<i64>| {
        let before = before.map(|t| (t, "x".to_owned()));
        let query = EventQuery { from_us, to_us, before, limit: 100 };
        let rows = store.events(u.clone(), query).await.unwrap();
        rows.into_iter().map(|e| e.time_us).collect::<Vec<_>>()
    };
    assert_eq!(times(Some(2), Some(4), None).await, [3, 2]);
    assert_eq!(times(Some(2), None, Some(4)).await, [3, 2]);
    assert_eq!(times(None, Some(3), Some(5)).await, [2, 1, 0]);
    assert_eq!(times(None, Some(5), Some(1)).await, [0]);
    assert!(times(Some(4), Some(2), None).await.is_empty());
    assert!(times(Some(3), Some(3), None).await.is_empty());
}

pub(crate) async fn users_with_similar_ids_are_kept_apart<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let users = [("p", "u"), ("p", "u1"), ("p", "u\0"), ("pu", "1"), ("p1", "u"), ("p", "")]
        .map(|(project, user)| UserKey::new(project, user));
    let puts = users.iter().map(|u| put_event(u, 1, "x", "")).collect::<Vec<_>>();
    worker.commit((0..).zip(puts)).await;
    worker.commit([(10, erase_events(&users[0]))]).await;
    assert!(read_events(store, &users[0]).await.is_empty());
    for other in &users[1..] {
        assert_eq!(read_events(store, other).await.len(), 1, "{other:?}");
    }
}

pub(crate) async fn an_erasure_takes_events_and_ids_at_or_below_its_stamp<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    for offset in 0..3 {
        let id = offset.to_string();
        let puts = [put_event(&u, 1, &id, ""), put_event_time(&u, &id, 1)];
        worker.commit(puts.map(|put| (offset, put))).await;
    }
    worker.commit([(1, erase_events(&u))]).await;
    assert_eq!(read_events(store, &u).await, [(1, "2".into(), String::new())]);
    let ids = ["0", "1", "2"].map(|id| (u.clone(), id.to_owned()));
    assert_eq!(store.event_times(ids.into()).await.unwrap(), [None, None, Some(1)]);
}

pub(crate) async fn within_one_commit_later_writes_see_earlier_ones<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let (u, v) = (user("u"), user("v"));
    worker
        .commit([
            (0, put_event(&u, 1, "before", "")),
            (0, put_event_time(&u, "before", 1)),
            (1, put_event(&v, 1, "other", "")),
            (2, erase_events(&u)),
            (3, put_event(&u, 2, "after", "")),
            (4, erase_events(&v)),
        ])
        .await;
    assert_eq!(read_events(store, &u).await, [(2, "after".into(), String::new())]);
    assert_eq!(store.event_times(vec![(u, "before".into())]).await.unwrap(), [None]);
    assert!(read_events(store, &v).await.is_empty());
}

pub(crate) async fn within_one_commit_the_stamp_decides_as_well<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let (u, v) = (user("u"), user("v"));
    worker
        .commit([
            (7, put_event(&v, 1, "x", "newer")),
            (5, put_event(&v, 1, "x", "older")),
            (9, erase_events(&u)),
            (8, put_event(&u, 1, "below", "")),
            (9, put_event(&u, 1, "at", "")),
            (10, put_event(&u, 1, "above", "")),
        ])
        .await;
    assert_eq!(read_events(store, &v).await, [(1, "x".into(), "newer".into())]);
    assert_eq!(read_events(store, &u).await, [(1, "above".into(), String::new())]);
}

pub(crate) async fn what_has_expired_is_hidden<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let put = |time_us, expires_us| Change::PutEvent {
        user: user("u"),
        time_us,
        id: "x".into(),
        payload: Bytes::new(),
        expires_us,
    };
    let id = |id: &str, expires_us| Change::PutEventTime {
        user: user("u"),
        id: id.into(),
        time_us: 1,
        expires_us,
    };
    let (past, future) = (wall_clock_us() - 1, wall_clock_us() + 3_600_000_000);
    worker
        .commit([(0, put(2, past)), (1, put(1, future)), (2, id("a", past)), (3, id("b", future))])
        .await;
    let query = EventQuery { limit: 1, ..ALL };
    let times: Vec<_> =
        store.events(user("u"), query).await.unwrap().into_iter().map(|e| e.time_us).collect();
    assert_eq!(times, [1], "an expired event takes no place on a page");
    let ids = ["a", "b"].map(|id| (user("u"), id.to_owned()));
    assert_eq!(store.event_times(ids.into()).await.unwrap(), [None, Some(1)]);
}

/// One of each ten days, over three years on both sides of 1970.
fn times() -> impl DoubleEndedIterator<Item = i64> {
    (-110..110).map(|n| n * 10 * 24 * 3600 * 1_000_000 + n)
}

pub(crate) async fn pages_lead_through_all_times_to_the_end<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    worker.commit((0..).zip(times().map(|time_us| put_event(&u, time_us, "x", "")))).await;
    let newest_first: Vec<i64> = times().rev().collect();
    for limit in [7, 100, 219, 220, 1_000] {
        let mut read = Vec::new();
        loop {
            let before = read.last().map(|time_us| (*time_us, "x".to_owned()));
            let query = EventQuery { before, limit, ..ALL };
            let page = store.events(u.clone(), query).await.unwrap();
            let is_last = page.len() < limit;
            read.extend(page.into_iter().map(|event| event.time_us));
            if is_last {
                break;
            }
        }
        assert_eq!(read, newest_first, "pages of {limit}");
    }
}

pub(crate) async fn an_erasure_reaches_events_of_all_times<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    let puts =
        |id: &'static str| times().map(move |time_us| put_event(&user("u"), time_us, id, ""));
    worker.commit(puts("old").map(|put| (1, put))).await;
    worker.commit(puts("new").map(|put| (3, put))).await;
    worker.commit([(2, erase_events(&u))]).await;
    // Late, and replayed.
    worker.commit(puts("late").map(|put| (2, put))).await;
    worker.commit(puts("old").map(|put| (1, put))).await;
    let query = EventQuery { limit: 1_000, ..ALL };
    let events = store.events(u, query).await.unwrap();
    assert_eq!(events.len(), times().count());
    assert!(events.iter().all(|event| event.id == "new"));
}
