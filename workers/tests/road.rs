//! From the log to the store and back, over the real embedded engines.

#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use millrace_log::embedded::EmbeddedLog;
use millrace_log::{Batch, Log, LogRecord, Reader};
use millrace_schema::receipt::{Previous, Receipt, token_hash};
use millrace_schema::record::{
    Body, Event, Fence, HEADER_ERROR, HEADER_ORIGIN_OFFSET, HEADER_ORIGIN_TIME_US, Job, Marker,
    Profile, Reach, Record, Refused,
};
use millrace_schema::time::wall_clock_us;
use millrace_schema::user::write_user_key;
use millrace_schema::{Outcome, Topic, UserKey};
use millrace_store::embedded::EmbeddedStore;
use millrace_store::{
    AccountStore, Completion, DeliveryState, EventQuery, EventRow, ReceiptKey, Store,
};
use millrace_workers::{Config, Receipts, Workers};
use uuid::Uuid;

const PROJECT: &str = "demo";

/// A log and a store in a folder, and workers between them.
struct Road {
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    accounts: Arc<dyn AccountStore>,
    workers: Option<Workers>,
}

impl Road {
    fn open(dir: &Path) -> Self {
        let log = EmbeddedLog::open(&dir.join("log"), Default::default()).unwrap();
        let store = EmbeddedStore::open(&dir.join("store"), Default::default()).unwrap();
        let store = Arc::new(store);
        Self { log: Arc::new(log), accounts: store.clone(), store, workers: None }
    }

    fn start(&mut self) {
        self.start_signing(|receipt| serde_json::to_string(receipt).map_err(|e| e.to_string()));
    }

    fn start_signing(
        &mut self,
        sign: impl Fn(&Receipt) -> Result<String, String> + Send + Sync + 'static,
    ) {
        let config = Config { linger: Duration::ZERO, ..Config::default() };
        let (log, store) = (self.log.clone(), self.store.clone());
        let key = ReceiptKey { kid: "k".into(), public: vec![1; 32], created_us: 1 };
        let receipts = Receipts {
            issuer: "me".into(),
            key,
            sign: Arc::new(sign),
            accounts: self.accounts.clone(),
        };
        let workers = millrace_workers::start(config, log, store, &Topic::CONSUMED, Some(receipts));
        self.workers = Some(workers.unwrap());
    }

