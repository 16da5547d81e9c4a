//! Deletion jobs and the markers of erasures.

use millrace_schema::Topic;
use millrace_schema::record::{Fence, Job, Reach};
use millrace_store::{Change, Completion, Erasure, JobRow, Store};
use uuid::Uuid;

use super::{Worker, user};

fn row(id: u128, accepted_us: i64) -> JobRow {
    let fence = Fence { topic: Topic::Events, partition: 1, first: 3, last: 9, count: 2 };
    JobRow {
        project: "p".into(),
        accepted_us,
        job: Job {
            job: Uuid::from_u128(id),
            users: 2,
            erase: vec![Reach::Events],
            fence: vec![fence],
            salt: "00".into(),
            ids_hash: "ff".into(),
            sample: vec!["u1".into(), "u2".into()],
        },
        completion: None,
    }
}

fn put(id: u128, accepted_us: i64) -> Change {
    Change::PutJob { job: row(id, accepted_us) }
}

async fn ids<S: Store>(store: &S, before: Option<(i64, Uuid)>, limit: usize) -> Vec<u128> {
    let jobs = store.jobs("p", before, limit).await.unwrap();
    jobs.iter().map(|j| j.job.job.as_u128()).collect()
}

pub(crate) async fn a_job_is_read_back_as_it_was_registered<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    worker.commit([(0, put(1, 5))]).await;
    assert_eq!(store.job("p", Uuid::from_u128(1)).await.unwrap(), Some(row(1, 5)));
    assert_eq!(store.job("p", Uuid::from_u128(2)).await.unwrap(), None);
    assert_eq!(store.job("p2", Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(store.open_jobs().await.unwrap(), [row(1, 5)]);
}

pub(crate) async fn jobs_page_newest_first_and_equal_times_by_id<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    let other = JobRow { project: "p2".into(), ..row(9, 9) };
    let mut puts = vec![put(1, 5), put(3, 7), put(2, 7), put(4, -1)];
    puts.push(Change::PutJob { job: other });
    worker.commit((0..).zip(puts)).await;
    assert_eq!(ids(store, None, 10).await, [3, 2, 1, 4]);
    assert_eq!(ids(store, None, 1).await, [3]);
    assert_eq!(ids(store, Some((7, Uuid::from_u128(3))), 2).await, [2, 1]);
    assert_eq!(ids(store, Some((5, Uuid::from_u128(1))), 2).await, [4]);
    assert!(ids(store, Some((-1, Uuid::from_u128(4))), 2).await.is_empty());
    assert!(ids(store, None, 0).await.is_empty());
    assert_eq!(store.open_jobs().await.unwrap().len(), 5);
}

pub(crate) async fn the_first_completion_stays_and_the_sample_is_forgotten<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    worker.commit([(0, put(1, 5)), (1, put(2, 6))]).await;
    let first = Completion { completed_us: 10, sampled: 2, found: 0, receipt: None };
    let second = Completion { completed_us: 11, sampled: 1, found: 1, receipt: None };
    let id = Uuid::from_u128(1);
    store.complete_job("p", id, first.clone()).await.unwrap();
    store.complete_job("p", id, second).await.unwrap();
    let mut completed = row(1, 5);
    completed.completion = Some(first);
    completed.job.sample.clear();
    assert_eq!(store.job("p", id).await.unwrap(), Some(completed.clone()));
    assert_eq!(store.open_jobs().await.unwrap(), [row(2, 6)]);
    assert_eq!(ids(store, None, 10).await, [2, 1]);
    // A replay, and a repeated request.
    worker.commit([(0, put(1, 5)), (2, put(1, 8))]).await;
    assert_eq!(store.job("p", id).await.unwrap(), Some(completed));
    assert_eq!(store.open_jobs().await.unwrap(), [row(2, 6)]);
}

pub(crate) async fn a_job_registered_again_is_listed_once<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    worker.commit([(0, put(1, 5)), (1, put(2, 6)), (2, put(1, 7))]).await;
    assert_eq!(ids(store, None, 10).await, [1, 2]);
    worker.commit([(0, put(1, 5))]).await;
    assert_eq!(ids(store, None, 10).await, [1, 2], "the older stamp loses");
    assert_eq!(store.open_jobs().await.unwrap().len(), 2);
}

pub(crate) async fn completing_a_job_that_is_not_there_is_refused<S: Store>(store: &S) {
    let completion = Completion { completed_us: 10, sampled: 2, found: 0, receipt: None };
    assert!(store.complete_job("p", Uuid::from_u128(1), completion).await.is_err());
    assert!(ids(store, None, 10).await.is_empty());
}

pub(crate) async fn markers_are_kept_by_user_and_topic<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let erasure = |job, offset| Erasure { job: Uuid::from_u128(job), offset, received_us: 7 };
    let put = |id: &str, topic, erasure| Change::PutErasure { user: user(id), topic, erasure };
    worker
        .commit([
            (0, Change::EraseEvents { user: user("u") }),
            (0, put("u", Topic::Events, erasure(1, 0))),
            (3, put("u", Topic::Events, erasure(2, 3))),
            (4, put("u1", Topic::Events, erasure(2, 4))),
            (5, put("u", Topic::Profiles, erasure(2, 5))),
            (6, put("u", Topic::Events, erasure(1, 6))),
        ])
        .await;
    worker.commit([(0, put("u", Topic::Events, erasure(1, 0)))]).await;
    let mut read = store.erasures(user("u"), Topic::Events).await.unwrap();
    read.sort_by_key(|e| e.offset);
    assert_eq!(read, [erasure(1, 0), erasure(2, 3), erasure(1, 6)], "each marker of a job");
    assert_eq!(store.erasures(user("u"), Topic::Profiles).await.unwrap(), [erasure(2, 5)]);
    assert!(store.erasures(user("u"), Topic::Devices).await.unwrap().is_empty());
}

pub(crate) async fn jobs_of_many_months_page_to_the_end<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    let accepted_us = |n: i64| (n - 12) * 11 * 24 * 3600 * 1_000_000;
    worker.commit((0..24_u32).map(|n| (n.into(), put(n.into(), accepted_us(n.into()))))).await;
    for limit in [1, 5, 24, 100] {
        let mut read: Vec<u128> = Vec::new();
        loop {
            let last = |id: &u128| (accepted_us(i64::try_from(*id).unwrap()), Uuid::from_u128(*id));
            let page = ids(store, read.last().map(last), limit).await;
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, (0..24).rev().collect::<Vec<_>>(), "pages of {limit}");
    }
}
