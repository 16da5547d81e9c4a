//! What the parts of one [`super::KafkaLog`] know of each other.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_schema::Topic;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;
use tracing::{debug, error};

use super::config::Config;
use super::query::Query;
use super::retention::Retention;
use super::statistics::Pulse;
use crate::sync::locked;
use crate::{Durability, LogError};

/// Where the log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Not usable yet, with the reason.
    Connecting(String),
    /// The topics are as they must be, and the producer has its id.
    Ready,
    /// Closed on request.
    Closed,
    /// Stopped for good, with the reason.
    Failed(String),
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) query: Query,
    pub(super) retention: Retention,
    pub(super) status: watch::Sender<Status>,
    /// Whether the idempotent producer has its id.
    pub(super) has_producer_id: watch::Sender<bool>,
    /// Consumer threads that run.
    pub(super) members: watch::Sender<usize>,
    pulse: Mutex<Pulse>,
    /// The last that a client said about its connections.
    last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
    is_replicated: AtomicBool,
    names: [String; Topic::ALL.len()],
}

impl Shared {
    pub(super) fn new(config: Config) -> Result<Self, LogError> {
        let names = Topic::ALL.map(|topic| config.topic_name(topic));
        let query = Query::new(&config)?;
        Ok(Self {
            query,
            retention: Retention::default(),
            status: watch::Sender::new(Status::Connecting("not connected yet".to_owned())),
            has_producer_id: watch::Sender::new(false),
            members: watch::Sender::new(0),
            pulse: Mutex::default(),
            last_error: Mutex::default(),
            is_replicated: AtomicBool::new(false),
            names,
            config,
        })
    }

    /// The name of a topic on the broker.
    pub(super) fn name(&self, topic: Topic) -> &str {
        self.names.get(usize::from(topic.number())).map_or("", String::as_str)
    }

    pub(super) fn is_ready(&self) -> bool {
        *self.status.borrow() == Status::Ready
    }

    /// Moves on, unless the log has ended.
    pub(super) fn set_status(&self, new: Status) {
        self.status.send_if_modified(|status| {
            let moves = matches!(status, Status::Connecting(_) | Status::Ready) && *status != new;
            if moves {
                *status = new;
            }
            moves
        });
    }

    /// Ends the log for good.
    pub(super) fn fail(&self, reason: String) {
        error!(%reason, "the log on Kafka has stopped");
        self.set_status(Status::Failed(reason));
    }

    pub(super) fn set_replicated(&self, is_replicated: bool) {
        self.is_replicated.store(is_replicated, Ordering::Relaxed);
    }

    pub(super) fn durability(&self) -> Durability {
        match self.is_replicated.load(Ordering::Relaxed) {
            true => Durability::Replicated,
            false => Durability::Leader,
        }
    }

    /// Takes the producer's statistics.
    pub(super) fn beat(&self, pulse: Pulse) {
        let has_id = pulse.has_producer_id;
        self.has_producer_id.send_if_modified(|had| std::mem::replace(had, has_id) != has_id);
        *locked(&self.pulse) = pulse;
    }

    /// Takes what a client says about its connections.
    pub(super) fn note_error(&self, error: &KafkaError, reason: &str) {
        debug!(%error, reason, "a Kafka client has trouble");
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        // Says nothing that the others have not said better.
        if code != RDKafkaErrorCode::AllBrokersDown {
            *locked(&self.last_error) = Some((code, reason.to_owned()));
        }
    }

    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        locked(&self.last_error).clone()
    }

    pub(super) fn health(&self) -> Result<(), String> {
        match &*self.status.borrow() {
            Status::Ready => {}
            Status::Connecting(reason) => return Err(format!("Kafka: {reason}")),
            Status::Closed => return Err("the log is closed".to_owned()),
            Status::Failed(reason) => return Err(format!("the log has stopped: {reason}")),
        }
        let pulse = locked(&self.pulse);
        if pulse.brokers_up == 0 {
            let last = self.last_error().map_or(String::new(), |(_, reason)| format!(": {reason}"));
            return Err(format!("Kafka: no broker is reached{last}"));
        }
        match pulse.stalled_s {
            0..STALLED_S => Ok(()),
            seconds => Err(format!("Kafka: nothing was acknowledged for {seconds} s")),
        }
    }
}

/// Records wait, and none was acknowledged for so long: appends cannot be expected to succeed.
const STALLED_S: u64 = 5;