    async fn completed(&self, job: Uuid) -> Completion {
        loop {
            if let Some(row) = self.store.job(PROJECT, job).await.unwrap()
                && let Some(completion) = row.completion
            {
                assert!(row.job.sample.is_empty(), "the sample is forgotten");
                return completion;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(&mut self) {
        self.workers.take().unwrap().stop(Duration::from_secs(30)).await.unwrap();
    }

    async fn append(&self, batch: Batch) -> Vec<u64> {
        self.log.append(batch).await.unwrap().offsets
    }

    /// Waits until every record is applied; every read of the ledger on the way must add up.
    async fn settle(&self) {
        loop {
            let mut frontiers = BTreeMap::new();
            for row in self.store.ledger().await.unwrap() {
                assert_eq!(row.counts.total(), row.frontier, "{row:?}");
                frontiers.insert((row.topic, row.partition), row.frontier);
            }
            let mut pending = 0;
            for topic in Topic::CONSUMED {
                for (partition, bounds) in (0..).zip(self.log.bounds(topic).await.unwrap()) {
                    pending +=
                        bounds.end - frontiers.get(&(topic, partition)).copied().unwrap_or(0);
                }
            }
            if pending == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn count(&self, topic: Topic, outcome: Outcome) -> u64 {
        let rows = self.store.ledger().await.unwrap();
        let of_topic = rows.iter().filter(|row| row.topic == topic);
        of_topic.filter_map(|row| row.counts.by_outcome().get(&outcome).copied()).sum()
    }

    async fn events(&self, user: &str) -> Vec<EventRow> {
        let query = EventQuery { from_us: None, to_us: None, before: None, limit: 1_000 };
        self.store.events(UserKey::new(PROJECT, user), query).await.unwrap()
    }

    async fn delete(&self, users: &[&str]) -> Uuid {
        self.delete_and_sample(users, users).await
    }

    async fn delete_and_sample(&self, users: &[&str], sample: &[&str]) -> Uuid {
        let id = Uuid::now_v7();
        let mut fences: BTreeMap<(Topic, u32), Fence> = BTreeMap::new();
        for user in users {
            for topic in Topic::DATA {
                let mut batch = Batch::default();
                let marker = Marker { user: (*user).into(), job: id };
                push(&mut batch, &self.log, topic, user, Body::Marker(marker));
                let partition = batch.entries().next().unwrap().partition;
                let offset = self.append(batch).await[0];
                let fence = fences.entry((topic, partition)).or_insert(Fence {
                    topic,
                    partition,
                    first: offset,
                    last: offset,
                    count: 0,
                });
                fence.last = offset;
                fence.count += 1;
            }
        }
        let mut batch = Batch::default();
        let body = Body::Job(Job {
            job: id,
            users: users.len() as u64,
            erase: Reach::ALL.to_vec(),
            fence: fences.into_values().collect(),
            sample: sample.iter().map(|user| (*user).to_owned()).collect(),
            ..Job::default()
        });
        push(&mut batch, &self.log, Topic::Deletions, &id.to_string(), body);
        self.append(batch).await;
        id
    }
}

fn push(batch: &mut Batch, log: &Arc<dyn Log>, topic: Topic, key: &str, body: Body<'_>) {
    push_with_headers(batch, log, topic, key, body, Vec::new());
}

fn push_with_headers(
    batch: &mut Batch,
    log: &Arc<dyn Log>,
    topic: Topic,
    key: &str,
    body: Body<'_>,
    headers: Vec<(String, String)>,
) {
    let record = Record { project: PROJECT.into(), received_us: wall_clock_us(), body };
    batch.push_with_headers(
        topic,
        log.partitions(),
        headers,
        |out| write_user_key(out, PROJECT, key),
        |out| record.encode(out),
    );
}

fn event<'a>(user: &'a str, id: &'a str, time_us: Option<i64>) -> Body<'a> {
    Body::Event(Event {
        user: user.into(),
        id: id.into(),
        name: "mkt_page_view".into(),
        time_us,
        properties: Some(r#"{"mkt_url":"/"}"#.into()),
        extra: None,
    })
}

fn profile<'a>(user: &'a str, properties: &'a str, time_us: Option<i64>) -> Body<'a> {
    Body::Profile(Profile { user: user.into(), time_us, properties: Some(properties.into()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_applied_once_over_restarts_and_the_ledger_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    for round in 0..3 {
        road.start();
        let mut batch = Batch::default();
        for n in 0..100 {
            let (user, id) = (format!("u{}", n % 7), format!("{round}-{n}"));
            push(&mut batch, &road.log, Topic::Events, &user, event(&user, &id, None));
            push(&mut batch, &road.log, Topic::Events, &user, event(&user, &id, None));
        }
        road.append(batch).await;
        road.settle().await;
        road.stop().await;
    }
    assert_eq!(road.count(Topic::Events, Outcome::Stored).await, 300);
    assert_eq!(road.count(Topic::Events, Outcome::Duplicate).await, 300);
    let mut stored = 0;
    for user in 0..7 {
        stored += road.events(&format!("u{user}")).await.len();
    }
    assert_eq!(stored, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_erases_what_stands_before_it_and_nothing_that_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let send = async |properties: &str, time_us, id: &str| {
        let mut batch = Batch::default();
        let body = profile("u", properties, Some(time_us));
        push(&mut batch, &road.log, Topic::Profiles, "u", body);
        push(&mut batch, &road.log, Topic::Events, "u", event("u", id, Some(time_us)));
        road.append(batch).await;
    };
    send(r#"{"a":1,"b":1}"#, 2_000_000, "before").await;
    let job = road.delete(&["u", "unknown"]).await;
    send(r#"{"a":2}"#, 1_000_000, "after").await;
    road.start();
    road.settle().await;
    let rows = road.store.profiles(vec![UserKey::new(PROJECT, "u")]).await.unwrap();
    let cells = &rows[0].as_ref().unwrap().cells;
    assert_eq!(cells.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(cells["a"].value.as_deref(), Some("2"), "an older time is as good in a new life");
    let ids: Vec<String> = road.events("u").await.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["after"]);
    let completion = road.completed(job).await;
    assert_eq!((completion.sampled, completion.found), (2, 0));
    road.stop().await;
}

/// The receipt of a completion whose token is the receipt's JSON.
fn receipt_of(completion: &Completion) -> (u64, Receipt) {
    let issued = completion.receipt.as_ref().unwrap();
    (issued.number, serde_json::from_str(&issued.token).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_numbered_chained_and_announced_to_the_webhook() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let url = "https://example.com/hook".to_owned();
    road.accounts.set_webhook(PROJECT, Some(url.clone())).await.unwrap();
    road.start();
    let mut previous = None;
    for number in 1..=3 {
        let job = road.delete(&["u", "v"]).await;
        let completion = road.completed(job).await;
        let (issued, receipt) = receipt_of(&completion);
        assert_eq!((issued, receipt.number), (number, number));
        assert_eq!(receipt.previous, previous);
        assert_eq!((&*receipt.iss, receipt.job_id, receipt.users), ("me", job, 2));
        assert_eq!((receipt.read_back.sampled, receipt.read_back.found), (2, 0));
        assert!(receipt.accepted_at < receipt.settled_at);
        assert!(receipt.settled_at <= receipt.completed_at);
        let places: Vec<&str> = receipt.residuals.iter().map(|r| &*r.place).collect();
        assert!(places.starts_with(&["log", "dead_letters"]), "{places:?}");
        let hash = token_hash(&completion.receipt.unwrap().token);
        previous = Some(Previous { job_id: job, hash });
        let deliveries = road.store.deliveries(PROJECT, vec![job]).await.unwrap();
        let delivery = deliveries[0].as_ref().unwrap();
        assert_eq!((delivery.state, &delivery.url), (DeliveryState::Pending, &url));
    }
    let keys = road.accounts.receipt_keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| &*key.kid).collect::<Vec<_>>(), ["k"]);
    road.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_many_at_once_make_one_chain_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let mut jobs = Vec::new();
    for round in 0..3 {
        for n in 0..5 {
            jobs.push(road.delete(&[&format!("u{round}-{n}"), "all"]).await);
        }
        road.start();
        road.settle().await;
        road.stop().await;
    }
    road.start();
    let mut chain = BTreeMap::new();
    for job in &jobs {
        let completion = road.completed(*job).await;
        chain.insert(receipt_of(&completion).0, (*job, completion));
    }
    road.stop().await;
    assert!(chain.keys().copied().eq(1..=jobs.len() as u64), "no gap, none twice");
    let mut previous = None;
    for (job, completion) in chain.into_values() {
        assert_eq!(receipt_of(&completion).1.previous, previous);
        let hash = token_hash(&completion.receipt.unwrap().token);
        previous = Some(Previous { job_id: job, hash });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_completed_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let stuck = road.delete(&["u", "v", "w"]).await;
    let others = [road.delete(&["u"]).await, road.delete(&["v"]).await];
    road.start_signing(|receipt| match receipt.users {
        1 => serde_json::to_string(receipt).map_err(|e| e.to_string()),
        _ => Err("test".to_owned()),
    });
    for job in others {
        road.completed(job).await;
    }
    road.stop().await;
    let open = road.store.open_jobs().await.unwrap();
    assert_eq!(open.iter().map(|row| row.job.job).collect::<Vec<_>>(), [stuck]);
    road.start();
    assert_eq!(receipt_of(&road.completed(stuck).await).0, 3);
    road.stop().await;
}

#[tokio::test]
async fn a_job_that_left_data_behind_fails_and_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let partition = |user: &str| {
        let mut batch = Batch::default();
        push(&mut batch, &road.log, Topic::Events, user, event(user, "1", Some(1)));
        let partition = batch.entries().next().unwrap().partition;
        (partition, batch)
    };
    let mut neighbours = (0..).map(|n| format!("v{n}"));
    let neighbour = neighbours.find(|v| partition(v).0 == partition("u").0).unwrap();
    road.append(partition(&neighbour).1).await;
    let job = road.delete_and_sample(&["u"], &["u", &neighbour]).await;
    road.start();
    let completion = road.completed(job).await;
    assert_eq!((completion.sampled, completion.found, completion.receipt), (2, 1, None));
    road.stop().await;
    assert!(recorder.handle().render().contains("millrace_deletion_jobs_failed_total 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_among_the_dead_letters_with_its_origin_and_the_partition_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let mut batch = Batch::default();
    let partitions = road.log.partitions();
    push(&mut batch, &road.log, Topic::Events, "u", event("u", "1", Some(1)));
    let key = |out: &mut Vec<u8>| write_user_key(out, PROJECT, "u");
    batch.push(Topic::Events, partitions, key, |out| out.extend_from_slice(b"{\"v\":1"));
    push(&mut batch, &road.log, Topic::Events, "u", profile("u", "{}", None));
    push(&mut batch, &road.log, Topic::Events, "u", event("u", "2", Some(2)));
    let partition = batch.entries().next().unwrap().partition;
    road.append(batch).await;
    road.start();
    road.settle().await;
    assert_eq!(road.count(Topic::Events, Outcome::Dead).await, 2);
    assert_eq!(road.events("u").await.len(), 2);
    let dead = read_all(&road.log, Topic::EventsDlq, partition).await;
    let header = |record: &LogRecord, name: &str| {
        record.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!(dead[0].value.as_ref(), b"{\"v\":1");
    assert_eq!(header(&dead[0], HEADER_ORIGIN_OFFSET), "1");
    assert!(header(&dead[0], HEADER_ERROR).starts_with("not a record"));
    assert_eq!(header(&dead[1], HEADER_ORIGIN_OFFSET), "2");
    assert!(header(&dead[1], HEADER_ERROR).contains("no place"));
    road.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_dead_letter_is_withheld_if_its_user_was_deleted_after_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let replay = |batch: &mut Batch, id: &str, origin: u64| {
        let headers = vec![
            (HEADER_ORIGIN_OFFSET.to_owned(), origin.to_string()),
            (HEADER_ORIGIN_TIME_US.to_owned(), "7".to_owned()),
        ];
        let body = event("u", id, Some(1));
        push_with_headers(batch, &road.log, Topic::Events, "u", body, headers);
    };
    let mut batch = Batch::default();
    push(&mut batch, &road.log, Topic::Events, "u", event("u", "0", Some(1)));
    road.append(batch).await;
    road.delete(&["u"]).await;
    let mut batch = Batch::default();
    push(&mut batch, &road.log, Topic::Events, "u", event("u", "2", Some(1)));
    replay(&mut batch, "before", 0);
    replay(&mut batch, "after", 2);
    road.append(batch).await;
    road.start();
    road.settle().await;
    let ids: Vec<String> = road.events("u").await.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["after", "2"], "newest first, then by id");
    assert_eq!(road.count(Topic::Events, Outcome::Withheld).await, 1);
    road.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_front_door_could_make_no_event_of_is_a_dead_letter_however_often_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut road = Road::open(dir.path());
    let refused = || Body::Refused(Refused::new("u".into(), "not an ad log".into(), b"\xff"));
    let mut batch = Batch::default();
    push(&mut batch, &road.log, Topic::Events, "u", event("u", "1", Some(1)));
    push(&mut batch, &road.log, Topic::Events, "u", refused());
    push(&mut batch, &road.log, Topic::Profiles, "u", refused());
    push(&mut batch, &road.log, Topic::Events, "v", refused());
    push(&mut batch, &road.log, Topic::Events, "u", event("u", "2", Some(2)));
    let value = batch.entries().nth(1).unwrap().value.to_vec();
    let (partition, strange) = {
        let mut entries = batch.entries();
        (entries.next().unwrap().partition, entries.nth(2).unwrap().partition)
    };
    road.append(batch).await;
    // Though it has the key of an erased user: it is nobody's.
    road.delete(&["u"]).await;
    let headers = vec![
        (HEADER_ORIGIN_OFFSET.to_owned(), "1".to_owned()),
        (HEADER_ORIGIN_TIME_US.to_owned(), "7".to_owned()),
    ];
    let mut batch = Batch::default();
    push_with_headers(&mut batch, &road.log, Topic::Events, "u", refused(), headers);
    road.append(batch).await;
    road.start();
    road.settle().await;
    assert_eq!(road.count(Topic::Events, Outcome::Dead).await, 3);
    assert_eq!(road.count(Topic::Profiles, Outcome::Dead).await, 1);
    assert_eq!(road.count(Topic::Events, Outcome::Withheld).await, 0);
    let dead = read_all(&road.log, Topic::EventsDlq, partition).await;
    let header = |record: &LogRecord, name: &str| {
        record.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap()
    };
    let of_u: Vec<_> = dead.iter().filter(|letter| letter.key.ends_with(b"u")).collect();
    assert_eq!(of_u.len(), 2);
    for letter in of_u {
        assert_eq!(header(letter, HEADER_ERROR), "not an ad log");
        assert_eq!(header(letter, HEADER_ORIGIN_OFFSET), "1");
    }
    assert_eq!(dead[0].value, value);
    let under_a_foreign_key = read_all(&road.log, Topic::EventsDlq, strange).await;
    let letter = under_a_foreign_key.iter().find(|letter| letter.key.ends_with(b"v")).unwrap();
    assert!(header(letter, HEADER_ERROR).contains("the key is not"), "{letter:?}");
    road.stop().await;
}

async fn read_all(log: &Arc<dyn Log>, topic: Topic, partition: u32) -> Vec<LogRecord> {
    let end = log.bounds(topic).await.unwrap()[partition as usize].end;
    let mut subscription = log.subscribe("test", topic).unwrap();
    let mut reader: Box<dyn Reader> = loop {
        let reader = subscription.next().await.unwrap().unwrap();
        if reader.partition() == partition {
            break reader;
        }
    };
    reader.seek(0).await.unwrap();
    let mut records = Vec::new();
    while (records.len() as u64) < end {
        records.extend(reader.read(1 << 20).await.unwrap());
    }
    records
}
