//! What has expired goes when a compaction next rewrites it; readers hide it from the moment on.

use std::sync::Arc;

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use millrace_schema::time::{Micros, wall_clock_us};

use crate::embedded::space::Space;
use crate::embedded::value;

/// The filter of a keyspace, if its rows expire.
pub(super) fn filter_of(keyspace: &str) -> Option<Arc<dyn Factory>> {
    let expiring = [Space::Events, Space::EventTimes, Space::Documents];
    let space = expiring.into_iter().find(|s| s.name() == keyspace)?;
    Some(Arc::new(Expiry(space)))
}

struct Expiry(Space);

impl Factory for Expiry {
    fn name(&self) -> &str {
        "expiry"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Expired { space: self.0, now_us: wall_clock_us() })
    }
}

struct Expired {
    space: Space,
    now_us: Micros,
}

impl CompactionFilter for Expired {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let value = item.value()?;
        let expires_us = value::read_stamped(self.space, &value)
            .and_then(|(_, rest)| value::read_expiry(self.space, rest))
            .map(|(expires_us, _)| expires_us);
        // A tombstone, so that no older version in a lower level comes back. What cannot be read
        // is left for a reader to report.
        Ok(match expires_us {
            Ok(expires_us) if expires_us <= self.now_us => Verdict::Remove,
            _ => Verdict::Keep,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fjall::Readable;
    use millrace_schema::{Topic, UserKey};

    use super::*;
    use crate::embedded::EmbeddedStore;
    use crate::{Change, Commit, Stamp, Store, Write};

    #[tokio::test]
    async fn a_compaction_removes_what_has_expired_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let now_us = wall_clock_us();
        let changes = [now_us - 1, now_us + 3_600_000_000].map(|expires_us| Change::PutEvent {
            user: UserKey::new("p", "u"),
            time_us: expires_us,
            id: "x".into(),
            payload: Bytes::new(),
            expires_us,
        });
        let writes = changes.map(|change| Write { stamp: Stamp(1), change }).into();
        let ledger = store.claim(Topic::Events, 0).await.unwrap();
        store.commit(Commit { writes, ledger, generation: 0 }).await.unwrap();
        let events = store.0.spaces.get(Space::Events);
        let stored = || store.0.db.snapshot().len(events).unwrap();
        assert_eq!(stored(), 2);
        events.rotate_memtable_and_wait().unwrap();
        events.major_compact().unwrap();
        assert_eq!(stored(), 1);
    }
}
