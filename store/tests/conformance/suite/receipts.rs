//! The chain of a project's receipts.

use std::collections::BTreeMap;

use millrace_schema::Topic;
use millrace_schema::receipt::token_hash;
use millrace_schema::record::Job;
use millrace_store::{Change, Completion, IssuedReceipt, JobRow, NewestReceipt, Store};
use uuid::Uuid;

use super::{Worker, at_once};

/// Registers jobs 1..=n of a project.
async fn register<S: Store>(store: &S, project: &str, n: u64) {
    let job = |id: u64| Job {
        job: Uuid::from_u128(id.into()),
        users: 1,
        sample: vec!["u".into()],
        ..Job::default()
    };
    let row =
        |id| JobRow { project: project.into(), accepted_us: 1, job: job(id), completion: None };
    let mut worker = Worker::claim(store, Topic::Deletions, 0).await;
    worker.commit((1..=n).map(|id| (id, Change::PutJob { job: row(id) }))).await;
}

fn completion(number: u64, token: &str) -> Completion {
    let receipt = Some(IssuedReceipt { number, token: token.into() });
    Completion { completed_us: 5, sampled: 1, found: 0, receipt }
}

async fn complete<S: Store>(store: &S, project: &str, job: u128, completion: Completion) -> bool {
    store.complete_job(project, Uuid::from_u128(job), completion).await.unwrap()
}

fn newest(number: u64, job: u128, token: &str) -> Option<NewestReceipt> {
    Some(NewestReceipt { number, job: Uuid::from_u128(job), hash: token_hash(token) })
}

pub(crate) async fn a_receipt_is_the_newest_of_its_project<S: Store>(store: &S) {
    register(store, "p", 2).await;
    register(store, "p2", 1).await;
    assert_eq!(store.newest_receipt("p").await.unwrap(), None);
    assert!(complete(store, "p", 1, completion(1, "one")).await);
    assert_eq!(store.newest_receipt("p").await.unwrap(), newest(1, 1, "one"));
    assert_eq!(store.newest_receipt("p2").await.unwrap(), None);
    assert!(complete(store, "p", 2, completion(2, "two")).await);
    assert!(complete(store, "p2", 1, completion(1, "other")).await);
    assert_eq!(store.newest_receipt("p").await.unwrap(), newest(2, 2, "two"));
    assert_eq!(store.newest_receipt("p2").await.unwrap(), newest(1, 1, "other"));
    let job = store.job("p", Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!(job.completion, Some(completion(1, "one")));
    // A repeated call, whose number is taken by its own receipt.
    assert!(complete(store, "p", 1, completion(3, "again")).await);
    assert_eq!(store.newest_receipt("p").await.unwrap(), newest(2, 2, "two"));
    assert_eq!(store.job("p", Uuid::from_u128(1)).await.unwrap(), Some(job));
}

pub(crate) async fn a_receipt_with_another_number_than_the_next_completes_nothing<S: Store>(
    store: &S,
) {
    register(store, "p", 2).await;
    for number in [0, 2, u64::MAX] {
        assert!(!complete(store, "p", 1, completion(number, "x")).await, "{number} as the first");
    }
    assert_eq!(store.newest_receipt("p").await.unwrap(), None);
    assert!(complete(store, "p", 1, completion(1, "one")).await);
    for number in [0, 1, 3, u64::MAX] {
        assert!(
            !complete(store, "p", 2, completion(number, "x")).await,
            "{number} after the first"
        );
    }
    assert_eq!(store.newest_receipt("p").await.unwrap(), newest(1, 1, "one"));
    let job = store.job("p", Uuid::from_u128(2)).await.unwrap().unwrap();
    assert_eq!((job.completion, job.job.sample), (None, vec!["u".to_owned()]));
    assert!(store.open_jobs().await.unwrap().iter().any(|job| job.job.job == Uuid::from_u128(2)));
}

pub(crate) async fn a_failed_job_has_no_place_in_the_chain<S: Store>(store: &S) {
    register(store, "p", 2).await;
    let failed = Completion { completed_us: 5, sampled: 1, found: 1, receipt: None };
    assert!(complete(store, "p", 1, failed.clone()).await);
    assert_eq!(store.newest_receipt("p").await.unwrap(), None);
    assert!(complete(store, "p", 1, completion(1, "late")).await, "it is completed already");
    assert_eq!(store.newest_receipt("p").await.unwrap(), None);
    let job = store.job("p", Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!(job.completion, Some(failed));
    assert!(complete(store, "p", 2, completion(1, "first")).await);
    assert_eq!(store.newest_receipt("p").await.unwrap(), newest(1, 2, "first"));
}

/// Completes a job as its worker does: with the number after the newest, until it is not taken.
async fn complete_in_turn<S: Store>(store: &S, job: u64) {
    for _ in 0..1_000 {
        let number = store.newest_receipt("p").await.unwrap().map_or(1, |newest| newest.number + 1);
        let token = format!("job {job} number {number}");
        if complete(store, "p", job.into(), completion(number, &token)).await {
            return;
        }
    }
    unreachable!("job {job} found no number of its own");
}

pub(crate) async fn receipts_at_once_make_a_chain_without_gaps<S: Store>(store: &S) {
    const JOBS: u64 = 100;
    register(store, "p", JOBS).await;
    let completions = (1..=JOBS).map(|job| -> millrace_store::Answer<'_, ()> {
        Box::pin(async move {
            complete_in_turn(store, job).await;
            Ok(())
        })
    });
    at_once(completions.collect()).await;
    let jobs = store.jobs("p", None, 1_000).await.unwrap();
    let receipts: BTreeMap<u64, (Uuid, String)> = jobs
        .into_iter()
        .filter_map(|row| Some((row.job.job, row.completion?.receipt?)))
        .map(|(job, receipt)| (receipt.number, (job, receipt.token)))
        .collect();
    assert_eq!(receipts.keys().copied().collect::<Vec<_>>(), (1..=JOBS).collect::<Vec<_>>());
    let (number, (job, token)) = receipts.last_key_value().unwrap();
    assert_eq!(store.newest_receipt("p").await.unwrap(), newest(*number, job.as_u128(), token));
    for (number, (job, token)) in receipts {
        assert_eq!(token, format!("job {} number {number}", job.as_u128()));
    }
}
