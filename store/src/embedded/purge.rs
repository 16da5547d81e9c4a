//! Makes what is erased physically gone: compacts the keyspaces that hold it, and waits until the
//! files it lay in are deleted.
//!
//! The journal keeps copies for a while; see [`super::journal`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fjall::{AbstractTree, Keyspace, PersistMode};

use crate::embedded::failure::failed;
use crate::embedded::space::Space;
use crate::embedded::{Engine, key};
use crate::{Residue, StoreError};

/// How often it is looked whether something is done.
const PAUSE: Duration = Duration::from_millis(2);
/// How long readers may keep files that were replaced. None of them takes nearly so long.
const READERS_TIMEOUT: Duration = Duration::from_secs(60);

impl Engine {
    pub(super) fn purge(&self) -> Result<(), StoreError> {
        let _turn = self.upkeep();
        if !self.take_has_erased() {
            return Ok(());
        }
        let started = Instant::now();
        let purged = self.purge_all();
        if purged.is_err() {
            self.has_erased.store(true, Ordering::Release);
        }
        metrics::histogram!("millrace_store_purge_seconds").record(started.elapsed());
        purged
    }

    /// Whether there was an erasure since the last call. It waits for the writer: a commit says so
    /// before it is written, and must not be asked in between.
    fn take_has_erased(&self) -> bool {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_erased.swap(false, Ordering::AcqRel)
    }

    pub(super) fn residues(&self) -> Vec<Residue> {
        let journal = Residue {
            place: "store_journal",
            lasts: Some(self.journal_residue),
            note: "copies in the journal of the embedded store, which nobody can read; the time \
                   counts while the store is open",
        };
        let erasures = Residue {
            place: "store_erasures",
            lasts: None,
            note: "the id of each erased user, kept so that late copies of what was erased are \
                   refused",
        };
        vec![journal, erasures]
    }

    /// One at a time looks after the files.
    pub(super) fn upkeep(&self) -> MutexGuard<'_, ()> {
        // What it guards is on disk.
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn purge_all(&self) -> Result<(), StoreError> {
        let journal = self.newest_journal()?;
        self.filters.has_failed();
        let keyspaces = Space::ERASABLE.map(|(space, _)| self.spaces.get(space));
        for keyspace in keyspaces {
            self.flush(keyspace)?;
        }
        let mut replaced = Vec::new();
        for keyspace in keyspaces {
            let tables = tables_of(keyspace)?;
            if !tables.is_empty() {
                keyspace.major_compact().map_err(failed)?;
            }
            replaced.push((keyspace, tables));
        }
        if self.filters.has_failed() {
            return Err(StoreError::Unavailable(
                "a compaction could not judge every row; rows that cannot be read are named by \
                 their readers"
                    .to_owned(),
            ));
        }
        self.wait_until_gone(&replaced)?;
        self.expel_later(journal)
    }

    /// Waits until no reader needs the tables any more and they are deleted.
    fn wait_until_gone(
        &self,
        replaced: &[(&Keyspace, BTreeSet<OsString>)],
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        loop {
            self.seal()?;
            let mut gone = true;
            for (keyspace, tables) in replaced {
                gone &= tables.is_disjoint(&tables_of(keyspace)?);
            }
            if gone {
                return Ok(());
            }
            if started.elapsed() > READERS_TIMEOUT {
                return Err(StoreError::Unavailable(
                    "tables that were replaced are still being read".to_owned(),
                ));
            }
            sleep(PAUSE);
        }
    }

    /// Flushes everything, and writes a row to each keyspace of which compactions may remove the
    /// newest: fjall takes the newest row in a keyspace's tables for how far it is flushed, and
    /// would keep older journals, and at the next start bring back from them what was removed. The
    /// flush also makes it let go of versions, and so of tables, that no reader needs.
    pub(super) fn seal(&self) -> Result<(), StoreError> {
        let mut draft = self.draft();
        for (space, _) in Space::ERASABLE {
            draft.put(space, key::last(), Vec::new());
        }
        draft.commit_durably()?;
        for space in Space::ALL {
            self.flush(self.spaces.get(space))?;
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

fn tables_of(keyspace: &Keyspace) -> Result<BTreeSet<OsString>, StoreError> {
    names(&keyspace.path().join("tables"))
}

/// The names of the files in a folder.
pub(super) fn names(dir: &Path) -> Result<BTreeSet<OsString>, StoreError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|e| failed(e.into()))?;
    Ok(entries.into_iter().map(|entry| entry.file_name()).collect())
}
