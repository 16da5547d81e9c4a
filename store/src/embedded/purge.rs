//! Makes what is erased physically gone: compacts the keyspaces that hold it, and waits until the
//! files it lay in are deleted.
//!
//! The journal keeps copies for a while; see [`super::journal`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use fjall::{AbstractTree, Keyspace, PersistMode};
use millrace_schema::disk::free_bytes;

use crate::embedded::failure::failed;
use crate::embedded::space::Space;
use crate::embedded::{Engine, key};
use crate::{Residue, StoreError};

/// How often it is looked whether something is done.
const PAUSE: Duration = Duration::from_millis(2);
/// How often in the end, when that takes long.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long readers may keep files that were replaced. None of them takes nearly so long.
const READERS_TIMEOUT: Duration = Duration::from_secs(60);
/// Keyspaces that are rewritten at the same time.
const REWRITERS: usize = 2;

impl Engine {
    pub(super) fn purge(&self) -> Result<(), StoreError> {
        let _turn = self.upkeep();
        let Some(unpurged) = self.take_has_erased() else { return Ok(()) };
        let started = Instant::now();
        let purged = self.purge_all();
        if purged.is_ok() {
            unpurged.are_gone();
        }
        metrics::histogram!("millrace_store_purge_seconds").record(started.elapsed());
        purged
    }

