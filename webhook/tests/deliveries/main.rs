//! Deliveries from a real store to real receivers on this machine.

#![expect(clippy::unwrap_used, reason = "what a test relies on may fail it")]

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use millrace_client::{Addresses, Client, Options};
use millrace_schema::Topic;
use millrace_schema::record::{Job, Reach};
use millrace_schema::time::wall_clock_us;
use millrace_store::embedded::{Config as StoreConfig, EmbeddedStore};
use millrace_store::{
    Change, Commit, Completion, Delivery, DeliveryState, IssuedReceipt, JobRow, Stamp, Store, Write,
};
use millrace_webhook::{Config, Sign, deliver};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::receiver::{Receiver, Request};

const PROJECT: &str = "p";

/// A store with jobs, and what sends their receipts.
struct World {
    store: Arc<dyn Store>,
    key: Arc<Ed25519KeyPair>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), StoreConfig::default()).unwrap();
        let key = Arc::new(Ed25519KeyPair::generate().unwrap());
        Self { store: Arc::new(store), key, _folder: folder }
    }

    /// A job that is not completed, and a delivery of its receipt.
    async fn job(&self, project: &str, id: u128, url: &str) {
        let job = Job {
            job: Uuid::from_u128(id),
            users: 1,
            erase: Reach::ALL.to_vec(),
            ..Job::default()
        };
        let row = JobRow { project: project.to_owned(), accepted_us: 1, job, completion: None };
        let mut ledger = self.store.claim(Topic::Deletions, 0).await.unwrap();
        ledger.sequence += 1;
        let generation = self.store.generation().await.unwrap();
        let writes = vec![Write { stamp: Stamp(1), change: Change::PutJob { job: row } }];
        self.store.commit(Commit { writes, ledger, generation }).await.unwrap();
        let delivery = Delivery {
            url: url.to_owned(),
            state: DeliveryState::Pending,
            attempts: 0,
            error: None,
            updated_us: wall_clock_us(),
        };
        self.store.put_delivery(project, Uuid::from_u128(id), delivery).await.unwrap();
    }

    async fn complete(&self, project: &str, id: u128, completed_us: i64, number: Option<u64>) {
        let receipt = number.map(|number| IssuedReceipt { number, token: token(id) });
        let found = u64::from(receipt.is_none());
        let completion = Completion { completed_us, sampled: 1, found, receipt };
        let job = Uuid::from_u128(id);
        assert!(self.store.complete_job(project, job, completion).await.unwrap());
    }

    /// A job of today with a receipt to be sent.
    async fn completed(&self, project: &str, id: u128, url: &str) {
        self.job(project, id, url).await;
        self.complete(project, id, wall_clock_us(), Some(1)).await;
    }

    async fn delivery(&self, project: &str, id: u128) -> Delivery {
        let read = self.store.deliveries(project, vec![Uuid::from_u128(id)]).await.unwrap();
        read.into_iter().next().unwrap().unwrap()
    }

    /// Waits until a delivery is as wanted.
    async fn until(&self, project: &str, id: u128, is: impl Fn(&Delivery) -> bool) -> Delivery {
        let waited = async {
            loop {
                let delivery = self.delivery(project, id).await;
                if is(&delivery) {
                    return delivery;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap()
    }

    fn start(&self, options: Options, config: Config) -> Sending {
        let key = Arc::clone(&self.key);
        let sign: Sign = Arc::new(move |bytes| key.sign(bytes).as_ref().to_vec());
        let client = Client::new(options).unwrap();
        Sending(tokio::spawn(deliver(Arc::clone(&self.store), client, sign, config)))
    }

    /// Asserts that what was received is the receipt of a job, signed with the key.
    fn assert_receipt(&self, request: &Request, id: u128) {
        assert_eq!(request.body, token(id));
        let id = request.header("webhook-id");
        let signed = format!("{id}.{}.{}", request.header("webhook-timestamp"), request.body);
        let signature = request.header("webhook-signature").strip_prefix("v1a,").unwrap();
        let signature = STANDARD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, self.key.public_key());
        public.verify(signed.as_bytes(), &signature).unwrap();
    }
}

/// Ends when dropped.
struct Sending(JoinHandle<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A token with the claims that matter here.
fn token(id: u128) -> String {
    let claims = format!(r#"{{"jti":"{}"}}"#, Uuid::from_u128(id + 1000));
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn quick() -> Config {
    let (poll_interval, retry_min) = (Duration::from_millis(5), Duration::from_millis(5));
    Config { poll_interval, retry_min, ..Config::default() }
}

/// A second attempt does not come before the test is over.
fn patient() -> Config {
    Config { retry_min: Duration::from_secs(3600), ..quick() }
}

fn allowed() -> Options {
    let addresses = Addresses::Public { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
    Options { addresses, ..Options::default() }
}

#[tokio::test]
async fn a_receipt_is_delivered_once_signed_and_only_after_its_job_is_completed() {
    let (world, mut receiver) = (World::new(), Receiver::answering(&[204]).await);
    world.job(PROJECT, 1, &receiver.url("/early")).await;
    world.job(PROJECT, 2, &receiver.url("/hook?key=s3cret")).await;
    world.complete(PROJECT, 2, wall_clock_us(), Some(1)).await;
    let _sending = world.start(allowed(), quick());
    let delivery = world.until(PROJECT, 2, |is| is.state == DeliveryState::Delivered).await;
    assert_eq!((delivery.attempts, delivery.error), (1, None));
    let request = receiver.next().await;
    assert_eq!(request.line, "POST /hook?key=s3cret HTTP/1.1");
    assert_eq!(request.header("webhook-id"), Uuid::from_u128(1002).to_string());
    assert_eq!(request.header("content-type"), "application/jwt");
    world.assert_receipt(&request, 2);

    world.complete(PROJECT, 1, wall_clock_us(), Some(2)).await;
    world.until(PROJECT, 1, |is| is.state == DeliveryState::Delivered).await;
    world.assert_receipt(&receiver.next().await, 1);
    assert!(receiver.is_silent());
    assert!(world.store.open_deliveries().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_receipt_goes_by_tls_to_whom_it_trusts_and_to_nobody_else() {
    let world = World::new();
    let ((mut trusted, certificate), (mut other, _)) =
        (Receiver::by_tls().await, Receiver::by_tls().await);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, certificate).unwrap();
    world.completed("trusted", 1, &trusted.url("/")).await;
    world.completed("other", 2, &other.url("/")).await;
    let _sending = world.start(Options { roots: Some(roots), ..allowed() }, patient());
    world.until("trusted", 1, |is| is.state == DeliveryState::Delivered).await;
    world.assert_receipt(&trusted.next().await, 1);
    let delivery = world.until("other", 2, |is| is.error.is_some()).await;
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert!(delivery.error.unwrap().starts_with("TLS with 127.0.0.1: invalid peer certificate"));
    assert!(other.is_silent());
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_under_the_same_id() {
    let (world, mut receiver) = (World::new(), Receiver::answering(&[500, 302, 404, 200]).await);
    world.completed(PROJECT, 1, &receiver.url("/")).await;
    let _sending = world.start(allowed(), quick());
    let delivery = world.until(PROJECT, 1, |is| is.state == DeliveryState::Delivered).await;
    assert_eq!((delivery.attempts, delivery.error), (4, None));
    for _ in 0..4 {
        let request = receiver.next().await;
        assert_eq!(request.line, "POST / HTTP/1.1", "a redirect is not followed");
        world.assert_receipt(&request, 1);
    }
}

#[tokio::test]
async fn who_starts_later_goes_on_where_the_attempts_stand() {
    let (world, mut receiver) = (World::new(), Receiver::answering(&[500, 200]).await);
    world.completed(PROJECT, 1, &receiver.url("/")).await;
    let sending = world.start(allowed(), patient());
    let delivery = world.until(PROJECT, 1, |is| is.error.is_some()).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1));
    assert_eq!(delivery.error.as_deref(), Some("the answer is 500"));
    receiver.next().await;
    drop(sending);

    world.completed("other", 2, &receiver.url("/other")).await;
    let _sending = world.start(allowed(), patient());
    world.until("other", 2, |is| is.state == DeliveryState::Delivered).await;
    assert_eq!(receiver.next().await.line, "POST /other HTTP/1.1");
    assert_eq!(world.delivery(PROJECT, 1).await, delivery, "it is not due yet");

    let due = Delivery { updated_us: 0, ..delivery };
    world.store.put_delivery(PROJECT, Uuid::from_u128(1), due).await.unwrap();
    let delivery = world.until(PROJECT, 1, |is| is.state == DeliveryState::Delivered).await;
    assert_eq!(delivery.attempts, 2);
}

#[tokio::test]
async fn who_answers_410_is_not_asked_again() {
    let (world, receiver) = (World::new(), Receiver::answering(&[410]).await);
    world.completed(PROJECT, 1, &receiver.url("/")).await;
    let _sending = world.start(allowed(), quick());
    let delivery = world.until(PROJECT, 1, |is| is.state == DeliveryState::Failed).await;
    assert_eq!(delivery.attempts, 1);
    assert!(delivery.error.unwrap().contains("410"));
}

#[tokio::test]
async fn a_delivery_of_a_job_that_was_completed_long_ago_is_tried_once_more_and_given_up() {
    let (world, receiver) = (World::new(), Receiver::answering(&[500]).await);
    world.job(PROJECT, 1, &receiver.url("/")).await;
    world.complete(PROJECT, 1, 1, Some(1)).await;
    let _sending = world.start(allowed(), quick());
    let delivery = world.until(PROJECT, 1, |is| is.state == DeliveryState::Failed).await;
    assert_eq!(delivery.attempts, 1);
    assert_eq!(delivery.error.as_deref(), Some("given up: the answer is 500"));
}

#[tokio::test]
async fn a_job_that_failed_has_nothing_to_deliver() {
    let (world, mut receiver) = (World::new(), Receiver::answering(&[200]).await);
    world.job(PROJECT, 1, &receiver.url("/")).await;
    world.complete(PROJECT, 1, wall_clock_us(), None).await;
    let _sending = world.start(allowed(), quick());
    let delivery = world.until(PROJECT, 1, |is| is.state == DeliveryState::Failed).await;
    assert!(delivery.error.unwrap().contains("no receipt"));
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn an_address_that_may_not_be_reached_is_not_and_the_state_says_so() {
    let (world, mut receiver) = (World::new(), Receiver::answering(&[200]).await);
    let by_tls = receiver.url("/").replace("http:", "https:");
    world.completed("plain", 1, &receiver.url("/?key=s3cret")).await;
    world.completed("tls", 2, &by_tls).await;
    world.completed("none", 3, "https://user:s3cret@example.org/").await;
    let addresses = Addresses::Public { allowed: Vec::new() };
    let _sending = world.start(Options { addresses, ..Options::default() }, patient());
    for (project, id) in [("plain", 1), ("tls", 2)] {
        let delivery = world.until(project, id, |is| is.error.is_some()).await;
        assert_eq!(delivery.state, DeliveryState::Pending);
        assert_eq!(delivery.error.unwrap(), "the address 127.0.0.1 is refused: it is loopback");
    }
    let delivery = world.until("none", 3, |is| is.state == DeliveryState::Failed).await;
    assert!(!delivery.error.unwrap().contains("s3cret"));
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn who_never_answers_does_not_hold_up_the_others() {
    let (world, mut receiver) = (World::new(), Receiver::answering(&[200]).await);
    let silent = Receiver::silent().await;
    for id in 1..=20 {
        world.job("silent", id, &silent.url("/")).await;
        world.complete("silent", id, wall_clock_us(), Some(id as u64)).await;
    }
    world.completed(PROJECT, 21, &receiver.url("/")).await;
    let config = Config { calls_max: 8, ..quick() };
    let _sending = world.start(allowed(), config);
    world.until(PROJECT, 21, |is| is.state == DeliveryState::Delivered).await;
    world.assert_receipt(&receiver.next().await, 21);
}

#[tokio::test]
async fn who_never_answers_is_given_up_for_now() {
    let (world, silent) = (World::new(), Receiver::silent().await);
    world.completed(PROJECT, 1, &silent.url("/")).await;
    let options = Options { timeout: Duration::from_millis(20), ..allowed() };
    let _sending = world.start(options, quick());
    let delivery = world.until(PROJECT, 1, |is| is.attempts > 2).await;
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert_eq!(delivery.error.as_deref(), Some("the call took longer than 20 ms"));
}

#[tokio::test]
async fn two_processes_share_the_deliveries_and_each_is_made() {
    let (world, receiver) = (World::new(), Receiver::answering(&[200]).await);
    for id in 1..=20 {
        world.job(PROJECT, id, &receiver.url("/")).await;
        world.complete(PROJECT, id, wall_clock_us(), Some(id as u64)).await;
    }
    let _sending = [world.start(allowed(), patient()), world.start(allowed(), patient())];
    for id in 1..=20 {
        world.until(PROJECT, id, |is| is.state == DeliveryState::Delivered).await;
    }
}
