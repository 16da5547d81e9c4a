//! Receipts, and the keys they are checked with.

use millrace_accounts::{Jwks, Scope};
use millrace_schema::Topic;
use millrace_schema::record::{Fence, Job, Reach};
use millrace_store::{
    AccountStore, Change, Commit, Completion, Delivery, DeliveryState, IssuedReceipt, JobRow,
    ReceiptKey, Stamp, Store, Write,
};
use uuid::Uuid;

use crate::fixture::{Fixture, PROJECT, QUERY};

const JOBS: &str = "/v1/api/profile/user/deletion-job";

fn job(id: u128) -> JobRow {
    let fence = Fence { topic: Topic::Events, partition: 0, first: 0, last: 0, count: 1 };
    let job = Job {
        job: Uuid::from_u128(id),
        users: 1,
        erase: vec![Reach::Events],
        fence: vec![fence],
        sample: vec!["u".to_owned()],
        ..Job::default()
    };
    let accepted_us = 1_737_092_362_000_000 + id as i64;
    JobRow { project: PROJECT.to_owned(), accepted_us, job, completion: None }
}

/// Puts jobs into the store, as a worker does.
async fn register(fixture: &Fixture, jobs: &[JobRow]) {
    let mut ledger = fixture.store.claim(Topic::Deletions, 0).await.unwrap();
    ledger.sequence += 1;
    let put = |(n, job): (i64, &JobRow)| Write {
        stamp: Stamp(n),
        change: Change::PutJob { job: job.clone() },
    };
    let writes = (1..).zip(jobs).map(put).collect();
    let generation = fixture.store.generation().await.unwrap();
    fixture.store.commit(Commit { writes, ledger, generation }).await.unwrap();
}

fn completion(found: u64, token: Option<&str>) -> Completion {
    let receipt = token.map(|token| IssuedReceipt { number: 1, token: token.to_owned() });
    Completion { completed_us: 1_737_092_363_000_000, sampled: 1, found, receipt }
}

fn path(job: &JobRow) -> String {
    format!("{JOBS}/{}/receipt", job.job.job)
}

#[tokio::test]
async fn a_receipt_is_there_when_the_job_is_completed_and_never_of_a_failed_one() {
    let fixture = Fixture::new().await;
    let (done, failed, open) = (job(1), job(2), job(3));
    let unknown = fixture.get(&path(&done)).await;
    assert_eq!((unknown.status, &*unknown.headers["retry-after"]), (404, "1"));
    register(&fixture, &[done.clone(), failed.clone(), open.clone()]).await;
    let store = &fixture.store;
    let end = |job: &JobRow, end| store.complete_job(PROJECT, job.job.job, end);
    assert!(end(&done, completion(0, Some("a.b.c"))).await.unwrap());
    assert!(end(&failed, completion(1, None)).await.unwrap());

    let receipt = fixture.get(&path(&done)).await;
    assert_eq!((receipt.status, &receipt.body[..]), (200, &b"a.b.c"[..]));
    assert_eq!(receipt.headers["content-type"], "application/jwt");
    for (job, reason) in [(&open, "not completed yet"), (&failed, "has failed")] {
        let refused = fixture.get(&path(job)).await;
        assert_eq!((refused.status, &refused.json()["code"]), (409, &"CONFLICT".into()));
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(fixture.get(&format!("{JOBS}/nonsense/receipt")).await.status, 400);
    let (_, write_only) = fixture.mint(PROJECT, &[Scope::Write, Scope::Delete], None);
    let target = format!("{}?{QUERY}", path(&done));
    let headers = format!("Authorization: Bearer {write_only}\r\n");
    assert_eq!(fixture.request("GET", &target, &headers, b"").await.status, 403);
    assert_eq!(fixture.request("GET", &target, "", b"").await.status, 401);
    let (_, foreign) = fixture.mint("other", &Scope::ALL, None);
    let headers = format!("Authorization: Bearer {foreign}\r\n");
    let target = format!("{}?project_id=other", path(&done));
    assert_eq!(fixture.request("GET", &target, &headers, b"").await.status, 404);
}

#[tokio::test]
async fn jobs_show_their_delivery_alone_and_in_the_list() {
    let fixture = Fixture::new().await;
    let (with, without) = (job(1), job(2));
    register(&fixture, &[with.clone(), without.clone()]).await;
    let delivery = Delivery {
        url: "https://example.com/hush".to_owned(),
        state: DeliveryState::Failed,
        attempts: 9,
        error: Some("gave up".to_owned()),
        updated_us: 1_737_092_364_000_000,
    };
    fixture.store.put_delivery(PROJECT, with.job.job, delivery).await.unwrap();
    let list = fixture.get(JOBS).await.json();
    let expected = serde_json::json!({
        "state": "failed", "attempts": 9, "error": "gave up", "updated_at": "2025-01-17T05:39:24Z",
    });
    assert_eq!(list["jobs"][1]["webhook"], expected);
    assert!(list["jobs"][0].get("webhook").is_none(), "{list}");
    let alone = fixture.get(&format!("{JOBS}/{}", with.job.job)).await.json();
    assert_eq!(alone["webhook"], expected);
}

#[tokio::test]
async fn the_keys_of_receipts_are_for_everybody() {
    let fixture = Fixture::new().await;
    let key = ReceiptKey { kid: "k".to_owned(), public: vec![7; 32], created_us: 1 };
    fixture.store.add_receipt_key(key.clone()).await.unwrap();
    let keys = fixture.request("GET", "/.well-known/jwks.json", "", b"").await;
    assert_eq!((keys.status, &*keys.headers["content-type"]), (200, "application/jwk-set+json"));
    let keys: Jwks = serde_json::from_slice(&keys.body).unwrap();
    assert_eq!(keys, Jwks::of(&[key]));
    let refused = fixture.request("POST", "/.well-known/jwks.json", "", b"").await;
    assert_eq!((refused.status, &*refused.headers["allow"]), (405, "GET, HEAD"));
}
