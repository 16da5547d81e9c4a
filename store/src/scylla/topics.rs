//! Topics as they are registered: the base of their stamps and their number of partitions.

use millrace_schema::Topic;

use super::connection::Connection;
use super::value::values;
use crate::{Stamp, StoreError};

/// The stamp of a topic's offset 0, so that no record has the stamp 0.
const BASE: Stamp = Stamp(1);

pub(super) struct Registered {
    pub(super) base: Stamp,
    pub(super) partitions: u32,
}

impl Connection {
    pub(super) async fn topic_base(
        &self,
        topic: Topic,
        partitions: u32,
    ) -> Result<Stamp, StoreError> {
        let registered = match self.registered(topic).await? {
            Some(registered) => registered,
            None => self.register(topic, partitions).await?,
        };
        if registered.partitions != partitions {
            return Err(StoreError::other_partitions(topic, registered.partitions, partitions));
        }
        Ok(registered.base)
    }

    pub(super) async fn registered(&self, topic: Topic) -> Result<Option<Registered>, StoreError> {
        let values = values![topic.short_name()];
        let row: Option<(i64, i32)> = self.row(&self.statements.topic, &values).await?;
        let registered = |(base, partitions)| Registered {
            base: Stamp(base),
            partitions: u32::try_from(partitions).unwrap_or(0),
        };
        Ok(row.map(registered))
    }

    /// Registers a topic, or finds that another one was faster.
    async fn register(&self, topic: Topic, partitions: u32) -> Result<Registered, StoreError> {
        let number = int(partitions)?;
        let values = values![topic.short_name(), BASE.0, number];
        if self.apply(&self.statements.put_topic, &values).await? {
            return Ok(Registered { base: BASE, partitions });
        }
        let registered = self.registered(topic).await?;
        registered.ok_or_else(|| StoreError::Unavailable(format!("{topic} is being registered")))
    }
}

pub(super) fn int(partitions: u32) -> Result<i32, StoreError> {
    i32::try_from(partitions)
        .map_err(|_| StoreError::Invalid(format!("{partitions} is more than {}", i32::MAX)))
}
