//! The chain of receipts: two processes that complete jobs at once, and what is left half done.

use std::collections::BTreeSet;

use millrace_schema::Topic;
use millrace_schema::receipt::token_hash;
use millrace_schema::record::{Job, Reach};
use millrace_store::scylla::CqlStore;
use millrace_store::{Change, Completion, IssuedReceipt, JobRow, Store, StoreError};
use uuid::Uuid;

use crate::keyspace::{Keyspace, connected, run};
use crate::suite::Worker;

fn put_job(id: u128) -> Change {
    let job = Job {
        job: Uuid::from_u128(id),
        users: 1,
        erase: vec![Reach::Events],
        sample: vec!["u".to_owned()],
        ..Job::default()
    };
    let job = JobRow { project: "p".to_owned(), accepted_us: 1, job, completion: None };
    Change::PutJob { job }
}

async fn put_jobs(store: &CqlStore, jobs: std::ops::Range<u128>) {
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    worker.commit((0..).zip(jobs.map(put_job))).await;
}

fn failed() -> Completion {
    Completion { completed_us: 5, sampled: 1, found: 1, receipt: None }
}

/// The receipt that would come next, with the hash of the one before in its text.
async fn next(store: &CqlStore, signer: &str, job: u128) -> Result<Completion, StoreError> {
    let newest = store.newest_receipt("p").await?;
    let number = newest.as_ref().map_or(0, |newest| newest.number) + 1;
    let previous = newest.map(|newest| newest.hash).unwrap_or_default();
    let receipt = IssuedReceipt { number, token: format!("{signer} {job} {previous}") };
    Ok(Completion { completed_us: 5, sampled: 1, found: 0, receipt: Some(receipt) })
}

/// Completes a job as a worker does: until it is.
async fn complete(store: &CqlStore, signer: &str, job: u128) {
    loop {
        let completion = match next(store, signer, job).await {
            Ok(completion) => completion,
            Err(StoreError::Unavailable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        match store.complete_job("p", Uuid::from_u128(job), completion).await {
            Ok(true) => return,
            Ok(false) | Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn receipt(store: &CqlStore, job: u128) -> IssuedReceipt {
    let row = store.job("p", Uuid::from_u128(job)).await.unwrap().unwrap();
    row.completion.unwrap().receipt.unwrap()
}

/// Follows the chain from its newest receipt to the first; the jobs in it.
async fn walk(store: &CqlStore, jobs: std::ops::Range<u128>) -> Vec<u128> {
    let mut receipts = Vec::new();
    for job in jobs {
        receipts.push((job, receipt(store, job).await));
    }
    receipts.sort_by_key(|(_, receipt)| receipt.number);
    let mut previous = String::new();
    for ((job, receipt), number) in receipts.iter().zip(1..) {
        assert_eq!(receipt.number, number, "no gap, and none twice");
        assert!(receipt.token.ends_with(&format!(" {job} {previous}")), "{receipt:?}");
        previous = token_hash(&receipt.token);
    }
    let newest = store.newest_receipt("p").await.unwrap().unwrap();
    assert_eq!((newest.number, newest.hash), (receipts.len() as u64, previous));
    receipts.into_iter().map(|(job, _)| job).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn two_that_complete_the_same_jobs_at_once_make_one_chain() {
    let keyspace = Keyspace::empty().await;
    let (one, two) = (&keyspace.store, &connected(&keyspace.config).await);
    put_jobs(one, 0..12).await;
    let mut tasks = Vec::new();
    for (store, signer) in [(one, "one"), (two, "two")] {
        // Two at a time of each, so that they meet at jobs and at numbers.
        for first in 0..2 {
            tasks.push(async move {
                for n in 0..6 {
                    complete(store, signer, (2 * n + first) % 12).await;
                }
            });
        }
    }
    futures::future::join_all(tasks).await;
    let jobs = walk(two, 0..12).await;
    assert_eq!(jobs.into_iter().collect::<BTreeSet<_>>().len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_completion_that_was_cut_short_is_finished_by_whoever_comes_next() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    put_jobs(store, 0..3).await;
    complete(store, "one", 0).await;
    let done = receipt(store, 0).await;
    for ask in [true, false] {
        // The head has moved, the job was not reached.
        run(&keyspace, &format!("DELETE completion FROM {{ks}}.jobs WHERE {}", key(0))).await;
        assert_eq!(store.open_jobs().await.unwrap().len(), 3);
        let other = IssuedReceipt { number: 2, token: "other".to_owned() };
        let other = Completion { receipt: Some(other), ..failed() };
        if ask {
            let newest = store.newest_receipt("p").await.unwrap().unwrap();
            assert_eq!((newest.number, newest.job), (1, Uuid::from_u128(0)));
            assert_eq!(newest.hash, token_hash(&done.token));
        } else {
            assert!(store.complete_job("p", Uuid::from_u128(0), other).await.unwrap());
        }
        assert_eq!(receipt(store, 0).await, done);
        assert_eq!(store.newest_receipt("p").await.unwrap().unwrap().number, 1);
    }
    complete(store, "one", 1).await;
    complete(store, "one", 2).await;
    assert_eq!(walk(store, 0..3).await, [0, 1, 2]);
}

fn key(job: u128) -> String {
    format!("project_id = 'p' AND job_id = {}", Uuid::from_u128(job))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_job_that_was_forgotten_with_its_completion_is_completed_with_the_same_receipt() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    put_jobs(store, 0..2).await;
    complete(store, "one", 0).await;
    let done = receipt(store, 0).await;
    run(&keyspace, &format!("DELETE FROM {{ks}}.jobs WHERE {}", key(0))).await;
    assert!(store.job("p", Uuid::from_u128(0)).await.unwrap().is_none());
    complete(store, "two", 1).await;
    assert_eq!(receipt(store, 0).await, done);
    assert_eq!(walk(store, 0..2).await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn after_a_head_was_forgotten_the_chain_goes_on() {
    let keyspace = Keyspace::empty().await;
    let store = &keyspace.store;
    put_jobs(store, 0..3).await;
    complete(store, "one", 0).await;
    run(&keyspace, "DELETE FROM {ks}.completions WHERE project_id = 'p'").await;
    assert_eq!(store.newest_receipt("p").await.unwrap(), None);
    // What is completed stays so.
    complete(store, "two", 0).await;
    assert!(receipt(store, 0).await.token.starts_with("one"));
    complete(store, "two", 1).await;
    complete(store, "two", 2).await;
    assert_eq!(walk(store, 1..3).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_job_that_failed_takes_no_number_and_ends_one_way_only() {
    let keyspace = Keyspace::empty().await;
    let (one, two) = (&keyspace.store, &connected(&keyspace.config).await);
    put_jobs(one, 0..8).await;
    for job in 0..8 {
        let id = Uuid::from_u128(job);
        let fails = async { while one.complete_job("p", id, failed()).await.is_err() {} };
        tokio::join!(fails, complete(two, "two", job));
    }
    let mut whole = 0;
    for job in 0..8 {
        let row = one.job("p", Uuid::from_u128(job)).await.unwrap().unwrap();
        whole += u64::from(row.completion.unwrap().receipt.is_some());
    }
    let newest = one.newest_receipt("p").await.unwrap();
    assert_eq!(newest.map_or(0, |newest| newest.number), whole);
}
