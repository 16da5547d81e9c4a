//! Kafka's client alone: what a front door could reach if it did nothing else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::records::{Entry, Event};
use crate::load::{Plan, Window};
use crate::stats::Stats;

/// As the front door's producer is set (`log/src/kafka/config.rs`).
const SETTINGS: [(&str, &str); 12] = [
    ("client.id", "millrace-benches"),
    ("socket.nagle.disable", "true"),
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("compression.type", "lz4"),
    ("linger.ms", "0.5"),
    ("delivery.timeout.ms", "10000"),
    ("message.max.bytes", "16777216"),
    ("batch.size", "1048576"),
    ("queue.buffering.max.kbytes", "65536"),
    ("queue.buffering.max.messages", "500000"),
    ("statistics.interval.ms", "500"),
];
/// How long all that was queued may take.
const FLUSH: Duration = Duration::from_secs(60);
/// How long to wait for room in the queue.
const ROOM: Duration = Duration::from_millis(2);

/// A producer for one topic.
#[derive(Clone)]
pub(super) struct RawProducer {
    producer: Arc<ThreadedProducer<Acks>>,
    topic: String,
}

struct Acks;

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Arc<Ack>;

    fn delivery(&self, result: &DeliveryResult<'_>, ack: Arc<Ack>) {
        ack.answer(result.is_ok());
    }
}

/// The acknowledgement of some records together: whether all are in the log.
struct Ack {
    left: AtomicUsize,
    failed: AtomicBool,
    done: Mutex<Option<oneshot::Sender<bool>>>,
}

impl Ack {
    fn new(records: usize) -> (Arc<Self>, oneshot::Receiver<bool>) {
        let (done, answer) = oneshot::channel();
        let (left, failed) = (AtomicUsize::new(records), AtomicBool::new(false));
        (Arc::new(Self { left, failed, done: Mutex::new(Some(done)) }), answer)
    }

    fn answer(&self, ok: bool) {
        if !ok {
            self.failed.store(true, Ordering::Relaxed);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            // Nobody waits any more.
            let _ = done.send(!self.failed.load(Ordering::Relaxed));
        }
    }
}

impl RawProducer {
    pub(super) fn new(kafka: &str, topic: String) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka);
        for (name, value) in SETTINGS {
            config.set(name, value);
        }
        let producer = ThreadedProducer::from_config_and_context(&config, Acks)?;
        Ok(Self { producer: Arc::new(producer), topic })
    }

    /// Appends all of it, and waits until it is in the log.
    pub(super) fn fill<'e>(&self, entries: impl ExactSizeIterator<Item = &'e Entry>) -> Result<()> {
        let (ack, answer) = Ack::new(entries.len());
        if entries.len() == 0 {
            return Ok(());
        }
        for entry in entries {
            let mut record = self.record(entry, &ack);
            while let Err((error, refused)) = self.producer.send(record) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                ensure!(full, "the producer refuses a record: {error}");
                std::thread::sleep(ROOM);
                record = refused;
            }
        }
        self.producer.flush(FLUSH).context("filling the topic")?;
        ensure!(answer.blocking_recv()?, "not all records reached the topic");
        Ok(())
    }

    /// Loads the broker as the generator loads a front door: `connections` tasks, each appends
    /// `items` records when its last ones are acknowledged.
    pub(super) fn load(&self, pool: &Arc<Vec<Event>>, plan: &Plan) -> Result<(Stats, Duration)> {
        let threads = plan.threads.max(1);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).enable_all().build()?;
        let window = Arc::new(Window::new(plan));
        runtime.block_on(async {
            let mut waiters = JoinSet::new();
            for number in 0..usize::from(plan.connections) {
                let (producer, pool) = (self.clone(), Arc::clone(pool));
                let (window, items) = (Arc::clone(&window), plan.items);
                waiters.spawn(async move { producer.wait(&pool, items, number, &window).await });
            }
            let mut all = Stats::new()?;
            while let Some(stats) = waiters.join_next().await {
                all.merge(&stats??)?;
            }
            Ok((all, window.elapsed()))
        })
    }

    /// One waiter, until the window closes.
    async fn wait(
        &self,
        pool: &[Event],
        items: usize,
        number: usize,
        window: &Window,
    ) -> Result<Stats> {
        let mut stats = Stats::new()?;
        // Waiters begin at different places, so that they do not append the same at once.
        let turns =
            pool.chunks_exact(items).cycle().skip(number * 31 % (pool.len() / items).max(1));
        for events in turns {
            let sent = Instant::now();
            if !window.take(sent) {
                break;
            }
            let appended = self.append(events).await;
            let now = Instant::now();
            if window.counts(now) {
                // In the words of the front door, so that both are told alike.
                stats.answered(if appended { 202 } else { 503 }, items, now - sent);
            }
        }
        Ok(stats)
    }

    async fn append(&self, events: &[Event]) -> bool {
        let (ack, answer) = Ack::new(events.len());
        for event in events {
            if self.producer.send(self.record(&event.entry, &ack)).is_err() {
                return false;
            }
        }
        answer.await.unwrap_or(false)
    }

    fn record<'r>(
        &'r self,
        entry: &'r Entry,
        ack: &Arc<Ack>,
    ) -> BaseRecord<'r, [u8], [u8], Arc<Ack>> {
        BaseRecord::with_opaque_to(&self.topic, Arc::clone(ack))
            // Far below 2^31.
            .partition(entry.partition as i32)
            .key(entry.key.as_slice())
            .payload(entry.value.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_comes_with_the_last_answer_and_tells_of_any_failure() {
        for failing in [None, Some(0), Some(2)] {
            let (ack, mut answer) = Ack::new(3);
            for nth in 0..3 {
                assert!(answer.try_recv().is_err());
                ack.answer(failing != Some(nth));
            }
            assert_eq!(answer.try_recv(), Ok(failing.is_none()));
        }
    }
}
