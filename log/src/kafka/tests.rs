//! What a real broker does not do on demand, with librdkafka's own mock cluster.

use std::time::Duration;

use millrace_schema::Topic;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::connect::{await_producer_id, watch};
use super::{Config, KafkaLog};
use crate::{AppendError, Appended, Batch, Durability, Log};

const PARTITIONS: u32 = 2;
const REFUSED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
const REFUSED_AFTER: RDKafkaRespErr =
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
const TIMED_OUT: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;

type Mock = MockCluster<'static, DefaultProducerContext>;

/// A broker with our topics; it does not know their settings, so those are not checked.
fn mock(config: &Config) -> Mock {
    let mock = MockCluster::new(1).unwrap();
    for topic in Topic::ALL {
        mock.create_topic(&config.topic_name(topic), PARTITIONS as i32, 1).unwrap();
    }
    mock
}

fn config(delivery_timeout_ms: u64) -> Config {
    let delivery_timeout = Duration::from_millis(delivery_timeout_ms);
    Config { partitions: PARTITIONS, delivery_timeout, ..Config::default() }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

async fn open(mock: &Mock, config: Config) -> KafkaLog {
    let config = Config { bootstrap: mock.bootstrap_servers(), ..config };
    let log = KafkaLog::start(config, |shared, producer| async move {
        tokio::join!(await_producer_id(&shared), watch(&shared, &producer));
    });
    let log = log.unwrap();
    until("health", || log.health().is_ok()).await;
    log
}

fn batch(records: usize) -> Batch {
    let mut batch = Batch::default();
    for n in 0..records {
        let value = format!("value-{n}");
        batch.push(Topic::Events, 1, |_| (), |out| out.extend_from_slice(value.as_bytes()));
    }
    batch
}

fn refuse(mock: &Mock, errors: &[RDKafkaRespErr]) {
    mock.request_errors(RDKafkaApiKey::Produce, errors);
}

fn at(offsets: impl IntoIterator<Item = u64>) -> Result<Appended, AppendError> {
    Ok(Appended { durability: Durability::Leader, offsets: offsets.into_iter().collect() })
}

#[tokio::test]
async fn refusals_that_pass_end_in_a_late_acknowledgement() {
    let config = config(30_000);
    let mock = mock(&config);
    let log = open(&mock, config).await;
    assert_eq!(log.append(batch(3)).await, at(0..3));
    refuse(&mock, &[REFUSED, TIMED_OUT, REFUSED]);
    assert_eq!(log.append(batch(2)).await, at(3..5));
    log.close().await.unwrap();
}

#[tokio::test]
async fn refusals_that_last_are_never_an_acknowledgement() {
    for error in [REFUSED, REFUSED_AFTER, TIMED_OUT] {
        let config = config(500);
        let mock = mock(&config);
        let log = open(&mock, config).await;
        refuse(&mock, &[error; 100]);
        let refused = log.append(batch(2)).await;
        assert_eq!(refused, Err(AppendError::TimedOut(Duration::from_millis(500))), "{error:?}");
    }
}

#[tokio::test]
async fn a_refusal_for_good_is_told_at_once() {
    let config = config(30_000);
    let mock = mock(&config);
    let log = open(&mock, config).await;
    refuse(&mock, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    let refused = log.append(batch(1)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_the_deadline_is_a_timeout() {
    let config = config(500);
    let mock = mock(&config);
    let log = open(&mock, config).await;
    mock.broker_round_trip_time(1, Duration::from_secs(3)).unwrap();
    let late = log.append(batch(1)).await;
    assert_eq!(late, Err(AppendError::TimedOut(Duration::from_millis(500))));
}

#[tokio::test]
async fn a_slow_answer_within_the_deadline_is_an_acknowledgement() {
    let config = config(30_000);
    let mock = mock(&config);
    let log = open(&mock, config).await;
    mock.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    assert_eq!(log.append(batch(1)).await, at([0]));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_again_when_it_has_drained() {
    let config = Config { queue_records: 10, ..config(30_000) };
    let mock = mock(&config);
    let log = open(&mock, config).await;
    mock.broker_round_trip_time(1, Duration::from_secs(2)).unwrap();
    let waiting = log.append(batch(8));
    let full = log.append(batch(4)).await;
    assert_eq!(full, Err(AppendError::Full { limit_bytes: Config::default().queue_bytes }));
    assert_eq!(waiting.await, at(0..8));
    let taken = loop {
        match log.append(batch(1)).await {
            Err(AppendError::Full { .. }) => tokio::task::yield_now().await,
            taken => break taken,
        }
    };
    // Two of the refused four were queued: told to nobody, and in the log all the same.
    assert_eq!(taken, at([10]));
}

#[tokio::test]
async fn health_follows_the_brokers() {
    let config = config(30_000);
    let mock = mock(&config);
    let log = open(&mock, config).await;
    mock.broker_down(1).unwrap();
    until("bad health", || log.health().is_err_and(|why| why.contains("no broker"))).await;
    let waiting = log.append(batch(1));
    mock.broker_up(1).unwrap();
    assert_eq!(waiting.await, at([0]));
    until("health", || log.health().is_ok()).await;
}

#[tokio::test]
async fn a_log_that_is_dropped_answers_who_still_waits() {
    let config = config(30_000);
    let mock = mock(&config);
    let log = open(&mock, config).await;
    mock.broker_down(1).unwrap();
    let waiting = log.append(batch(1));
    drop(log);
    assert!(matches!(waiting.await, Err(AppendError::Unavailable(_))));
}

#[tokio::test]
async fn a_producer_that_would_lose_its_order_ends_the_log() {
    let config = config(5_000);
    let mock = mock(&config);
    let log = open(&mock, config).await;
    refuse(&mock, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    assert!(log.append(batch(1)).await.is_err());
    let failed = tokio::time::timeout(Duration::from_secs(30), log.failed());
    assert!(failed.await.expect("it fails").contains("cannot go on"));
    assert!(matches!(log.append(batch(1)).await, Err(AppendError::Unavailable(_))));
}
