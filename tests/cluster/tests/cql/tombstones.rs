//! Reading over what was deleted, and what deleting leaves behind.

use std::path::Path;
use std::time::Duration;

use millrace_cluster::{Cluster, Shape};
use millrace_schema::{Topic, UserKey};
use millrace_store::scylla::{Config, CqlStore, migrate};
use millrace_store::{Change, Erasure, EventQuery, Store};
use uuid::Uuid;

use crate::keyspace::{Keyspace, config, connected, session};
use crate::suite::{
    ALL, Worker, cell, cells, erase_events, put_claim, put_device, put_event, put_event_time,
    put_profile, read_claims, read_devices, read_events, user,
};

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

/// What a user leaves, in every table that an erasure reaches.
fn rows_of(u: &UserKey) -> Vec<(u64, Change)> {
    let day_us = 24 * 3600 * 1_000_000_i64;
    let events = (0..8).map(|n| (n as u64, put_event(u, n * 60 * day_us, "e", "payload")));
    let mut rows: Vec<_> = events.collect();
    rows.extend([
        (8, put_event_time(u, "id", 5)),
        (9, put_profile(u, 2, cells([("name", cell(2, "1"))]))),
        (10, put_device(u, "d", 3, cells([("name", cell(3, "1"))]))),
        (11, put_claim(Some("u"), "d", 3)),
    ]);
    rows
}

fn erasure_of(u: &UserKey) -> Vec<(u64, Change)> {
    let erasure = Erasure { job: Uuid::from_u128(1), offset: 20, received_us: 7 };
    let changes = [
        erase_events(u),
        Change::EraseProfile { user: u.clone() },
        Change::EndLife { user: u.clone() },
        Change::EraseClaim { user: u.clone(), device_id: "d".to_owned() },
        Change::EraseDevices { user: u.clone() },
        Change::PutErasure { user: u.clone(), topic: Topic::Events, erasure },
    ];
    changes.into_iter().map(|change| (20, change)).collect()
}

/// How much of a user is found: events, times of ids, profiles, devices, claims.
async fn found(store: &CqlStore, u: &UserKey) -> [usize; 5] {
    let times = store.event_times(vec![(u.clone(), "id".to_owned())]).await.unwrap();
    let profiles = store.profiles(vec![u.clone()]).await.unwrap();
    [
        read_events(store, u).await.len(),
        times.into_iter().flatten().count(),
        profiles.into_iter().flatten().count(),
        read_devices(store, u).await.len(),
        read_claims(store, "d").await.len(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn tombstones_are_dated_by_the_grace_that_the_tables_have_now() {
    const DAYS_20: u64 = 20 * 24 * 3600;
    let keyspace = Keyspace::empty().await;
    let session = session(&keyspace.config).await;
    for seconds in [3 * DAYS_20, DAYS_20] {
        let name = &keyspace.config.keyspace;
        let text = format!("ALTER TABLE {name}.claims WITH gc_grace_seconds = {seconds}");
        session.query_unpaged(text, &[]).await.unwrap();
        let residues = keyspace.store.residues().await.unwrap();
        let tombstones = residues.iter().find(|r| r.place == "store_tombstones").unwrap();
        assert_eq!(tombstones.lasts, Some(Duration::from_secs(seconds)));
    }
}

/// Whether a table of the keyspace has any file of data under a folder.
fn has_files(folder: &Path, table: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_data = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of = path.parent().and_then(|table| table.file_name()).and_then(|name| name.to_str());
        // A table's folder is named `{table}-{id}`.
        let of = of.and_then(|name| name.rsplit_once('-')).map(|(name, _)| name);
        name.ends_with("-Data.db") && of == Some(table)
    };
    entries.into_iter().any(|path| match path.is_dir() {
        true => has_files(&path, table),
        false => is_data(&path),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_replay_after_the_tombstones_were_purged_ends_with_everything_gone_again() {
    let cluster = Cluster::start(Shape { brokers: 0, ..Shape::default() }).unwrap();
    let config = config(&cluster, "purged".to_owned());
    let patient = Config { request_timeout: Duration::from_secs(20), ..config.clone() };
    migrate(&patient, None, 1).await.unwrap();
    let node = &cluster.nodes()[0];
    let session = session(&config).await;
    let tables = ["events", "event_times", "profiles", "devices", "claims"];
    for table in tables {
        let text = format!("ALTER TABLE {}.{table} WITH gc_grace_seconds = 0", config.keyspace);
        session.query_unpaged(text, &[]).await.unwrap();
    }
    let store = connected(&patient).await;
    let u = user("u");
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    worker.commit(rows_of(&u)).await;
    assert_eq!(found(&store, &u).await, [8, 1, 1, 1, 1]);
    node.nodetool(&["flush", &config.keyspace]).unwrap();
    worker.commit(erasure_of(&u)).await;
    assert_eq!(found(&store, &u).await, [0; 5]);
    // A tombstone may go when the second in which it was written is over.
    while tables.iter().any(|table| has_files(&node.folder(), table)) {
        node.nodetool(&["flush", &config.keyspace]).unwrap();
        node.nodetool(&["compact", &config.keyspace]).unwrap();
    }

    // Nothing hides the old rows any more: a replay shows them until it reaches the marker.
    let row = store.rewind(Topic::Events, 0).await.unwrap();
    assert_eq!((row.frontier, row.resume), (0, 0));
    let mut worker = Worker::claim(&store, Topic::Events, 0).await;
    worker.commit(rows_of(&u)).await;
    assert_eq!(found(&store, &u).await, [8, 1, 1, 1, 1]);
    worker.commit(erasure_of(&u)).await;
    assert_eq!(found(&store, &u).await, [0; 5]);
    assert_eq!(store.erasures(u, Topic::Events).await.unwrap().len(), 1);
}
