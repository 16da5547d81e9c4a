//! The keys of all receipts, as they are served: read from the store, kept for about a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_store::{AccountStore, StoreError};
use tokio::time::Instant;

use super::Jwks;

/// How long a list is good for.
const FRESH: Duration = Duration::from_secs(1);

/// The keys that receipts are checked with. Anybody may ask, so the store is asked about once a
/// second, by one caller at a time.
pub struct ReceiptKeys {
    store: Arc<dyn AccountStore>,
    list: Mutex<Option<List>>,
    reading: tokio::sync::Mutex<()>,
}

struct List {
    asked: Instant,
    keys: Arc<Jwks>,
}

impl ReceiptKeys {
    /// The keys of a store.
    pub fn new(store: Arc<dyn AccountStore>) -> Self {
        Self { store, list: Mutex::new(None), reading: tokio::sync::Mutex::new(()) }
    }

    /// The keys. While the store is away, as they were last read.
    ///
    /// # Errors
    /// The store is away, and they were never read.
    pub async fn jwks(&self) -> Result<Arc<Jwks>, StoreError> {
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        let _turn = match self.last() {
            // Somebody else asks already.
            Some(last) => match self.reading.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(last),
            },
            None => self.reading.lock().await,
        };
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        match (self.store.receipt_keys().await, self.last()) {
            (Ok(keys), _) => Ok(self.keep(Arc::new(Jwks::of(&keys)))),
            (Err(error), Some(last)) => {
                tracing::debug!(%error, "the keys of receipts stay as they were last read");
                Ok(self.keep(last))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn fresh(&self) -> Option<Arc<Jwks>> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = list.as_ref().filter(|list| list.asked.elapsed() < FRESH);
        fresh.map(|list| Arc::clone(&list.keys))
    }

    fn last(&self) -> Option<Arc<Jwks>> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.as_ref().map(|list| Arc::clone(&list.keys))
    }

    fn keep(&self, keys: Arc<Jwks>) -> Arc<Jwks> {
        let list = List { asked: Instant::now(), keys: Arc::clone(&keys) };
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = Some(list);
        keys
    }
}
