//! The log on Kafka: the front door's producer, and the workers' consumers.
//!
//! Owns the connections to the brokers, and the rule of what a topic must be like. Must not know
//! what a record means.
//!
//! One producer for all topics, idempotent and with `acks=all`: the records of a request are
//! queued in order, each in the partition that its batch says, and the request is answered when
//! the last of them is acknowledged. One consumer, with a thread of its own, for each
//! subscription: its partitions are assigned by the group's coordinator; where a reader begins is
//! the reader's business, never the committed offset's.
//!
//! Opening does not wait for the brokers. Until they are reached, the topics are as they must be
//! and the producer has its id, [`Log::health`] says why not; what cannot mend itself ends the log
//! for good, see [`KafkaLog::failed`].

mod ack;
mod config;
mod connect;
mod consumer;
mod context;
mod migrate;
mod query;
mod retention;
mod shared;
mod statistics;
#[cfg(test)]
mod tests;
mod topics;

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use millrace_schema::Topic;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use config::{Config, Sasl, SaslMechanism, Tls};
pub use migrate::{Migrated, migrate};
pub use topics::TopicSpec;

use self::ack::{Ack, Ticket};
use self::connect::connect;
use self::context::Producing;
use self::shared::{Shared, Status};
use crate::{
    AppendError, Appended, Batch, Bounds, BoxFuture, Durability, Entry, Log, LogError, Subscription,
};

/// How long consumers may take to leave their groups when the log closes.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// A log on Kafka. Clones are the same log; dropping the last one lets go of the brokers, and of
/// what is not acknowledged.
#[derive(Clone)]
pub struct KafkaLog {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    producer: Arc<ThreadedProducer<Producing>>,
    connecting: JoinHandle<()>,
}

impl KafkaLog {
    /// Opens the log, without waiting for the brokers. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The configuration cannot work, or there is no runtime.
    pub fn open(config: Config) -> Result<Self, LogError> {
        Self::start(config, connect)
    }

    /// `get_ready` runs in the background until the log is ready, or cannot be.
    fn start<F: Future<Output = ()> + Send + 'static>(
        config: Config,
        get_ready: impl FnOnce(Arc<Shared>, Arc<ThreadedProducer<Producing>>) -> F,
    ) -> Result<Self, LogError> {
        config.check()?;
        let runtime = Runtime::try_current();
        let runtime = runtime.map_err(|error| LogError::Invalid(error.to_string()))?;
        let shared = Arc::new(Shared::new(config)?);
        let context = Producing::new(Arc::clone(&shared));
        let producer =
            ThreadedProducer::from_config_and_context(&shared.config.producer(), context);
        let producer = Arc::new(producer.map_err(|error| unusable(&shared.config, &error))?);
        let connecting = runtime.spawn(get_ready(Arc::clone(&shared), Arc::clone(&producer)));
        Ok(Self { handle: Arc::new(Handle { shared, producer, connecting }) })
    }

    /// Waits until the log has stopped for good, and says why: the process must then end with an
    /// error. Never resolves while the log works or waits for the brokers, or after it was closed.
    pub fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        let mut status = self.handle.shared.status.subscribe();
        async move {
            loop {
                if let Status::Failed(reason) = &*status.borrow_and_update() {
                    return reason.clone();
                }
                if status.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Puts the records of a request into the queue.
    fn enqueue(
        &self,
        batch: &Batch,
    ) -> Result<oneshot::Receiver<Result<Vec<u64>, AppendError>>, AppendError> {
        let shared = &self.handle.shared;
        if !shared.is_ready() {
            let reason = shared.health().err().unwrap_or_default();
            return Err(AppendError::Unavailable(reason));
        }
        let (ack, answer) = Ack::new(batch.len());
        for (index, entry) in batch.entries().enumerate() {
            self.send(&entry, ack.ticket(index))?;
        }
        Ok(answer)
    }

    fn send(&self, entry: &Entry<'_>, ticket: Ticket) -> Result<(), AppendError> {
        let shared = &self.handle.shared;
        let partition = match i32::try_from(entry.partition) {
            Ok(partition) if entry.partition < shared.config.partitions => partition,
            _ => {
                return Err(AppendError::Unavailable(format!(
                    "a record is for partition {} of {}",
                    entry.partition, shared.config.partitions
                )));
            }
        };
        let name = shared.name(entry.topic);
        let mut record = BaseRecord::with_opaque_to(name, Box::new(ticket))
            .partition(partition)
            .key(entry.key)
            .payload(entry.value);
        if !entry.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(entry.headers.len());
            record = record.headers(entry.headers.iter().fold(headers, |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            }));
        }
        let sent = self.handle.producer.send(record);
        sent.map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => {
                AppendError::Full { limit_bytes: shared.config.queue_bytes }
            }
            _ => AppendError::Unavailable(error.to_string()),
        })
    }
}

