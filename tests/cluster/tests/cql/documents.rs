//! What only the documents of a CQL database have: an outbox, rows with a TTL, lost answers, and
//! other processes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use millrace_cluster::{Cluster, Proxy};
use millrace_schema::time::wall_clock_us;
use millrace_store::scylla::{Config, CqlStore};
use millrace_store::{
    AuditQuery, AuditRow, DocumentChange, DocumentStore, Expect, Kind, StoreError,
};
use scylla::client::session::Session;

use crate::keyspace::{Keyspace, connected, session};

const ALL: AuditQuery = AuditQuery {
    event_types: Vec::new(),
    user_id: None,
    user_email: None,
    from_us: None,
    to_us: None,
    limit: 1_000,
};

fn entry(id: i64, time_us: i64) -> AuditRow {
    AuditRow {
        id,
        time_us,
        event_type: "create".into(),
        user_id: None,
        user_email: None,
        text: "{}".into(),
    }
}

fn put(kind: Kind, key: &str, expect: Expect, text: String) -> DocumentChange {
    DocumentChange { kind, key: key.into(), expect, text: Some(text), expires_us: None }
}

async fn audit_ids(store: &CqlStore) -> Vec<i64> {
    store.audit(ALL).await.unwrap().into_iter().map(|row| row.id).collect()
}

/// The keys of the outbox.
async fn outbox(session: &Session, config: &Config) -> Vec<String> {
    let text = format!(
        "SELECT key FROM {}.documents WHERE shard = 0 AND kind = 'outbox'",
        config.keyspace
    );
    let rows = session.query_unpaged(text, &[]).await.unwrap().into_rows_result().unwrap();
    rows.rows::<(String,)>().unwrap().map(|row| row.unwrap().0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn entries_that_were_left_in_the_outbox_are_read_and_moved_and_read_once() {
    let Keyspace { config, store, .. } = &Keyspace::empty().await;
    let session = session(config).await;
    let now_us = wall_clock_us();
    let ago = |millis: i64| {
        let millis = u64::try_from(now_us / 1_000 - millis).unwrap();
        uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid().to_string()
    };
    let (hour, minute) = (ago(3_600_000), ago(60_000));
    for (key, version, ids) in
        [(&hour, 1, &[1, 2][..]), (&ago(1_800_000), 0, &[]), (&minute, 1, &[3])]
    {
        let rows: Vec<AuditRow> = ids.iter().map(|id| entry(*id, now_us - 9)).collect();
        let text = format!(
            "UPDATE {}.documents SET version = {version}, text = ? \
             WHERE shard = 0 AND kind = 'outbox' AND key = ? IF version = null",
            config.keyspace
        );
        let rows = (!ids.is_empty()).then(|| serde_json::to_string(&rows).unwrap());
        session.query_unpaged(text, (rows, key)).await.unwrap();
    }
    assert_eq!(audit_ids(store).await, [3, 2, 1], "before it has moved them");
    assert_eq!(outbox(&session, config).await, [minute], "what is young stays");
    assert_eq!(audit_ids(store).await, [3, 2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_row_goes_by_itself_a_day_after_its_document_has_expired() {
    let Keyspace { config, store, .. } = &Keyspace::empty().await;
    let session = session(config).await;
    let ttl = async || {
        let text = format!(
            "SELECT TTL(version), TTL(text), TTL(expires_us) FROM {}.documents \
             WHERE shard = 0 AND kind = 'session' AND key = 's'",
            config.keyspace
        );
        let row = session.query_unpaged(text, &[]).await.unwrap().into_rows_result().unwrap();
        row.single_row::<(Option<i32>, Option<i32>, Option<i32>)>().unwrap()
    };
    let expires_us = Some(wall_clock_us() + 3_600_000_000);
    let new = put(Kind::Session, "s", Expect::Absent, "1".into());
    let new = DocumentChange { expires_us, ..new };
    assert!(store.change(vec![new], vec![]).await.unwrap());
    let (version, text, expiry) = ttl().await;
    for left in [version, text, expiry].map(Option::unwrap) {
        assert!((86_400..=90_000).contains(&left), "{left}");
    }
    let forever = put(Kind::Session, "s", Expect::Version(1), "2".into());
    assert!(store.change(vec![forever], vec![]).await.unwrap());
    assert_eq!(ttl().await, (None, None, None));
}

/// Takes a number, in as many tries as it needs. An error: nobody knows.
async fn count(store: &CqlStore, entry_id: i64) -> Result<u64, StoreError> {
    loop {
        let counter = store.document(Kind::Counter, "n").await?;
        let last = counter.as_ref().map_or(0, |counter| counter.text.parse::<u64>().unwrap());
        let expect = counter.map_or(Expect::Absent, |counter| Expect::Version(counter.version));
        let next = put(Kind::Counter, "n", expect, (last + 1).to_string());
        if store.change(vec![next], vec![entry(entry_id, wall_clock_us())]).await? {
            return Ok(last + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn processes_that_count_at_once_lose_no_number() {
    let Keyspace { config, store, .. } = &Keyspace::empty().await;
    let others = [connected(config).await, connected(config).await];
    let stores = [store, &others[0], &others[1]];
    let numbers = join_all((0..30).map(|n| count(stores[n % 3], n as i64 + 1))).await;
    let numbers: BTreeSet<u64> = numbers.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, (1..=30).collect());
    assert_eq!(audit_ids(store).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_change_whose_answer_is_lost_happens_once_with_its_entry_or_not_at_all() {
    let Keyspace { config, store: direct, .. } = &Keyspace::empty().await;
    let proxy = Proxy::start(Cluster::shared().unwrap().contact_points()[0]).unwrap();
    let contact_points = vec![proxy.address().to_string()];
    let request_timeout = Duration::from_millis(500);
    let store = connected(&Config { contact_points, request_timeout, ..config.clone() }).await;
    let is_over = AtomicBool::new(false);
    let disturb = async {
        while !is_over.load(Ordering::Relaxed) {
            proxy.cut().unwrap();
            proxy.restore().unwrap();
            tokio::time::sleep(Duration::from_millis(fastrand::u64(20..200))).await;
        }
    };
    let change = async {
        let (mut counted, mut lost) = (BTreeSet::new(), BTreeSet::new());
        for id in 1..=100 {
            match count(&store, id).await {
                Ok(number) => assert!(counted.insert((number, id)), "{number} was given twice"),
                Err(StoreError::Unavailable(_)) => assert!(lost.insert(id)),
                Err(error) => panic!("{error}"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        (counted, lost)
    };
    let ((), (counted, lost)) = tokio::join!(disturb, change);
    let counter = direct.document(Kind::Counter, "n").await.unwrap().unwrap();
    let ids = audit_ids(direct).await;
    assert_eq!(counter.version.to_string(), counter.text);
    assert_eq!(ids.len().to_string(), counter.text, "an entry for each change that happened");
    assert!(counted.iter().all(|(_, id)| ids.contains(id)), "and none lost");
    let numbers: BTreeSet<u64> = counted.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), counted.len(), "no number was given twice");
    assert_eq!(counted.len() + lost.len(), 100);
    assert!(counted.len() > 10, "{} counted, {} lost", counted.len(), lost.len());
}
