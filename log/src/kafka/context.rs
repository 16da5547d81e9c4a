//! What librdkafka calls back.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use tracing::{debug, warn};

use super::ack::Ticket;
use super::shared::Shared;
use super::statistics::{Progress, Statistics};
use crate::AppendError;
use crate::sync::locked;

/// Passes a line of librdkafka's on. That a connection fails, which each client says of each broker
/// every second, is left to health.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        _ if matches!(facility, "FAIL" | "ERROR") => {
            debug!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => {
            warn!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            debug!(target: "librdkafka", facility, "{line}");
        }
    }
}

/// Answers requests, and keeps an eye on the producer.
pub(super) struct Producing {
    shared: Arc<Shared>,
    progress: Mutex<Progress>,
}

impl Producing {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, progress: Mutex::new(Progress::new(Instant::now())) }
    }
}

impl ClientContext for Producing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn stats_raw(&self, json: &[u8]) {
        match Statistics::parse(json) {
            Ok(statistics) => {
                statistics.record();
                let now = Instant::now();
                self.shared.beat(statistics.pulse(&mut locked(&self.progress), now));
            }
            Err(error) => warn!(%error, "librdkafka's statistics cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.note_error(&error, reason);
    }
}

impl ProducerContext for Producing {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let answer = match result {
            // A retry whose first try arrived long ago is acknowledged without its offset.
            Ok(message) => u64::try_from(message.offset()).map_err(|_| {
                AppendError::Unavailable("acknowledged, but without its offset".to_owned())
            }),
            Err((error, _)) => Err(match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageTimedOut) => {
                    AppendError::TimedOut(self.shared.config.delivery_timeout)
                }
                _ => AppendError::Unavailable(error.to_string()),
            }),
        };
        ticket.answer(answer);
    }
}