    /// The erasures since the last call, if there were any. It waits for the writer: a commit says
    /// so before it is written, and must not be asked in between.
    fn take_has_erased(&self) -> Option<Unpurged<'_>> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_erased.swap(false, Ordering::AcqRel).then(|| Unpurged(Some(&self.has_erased)))
    }

    pub(super) fn residues(&self) -> Vec<Residue> {
        let journal = Residue {
            place: "store_journal",
            lasts: Some(self.journal_residue),
            note: "copies in the journal of the embedded store, which nobody can read; the time \
                   counts while the store is open",
        };
        vec![journal, Residue::ERASURES]
    }

    /// One at a time looks after the files.
    pub(super) fn upkeep(&self) -> MutexGuard<'_, ()> {
        // What it guards is on disk.
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn purge_all(&self) -> Result<(), StoreError> {
        let journal = self.newest_journal()?;
        self.filters.has_failed();
        let spaces = Space::ERASABLE.map(|(space, _)| space);
        // Of each, before the first is rewritten for nothing.
        for space in spaces {
            self.expect_room(space)?;
        }
        self.rewrite_all(spaces.to_vec())?;
        if self.filters.has_failed() {
            return Err(StoreError::Unavailable(
                "a compaction could not judge every row; rows that cannot be read are named by \
                 their readers"
                    .to_owned(),
            ));
        }
        self.expel_later(journal)
    }

    /// The largest first, and two at a time if the disk has room for that.
    fn rewrite_all(&self, mut spaces: Vec<Space>) -> Result<(), StoreError> {
        let size = |space: &Space| self.spaces.get(*space).disk_space();
        spaces.sort_by_cached_key(size);
        let largest: u64 = spaces.iter().rev().take(REWRITERS).map(size).sum();
        let has_room = missing_bytes(largest, self.free_bytes()?, self.disk_reserve_bytes) == 0;
        let rewriters = if has_room { REWRITERS } else { 1 };
        let waiting = Mutex::new(spaces);
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let rewrite = || std::iter::from_fn(next).try_for_each(|space| self.rewrite(space));
        thread::scope(|scope| {
            let rewriters: Vec<_> = (0..rewriters).map(|_| scope.spawn(rewrite)).collect();
            let mut ended = rewriters.into_iter().map(ScopedJoinHandle::join);
            ended.try_for_each(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    /// Rewrites a keyspace, and waits until its old files have gone: the next one may need their
    /// room.
    fn rewrite(&self, space: Space) -> Result<(), StoreError> {
        let keyspace = self.spaces.get(space);
        self.flush(keyspace)?;
        let tables = tables_of(keyspace)?;
        if tables.is_empty() {
            return Ok(());
        }
        self.expect_room(space)?;
        let _rewriting = self.rewritten.begin(space);
        keyspace.major_compact().map_err(failed)?;
        self.wait_until_gone(space, &tables)
    }

    fn expect_room(&self, space: Space) -> Result<(), StoreError> {
        let size = self.spaces.get(space).disk_space();
        has_room(space, size, self.free_bytes()?, self.disk_reserve_bytes)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        free_bytes(&self.dir).map_err(|e| failed(e.into()))
    }

    /// Waits until no reader needs the tables any more and they are deleted.
    fn wait_until_gone(&self, space: Space, tables: &BTreeSet<OsString>) -> Result<(), StoreError> {
        let started = Instant::now();
        let mut pause = PAUSE;
        loop {
            self.seal(&[space])?;
            if tables.is_disjoint(&tables_of(self.spaces.get(space))?) {
                return Ok(());
            }
            if started.elapsed() > READERS_TIMEOUT {
                return Err(StoreError::Unavailable(
                    "tables that were replaced are still being read".to_owned(),
                ));
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Flushes keyspaces, and writes a row to each of them of which compactions may remove the
    /// newest: fjall takes the newest row in a keyspace's tables for how far it is flushed, and
    /// would keep older journals, and at the next start bring back from them what was removed. The
    /// flush also makes it let go of versions, and so of tables, that no reader needs.
    pub(super) fn seal(&self, spaces: &[Space]) -> Result<(), StoreError> {
        let mut draft = self.draft();
        for (space, _) in Space::ERASABLE {
            if spaces.contains(&space) {
                draft.put(space, key::last(), Vec::new());
            }
        }
        draft.commit_durably()?;
        for space in spaces {
            self.flush(self.spaces.get(*space))?;
        }
        Ok(())
    }

    /// Waits until what is in a keyspace's memory now is in its tables.
    fn flush(&self, keyspace: &Keyspace) -> Result<(), StoreError> {
        let newest = keyspace.tree.get_highest_memtable_seqno();
        keyspace.rotate_memtable().map_err(failed)?;
        // Either may never come true by itself: writers go on filling memtables, and compactions
        // may have removed the newest row already.
        while keyspace.sealed_memtable_count() > 0
            && keyspace.tree.get_highest_persisted_seqno() < newest
        {
            // An error if the flush has failed.
            self.db.persist(PersistMode::Buffer).map_err(failed)?;
            sleep(PAUSE);
        }
        Ok(())
    }
}

/// Erasures whose rows may still be in the files. When it is dropped, be it by a panic, the next
/// purge finds them again, unless they are gone.
struct Unpurged<'e>(Option<&'e AtomicBool>);

impl Unpurged<'_> {
    fn are_gone(mut self) {
        self.0 = None;
    }
}

impl Drop for Unpurged<'_> {
    fn drop(&mut self) {
        if let Some(has_erased) = self.0 {
            has_erased.store(true, Ordering::Release);
        }
    }
}

/// Whether a keyspace of this size can be written a second time, and so much stays free.
fn has_room(space: Space, size: u64, free: u64, reserve: u64) -> Result<(), StoreError> {
    let missing = missing_bytes(size, free, reserve);
    if missing == 0 {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "too little of the disk is free to purge what is erased: {free} bytes are, to rewrite \
         keyspace {:?} takes its {size} again, and {reserve} must stay free; free {missing} more, \
         and it is done at the next try",
        space.name()
    )))
}

/// What must be freed until so much can be written and the reserve stays free.
fn missing_bytes(size: u64, free: u64, reserve: u64) -> u64 {
    if size == 0 { 0 } else { size.saturating_add(reserve).saturating_sub(free) }
}

fn tables_of(keyspace: &Keyspace) -> Result<BTreeSet<OsString>, StoreError> {
    names(&keyspace.path().join("tables"))
}

/// The names of the files in a folder.
pub(super) fn names(dir: &Path) -> Result<BTreeSet<OsString>, StoreError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|e| failed(e.into()))?;
    Ok(entries.into_iter().map(|entry| entry.file_name()).collect())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::embedded::EmbeddedStore;

    #[test]
    fn a_keyspace_is_rewritten_only_if_its_size_and_the_reserve_are_free() {
        let room = |size, free, reserve| has_room(Space::Events, size, free, reserve);
        assert!(room(60, 70, 10).is_ok());
        let Err(StoreError::Unavailable(why)) = room(60, 40, 10) else { panic!("there is none") };
        assert!(
            ["events", "60", "40", "10", "30 more"].iter().all(|part| why.contains(part)),
            "{why}"
        );
        assert!(room(1, u64::MAX - 1, u64::MAX).is_err());
        assert!(room(0, 0, 10).is_ok());
    }

    #[test]
    fn the_old_files_of_a_keyspace_go_before_the_next_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let engine = &store.engine;
        let tables = |space| tables_of(engine.spaces.get(space)).unwrap();
        let mut draft = engine.draft();
        for (space, _) in Space::ERASABLE {
            draft.put(space, key::last(), Vec::new());
        }
        draft.commit().unwrap();
        engine.flush(engine.spaces.get(Space::Events)).unwrap();
        let old = tables(Space::Events);
        engine.rewrite(Space::Events).unwrap();
        assert!(!old.is_empty() && old.is_disjoint(&tables(Space::Events)));
        assert!(tables(Space::Profiles).is_empty());
    }

    #[test]
    fn a_purge_that_panics_leaves_its_erasures_to_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let engine = &store.engine;
        engine.has_erased.store(true, Ordering::Release);
        let purge = AssertUnwindSafe(|| {
            let _unpurged = engine.take_has_erased().unwrap();
            panic!("in the middle of it");
        });
        assert!(catch_unwind(purge).is_err());
        engine.take_has_erased().unwrap().are_gone();
        assert!(engine.take_has_erased().is_none());
    }
}
