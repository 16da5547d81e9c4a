//! A member of a consumer group.

use std::sync::Arc;

use millrace_schema::Topic;
use tokio::sync::watch;

use super::reader::PartitionReader;
use super::shared::{Shared, Status};
use crate::{BoxFuture, LogError, Reader, Subscription};

/// Hands out each partition of its topic once, as soon as no other member of the group has it;
/// then waits for the log to close.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    group: Arc<str>,
    topic: Topic,
    wanted: Vec<u32>,
    freed: watch::Receiver<()>,
    status: watch::Receiver<Status>,
}

impl Member {
    pub(super) fn new(shared: Arc<Shared>, group: &str, topic: Topic) -> Self {
        let wanted = (0..shared.config.partitions).collect();
        let (freed, status) = (shared.groups.freed(), shared.status.subscribe());
        Self { shared, group: Arc::from(group), topic, wanted, freed, status }
    }

    fn take(&mut self) -> Option<PartitionReader> {
        let free = |partition: &u32| {
            self.shared.groups.take(&self.group, self.shared.stream(self.topic, *partition))
        };
        let at = self.wanted.iter().position(free)?;
        let (topic, partition) = (self.topic, self.wanted.remove(at));
        PartitionReader::new(Arc::clone(&self.shared), Arc::clone(&self.group), topic, partition)
    }

    async fn next_reader(&mut self) -> Result<Option<Box<dyn Reader>>, LogError> {
        loop {
            self.freed.mark_unchanged();
            match &*self.status.borrow_and_update() {
                Status::Open => {}
                Status::Closed => return Ok(None),
                Status::Failed(reason) => return Err(LogError::Unavailable(reason.clone())),
            }
            if let Some(reader) = self.take() {
                return Ok(Some(Box::new(reader)));
            }
            // Neither can end: `shared` holds the senders.
            tokio::select! {
                _ = self.freed.changed() => {}
                _ = self.status.changed() => {}
            }
        }
    }
}

impl Subscription for Member {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Box<dyn Reader>>, LogError>> {
        Box::pin(self.next_reader())
    }
}
