//! A partition as its reader has it.

use std::sync::Arc;

use millrace_schema::Topic;
use tokio::sync::oneshot;
use tokio::time::{Duration, sleep};
use tracing::warn;

use super::slot::Slot;
use super::{Command, Control};
use crate::kafka::shared::Shared;
use crate::{BoxFuture, LogRecord, ReadError, Reader};

/// Between two questions for the bounds of the partition while the brokers are away.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

pub(super) struct PartitionReader {
    shared: Arc<Shared>,
    topic: Topic,
    slot: Arc<Slot>,
    control: Control,
}

impl PartitionReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        topic: Topic,
        slot: Arc<Slot>,
        control: Control,
    ) -> Self {
        Self { shared, topic, slot, control }
    }

    async fn go_to(&mut self, offset: u64) -> Result<(), ReadError> {
        let generation = self.slot.begin();
        let slot = Arc::clone(&self.slot);
        tokio::select! {
            biased;
            () = slot.revoked() => Err(ReadError::Revoked),
            done = self.position(generation, offset) => done,
        }
    }

    async fn position(&self, generation: u64, offset: u64) -> Result<(), ReadError> {
        let partition = self.slot.partition as usize;
        let bounds = loop {
            match self.shared.query.bounds(self.topic).await {
                Ok(bounds) => break bounds.get(partition).copied(),
                Err(error) => {
                    warn!(topic = %self.topic, partition, %error, "the bounds are not known yet");
                    sleep(ASK_AGAIN_AFTER).await;
                }
            }
        };
        let Some(bounds) = bounds else { return Err(ReadError::Revoked) };
        if offset > bounds.end {
            return Err(ReadError::BeyondEnd { offset, end: bounds.end });
        }
        let (done, positioned) = oneshot::channel();
        let (slot, offset) = (Arc::clone(&self.slot), offset.max(bounds.start));
        self.control.send(Command::Seek { slot, generation, offset, done });
        positioned.await.map_err(|_| ReadError::Revoked)
    }

    async fn take(&mut self, max_bytes: usize) -> Result<Vec<LogRecord>, ReadError> {
        let taken = self.slot.take(max_bytes).await?;
        if taken.drained {
            self.control.send(Command::Drained(Arc::clone(&self.slot)));
        }
        Ok(taken.records)
    }
}

impl Reader for PartitionReader {
    fn topic(&self) -> Topic {
        self.topic
    }

    fn partition(&self) -> u32 {
        self.slot.partition
    }

    fn is_held(&self) -> bool {
        self.slot.is_held() && self.shared.is_ready()
    }

    fn seek(&mut self, offset: u64) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(self.go_to(offset))
    }

    fn read(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Vec<LogRecord>, ReadError>> {
        Box::pin(self.take(max_bytes))
    }

    fn commit(&mut self, offset: u64) {
        self.slot.commit(offset);
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        self.slot.abandon();
        self.control.send(Command::Dropped);
    }
}
