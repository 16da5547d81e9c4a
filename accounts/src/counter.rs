//! Integer ids: positive, unique in every process, not gapless. Taken from the store in blocks.

use std::ops::Range;
use std::sync::Arc;

use millrace_store::{DocumentStore, Kind, StoreError};
use tokio::sync::Mutex;

use crate::documents;
use crate::retry::Tries;

/// The largest integer that every JSON reader holds exactly (2^53 - 1).
pub(crate) const ID_MAX: i64 = (1 << 53) - 1;

/// Ids of one name.
pub(crate) struct Ids {
    store: Arc<dyn DocumentStore>,
    name: &'static str,
    /// Ids taken at a time. What a process does not use is lost.
    block: i64,
    free: Mutex<Range<i64>>,
}

impl Ids {
    pub(crate) fn new(store: Arc<dyn DocumentStore>, name: &'static str, block: i64) -> Self {
        Self { store, name, block, free: Mutex::new(0..0) }
    }

    /// The next id.
    pub(crate) async fn next(&self) -> Result<i64, StoreError> {
        let mut free = self.free.lock().await;
        if free.is_empty() {
            *free = self.take_block().await?;
        }
        free.next().ok_or_else(|| StoreError::Invalid("a block of ids was empty".to_owned()))
    }

    async fn take_block(&self) -> Result<Range<i64>, StoreError> {
        let mut tries = Tries::default();
        loop {
            let key = self.name.to_owned();
            let found = documents::load::<i64>(&*self.store, Kind::Counter, self.name).await?;
            let start = found.as_ref().map_or(1, |last| last.value.saturating_add(1));
            let end = start.saturating_add(self.block);
            if start < 1 || end > ID_MAX {
                return Err(StoreError::Invalid(format!("the ids of {} are used up", self.name)));
            }
            let change = match found {
                None => documents::create(Kind::Counter, key, &(end - 1))?,
                Some(last) => documents::replace(Kind::Counter, key, last.version, &(end - 1))?,
            };
            if self.store.change(vec![change], Vec::new()).await? {
                return Ok(start..end);
            }
            tries.again().await?;
        }
    }
}