impl Log for KafkaLog {
    fn partitions(&self) -> u32 {
        self.handle.shared.config.partitions
    }

    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let durability = self.durability();
        if batch.is_empty() {
            return Box::pin(ready(Ok(Appended { durability, offsets: Vec::new() })));
        }
        let within = self.handle.shared.config.delivery_timeout;
        match self.enqueue(&batch) {
            Ok(answer) => Box::pin(async move {
                let stopped = || AppendError::Unavailable("the log has stopped".to_owned());
                match tokio::time::timeout(within, answer).await {
                    Ok(answer) => answer.unwrap_or_else(|_| Err(stopped())),
                    Err(_) => Err(AppendError::TimedOut(within)),
                }
                .map(|offsets| Appended { durability, offsets })
            }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn durability(&self) -> Durability {
        self.handle.shared.durability()
    }

    fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(consumer::subscribe(Arc::clone(&self.handle.shared), group, topic)?))
    }

    fn bounds(&self, topic: Topic) -> BoxFuture<'_, Result<Vec<Bounds>, LogError>> {
        Box::pin(self.handle.shared.query.bounds(topic))
    }

    /// A broker that is away deletes nothing: the time counts while they all run.
    fn retention(&self, topic: Topic) -> BoxFuture<'_, Result<Option<Duration>, LogError>> {
        let shared = &self.handle.shared;
        Box::pin(shared.retention.of(&shared.config, topic))
    }

    fn health(&self) -> Result<(), String> {
        self.handle.shared.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        let Handle { shared, producer, .. } = &*self.handle;
        shared.set_status(Status::Closed);
        let within = shared.config.delivery_timeout + Duration::from_secs(1);
        let flushing = Arc::clone(producer);
        Box::pin(async move {
            let flush = tokio::task::spawn_blocking(move || flushing.flush(within)).await;
            let mut members = shared.members.subscribe();
            // Who does not leave in time is missed by its group, as if it had been killed.
            let left = members.wait_for(|members| *members == 0);
            let _ = tokio::time::timeout(LEAVE_WITHIN, left).await;
            match flush {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    let count = producer.in_flight_count();
                    let reason = format!("{count} records are not acknowledged: {error}");
                    Err(LogError::Unavailable(reason))
                }
                Err(error) => Err(LogError::Unavailable(error.to_string())),
            }
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connecting.abort();
        self.shared.set_status(Status::Closed);
    }
}

/// librdkafka does not take the configuration.
fn unusable(config: &Config, error: &KafkaError) -> LogError {
    let advice = match config.tls.is_some() || config.sasl.is_some() {
        true => ": TLS and SCRAM need a build with the feature `kafka-tls`",
        false => "",
    };
    LogError::Invalid(format!("the client of Kafka cannot be set up: {error}{advice}"))
}

fn no_thread(source: io::Error) -> LogError {
    LogError::Io { what: "cannot start a thread for Kafka".to_owned(), source }
}
