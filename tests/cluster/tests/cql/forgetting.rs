//! What a crash may make the database forget, done by hand; and what is kept for long enough.

use std::time::Duration;

use millrace_schema::Topic;
use millrace_schema::record::{Fence, Job, Reach};
use millrace_schema::time::wall_clock_us;
use millrace_store::scylla::rebase;
use millrace_store::{Change, Commit, Completion, JobRow, LedgerRow, Store, StoreError};
use uuid::Uuid;

use crate::keyspace::{Keyspace, run, session};
use crate::suite::{Worker, put_event, read_events, user};

async fn count(keyspace: &Keyspace, table: &str) -> usize {
    let text = format!("SELECT * FROM {}.{table}", keyspace.config.keyspace);
    let rows = session(&keyspace.config).await.query_unpaged(text, &[]).await.unwrap();
    rows.into_rows_result().unwrap().rows_num()
}

fn job(id: u128, partition: u32) -> Change {
    let fence = Fence { topic: Topic::Events, partition, first: 3, last: 9, count: 2 };
    let job = Job {
        job: Uuid::from_u128(id),
        users: 1,
        erase: vec![Reach::Events],
        fence: vec![fence],
        sample: vec!["u".to_owned()],
        ..Job::default()
    };
    let job = JobRow { project: "p".to_owned(), accepted_us: 1, job, completion: None };
    Change::PutJob { job }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn an_epoch_whose_claim_was_forgotten_is_not_given_again() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    let mut forgotten = Worker::claim(store, Topic::Events, 0).await;
    run(&keyspace, "TRUNCATE {ks}.ledger").await;
    let refused = forgotten.try_commit([]).await;
    assert!(matches!(refused, Err(StoreError::Restarted)), "{refused:?}");
    let new = Worker::claim(store, Topic::Events, 0).await;
    assert_ne!(new.ledger.epoch, forgotten.ledger.epoch);
    // The claim is gone, the row is not.
    run(&keyspace, "DELETE newest_epoch FROM {ks}.ledger WHERE topic = 'events' AND partition = 0")
        .await;
    assert_eq!(store.newest_epoch(Topic::Events, 0).await.unwrap(), new.ledger.epoch);
    let next = store.claim(Topic::Events, 0).await.unwrap();
    assert!(next.epoch > new.ledger.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn old_epochs_go_but_never_the_newest_two_of_them() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    let two_hours_ago = wall_clock_us() - 2 * 3600 * 1_000_000;
    for n in 0..5 {
        let row = LedgerRow { frontier: n, ..LedgerRow::new(Topic::Events, 0) };
        let state = serde_json::to_string(&row).unwrap();
        let epoch = two_hours_ago + i64::try_from(n).unwrap();
        run(
            &keyspace,
            &format!(
                "INSERT INTO {{ks}}.ledger (topic, partition, epoch, state) VALUES ('events', 0, \
             {epoch}, '{state}') USING TIMESTAMP 7"
            ),
        )
        .await;
    }
    store.claim(Topic::Events, 0).await.unwrap();
    assert_eq!(count(&keyspace, "ledger").await, 3);
    store.claim(Topic::Events, 0).await.unwrap();
    assert_eq!(count(&keyspace, "ledger").await, 4, "what is young stays");
    assert_eq!(store.ledger().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_completed_job_leaves_the_open_ones_when_its_completion_has_settled() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    worker.commit([(0, job(1, 0)), (1, job(2, 0))]).await;
    let completion = Completion { completed_us: 5, sampled: 1, found: 0, receipt: None };
    store.complete_job("p", Uuid::from_u128(1), completion.clone()).await.unwrap();
    assert_eq!(store.open_jobs().await.unwrap().len(), 1);
    assert_eq!(count(&keyspace, "open_jobs").await, 2, "it may still be forgotten");
    while count(&keyspace, "open_jobs").await == 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(store.open_jobs().await.unwrap().len(), 1);
    }
    // A replay neither opens it nor tells its sample again.
    worker.commit([(0, job(1, 0))]).await;
    assert_eq!(store.open_jobs().await.unwrap().len(), 1);
    let row = store.job("p", Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!((row.completion, row.job.sample.len()), (Some(completion), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_topic_made_anew_begins_at_0_above_all_stamps_that_were_used() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    let u = user("u");
    let mut worker = Worker::claim(store, Topic::Events, 3).await;
    worker.commit([(5, put_event(&u, 1, "a", "old"))]).await;
    let last = worker.stamp(5);
    let mut jobs = Worker::claim(store, Topic::Deletions, 0).await;
    jobs.commit([(0, job(1, 3))]).await;
    let base = rebase(&keyspace.config, Topic::Events, 2).await.unwrap();
    assert!(base > last);
    let refused = worker.try_commit([]).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let rows = store.ledger().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.topic).collect::<Vec<_>>(), [Topic::Deletions]);
    assert_eq!(store.topic_base(Topic::Events, 2).await.unwrap(), base);
    let job = store.job("p", Uuid::from_u128(1)).await.unwrap().unwrap();
    assert!(job.completion.unwrap().found > 0, "its markers are gone");
    // What is written at offset 0 is above what was written before.
    let ledger = store.claim(Topic::Events, 0).await.unwrap();
    assert_eq!(ledger.frontier, 0);
    let write = millrace_store::Write { stamp: base, change: put_event(&u, 1, "a", "new") };
    let ledger = LedgerRow { sequence: 1, ..ledger };
    let generation = store.generation().await.unwrap();
    store.commit(Commit { writes: vec![write], ledger, generation }).await.unwrap();
    assert_eq!(read_events(store, &u).await, [(1, "a".into(), "new".into())]);
    // Again, with the partition that is there: it begins at 0 once more.
    let again = rebase(&keyspace.config, Topic::Events, 2).await.unwrap();
    assert!(again > base);
    let rows = store.ledger().await.unwrap();
    let row = rows.iter().find(|row| row.topic == Topic::Events).unwrap();
    assert_eq!((row.partition, row.frontier), (0, 0));
}
