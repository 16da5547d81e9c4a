//! Reading over what was deleted, and what deleting leaves behind.

use millrace_schema::Topic;
use millrace_store::{EventQuery, Store};

use crate::keyspace::{Keyspace, session};
use crate::suite::{ALL, Worker, erase_events, put_event, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn pages_over_thousands_of_deleted_rows_lead_to_those_that_are_left() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    worker.commit((0..20).map(|n| (n, put_event(&u, n as i64, "old", "")))).await;
    // A tombstone for each row, which a page counts: the oldest are left at the end of all pages.
    let session = session(&keyspace.config).await;
    let text = format!(
        "DELETE FROM {}.events USING TIMESTAMP 1000 WHERE project_id = 'p' AND user_id = 'u' \
         AND bucket = 0 AND time_us = ? AND event_id = 'x'",
        keyspace.config.keyspace
    );
    let delete = session.prepare(text).await.unwrap();
    for from in (100..5_100_i64).step_by(100) {
        let each = (from..from + 100)
            .map(async |time_us| session.execute_unpaged(&delete, (time_us,)).await);
        futures::future::try_join_all(each).await.unwrap();
    }
    let query = EventQuery { limit: 10, ..ALL };
    let events = store.events(u.clone(), query).await.unwrap();
    let times: Vec<i64> = events.iter().map(|event| event.time_us).collect();
    assert_eq!(times, (10..20).rev().collect::<Vec<_>>());
    worker.commit([(2_000, erase_events(&u))]).await;
    assert!(store.events(u, ALL).await.unwrap().is_empty());
}
