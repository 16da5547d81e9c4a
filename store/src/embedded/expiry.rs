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
    let space = [Space::Events, Space::EventTimes].into_iter().find(|s| s.name() == keyspace)?;
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
