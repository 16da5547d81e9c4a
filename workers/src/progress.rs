//! How far each partition of this process is, and how much of that is durable.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_schema::Topic;
use millrace_store::Store;
use tracing::warn;

type Key = (Topic, u32);

/// Shared by all partitions of a process.
#[derive(Default)]
pub(crate) struct Progress {
    partitions: Mutex<BTreeMap<Key, Partition>>,
}

#[derive(Default)]
struct Partition {
    resume: u64,
    durable: u64,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Partition>> {
        // Plain numbers: whole even if a holder panicked.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition's ledger stands at this resume point, acknowledged.
    pub(crate) fn stands_at(&self, key: Key, resume: u64) {
        self.lock().entry(key).or_default().resume = resume;
    }

    /// The partition is another's now.
    pub(crate) fn is_gone(&self, key: Key) {
        self.lock().remove(&key);
    }

    /// Whether the partition is this process's, as far as it knows.
    pub(crate) fn holds(&self, key: Key) -> bool {
        self.lock().contains_key(&key)
    }

    /// What the log may let go of: resume points that the store has made durable.
    pub(crate) fn durable(&self, key: Key) -> u64 {
        self.lock().get(&key).map_or(0, |partition| partition.durable)
    }

    /// Makes the store durable every `interval`.
    pub(crate) async fn persist_every(&self, interval: Duration, store: &dyn Store) {
        loop {
            tokio::time::sleep(interval).await;
            if let Err(error) = self.persist(store).await {
                warn!(%error, "the store could not be made durable; the log keeps everything");
            }
        }
    }

    /// Makes the store durable, and with it the resume points as they stand before.
    pub(crate) async fn persist(
        &self,
        store: &dyn Store,
    ) -> Result<(), millrace_store::StoreError> {
        let resume_points: Vec<(Key, u64)> = {
            let partitions = self.lock();
            let moved = partitions.iter().filter(|(_, state)| state.resume > state.durable);
            moved.map(|(key, state)| (*key, state.resume)).collect()
        };
        if resume_points.is_empty() {
            return Ok(());
        }
        store.persist().await?;
        let mut partitions = self.lock();
        for (key, resume) in resume_points {
            if let Some(partition) = partitions.get_mut(&key) {
                partition.durable = partition.durable.max(resume);
            }
        }
        Ok(())
    }
}
