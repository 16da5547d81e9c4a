//! Compactions of every day, on a thread of our own.
//!
//! fjall's threads flush and compact. While one of them compacts, the first one takes the next
//! request for a compaction out of their queue and puts it back, without a pause, until the other
//! is done (`worker_pool.rs`, 3.1): of two processors one does nothing else. So the keyspaces tell
//! fjall that there is never anything to compact, and are compacted from here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::{AbstractTree, Keyspace};

use crate::StoreError;
use crate::embedded::Engine;
use crate::embedded::background::Background;
use crate::embedded::failure::failed;
use crate::embedded::space::Space;

/// How often it is looked whether there is something to compact.
const INTERVAL: Duration = Duration::from_millis(50);

/// The strategy that fjall is given: levels so large that none is ever full. (It knows two
/// strategies by name when it opens a keyspace again; the other one deletes rows.)
pub(super) fn never() -> Arc<Leveled> {
    const TABLES_MAX: u8 = u8::MAX;
    let bytes = u64::MAX / u64::from(TABLES_MAX);
    Arc::new(Leveled::default().with_l0_threshold(TABLES_MAX).with_table_target_size(bytes))
}

/// Keyspaces that a purge rewrites. fjall lets nobody else compact one meanwhile: whoever tried
/// would wait, and all others with it.
#[derive(Default)]
pub(super) struct Rewritten(Mutex<BTreeSet<Space>>);

/// A keyspace is rewritten for as long as it lives.
pub(super) struct Rewriting<'r> {
    all: &'r Rewritten,
    space: Space,
}

impl Rewritten {
    pub(super) fn begin(&self, space: Space) -> Rewriting<'_> {
        self.get().insert(space);
        Rewriting { all: self, space }
    }

    fn get(&self) -> MutexGuard<'_, BTreeSet<Space>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rewriting<'_> {
    fn drop(&mut self) {
        self.all.get().remove(&self.space);
    }
}

impl Engine {
    pub(super) fn start_compacting(self: &Arc<Self>) -> Result<Background, StoreError> {
        Background::start("millrace-store-compaction", self, INTERVAL, Self::compact_one)
    }

    /// Compacts where the most flushes wait for it; how long to wait until the next look.
    fn compact_one(&self) -> Duration {
        let mut spaces = Space::ALL.map(|space| (self.l0_runs(space), space));
        spaces.sort_unstable();
        for (_, space) in spaces.into_iter().rev() {
            if self.rewritten.get().contains(&space) {
                continue;
            }
            match self.compact(self.spaces.get(space)) {
                Ok(false) => {}
                Ok(true) => return Duration::ZERO,
                Err(error) => {
                    // As fjall does: what cannot compact must not go on to write.
                    let reason = format!("a compaction of {:?} has failed: {error}", space.name());
                    self.stopped.send_replace(Some(reason));
                    return INTERVAL;
                }
            }
        }
        INTERVAL
    }

    fn l0_runs(&self, space: Space) -> usize {
        self.spaces.get(space).tree.l0_run_count()
    }

    /// Compacts once, if there is something to compact.
    fn compact(&self, keyspace: &Keyspace) -> Result<bool, StoreError> {
        let tree = &keyspace.tree;
        let before = tree.current_version().id();
        let oldest_read = self.db.supervisor.snapshot_tracker.get_seqno_safe_to_gc();
        let compacted = tree.compact(Arc::new(Leveled::default()), oldest_read);
        compacted.map_err(|e| failed(e.into()))?;
        Ok(tree.current_version().id() != before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{EmbeddedStore, open};

    /// As many flushes as rows, each over all keys that there are. The first is moved down by
    /// fjall, which rewrites nothing.
    fn flush_often(engine: &Engine, space: Space, times: u8) {
        let keyspace = engine.spaces.get(space);
        for n in 0..times {
            for key in [b"a", b"z"] {
                keyspace.insert(key, [n]).unwrap();
            }
            keyspace.rotate_memtable_and_wait().unwrap();
            while n == 0 && engine.l0_runs(space) > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn fjall_compacts_nothing_and_one_call_compacts_one_keyspace() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open::open(dir.path(), Default::default()).unwrap();
        flush_often(&engine, Space::Profiles, 6);
        flush_often(&engine, Space::Events, 8);
        // Each flush asks for two.
        while engine.db.compactions_completed() < 28 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let runs = |space| engine.l0_runs(space);
        assert_eq!((runs(Space::Profiles), runs(Space::Events)), (5, 7));
        assert_eq!(engine.compact_one(), Duration::ZERO);
        assert_eq!((runs(Space::Profiles), runs(Space::Events)), (5, 0), "where more wait");
        assert_eq!(engine.compact_one(), Duration::ZERO);
        assert_eq!(runs(Space::Profiles), 0);
        assert_eq!(engine.compact_one(), INTERVAL);
        let newest = engine.spaces.get(Space::Events).get(b"z").unwrap();
        assert_eq!(newest.as_deref(), Some(&[7][..]));
    }

    #[test]
    fn what_a_purge_rewrites_holds_up_no_other_keyspace() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open::open(dir.path(), Default::default()).unwrap();
        flush_often(&engine, Space::Events, 8);
        flush_often(&engine, Space::Profiles, 6);
        let rewriting = engine.rewritten.begin(Space::Events);
        assert_eq!(engine.compact_one(), Duration::ZERO);
        assert_eq!((engine.l0_runs(Space::Events), engine.l0_runs(Space::Profiles)), (7, 0));
        assert_eq!(engine.compact_one(), INTERVAL);
        drop(rewriting);
        assert_eq!(engine.compact_one(), Duration::ZERO);
    }

    #[test]
    fn an_open_store_compacts_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        flush_often(&store.engine, Space::Events, 12);
        while store.engine.l0_runs(Space::Events) >= 4 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
