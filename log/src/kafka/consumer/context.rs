//! What librdkafka calls back while the consumer is polled: kept for the thread that polls.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tracing::debug;

use crate::kafka::context;
use crate::sync::locked;

/// What the group's coordinator wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rebalance {
    Assign(Vec<u32>),
    Revoke(Vec<u32>),
}

#[derive(Default)]
pub(super) struct Consuming {
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Something was called back: the queue may hold more, though the poll yielded nothing.
    was_called: AtomicBool,
    /// The consumer is being closed: nobody is left to ask.
    is_closing: AtomicBool,
}

impl Consuming {
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        locked(&self.rebalances).pop_front()
    }

    pub(super) fn take_called(&self) -> bool {
        self.was_called.swap(false, Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    fn called(&self) {
        self.was_called.store(true, Ordering::Relaxed);
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<u32> {
    list.elements().iter().filter_map(|e| u32::try_from(e.partition()).ok()).collect()
}

impl ClientContext for Consuming {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.called();
        context::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.called();
        debug!(%error, reason, "a consumer has trouble");
    }
}

impl ConsumerContext for Consuming {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        self.called();
        let is_assign = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.is_closing.load(Ordering::Relaxed) {
            let done = match is_assign {
                true => consumer.incremental_assign(list),
                false => consumer.incremental_unassign(list),
            };
            debug!(?done, "rebalanced while leaving");
            return;
        }
        let partitions = partitions(list);
        let rebalance = match is_assign {
            true => Rebalance::Assign(partitions),
            false => Rebalance::Revoke(partitions),
        };
        locked(&self.rebalances).push_back(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.called();
        if let Err(error) = result {
            // For lag tools only.
            debug!(%error, "offsets are not committed");
        }
    }
}
