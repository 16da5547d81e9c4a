//! Opening the database: its bounds of memory and disk, and what a crash at its making left.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fjall::Database;
use tokio::sync::watch;

use crate::StoreError;
use crate::embedded::Engine;
use crate::embedded::failure::failed;
use crate::embedded::filter::Shared;
use crate::embedded::space::{Space, Spaces};

/// Bounds of memory and disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of blocks kept in memory.
    pub cache_bytes: u64,
    /// Bytes of a keyspace's rows that wait in memory to be flushed. Six keyspaces grow with the
    /// data; writers stall while one has five buffers waiting, or 30 that no compaction has taken
    /// up. Kept as it was when the store was made.
    pub write_buffer_bytes: u64,
    /// Bytes of journal above which the keyspaces that hold it back are flushed; 64 MiB at least.
    pub journal_bytes: u64,
    /// Bytes of disk that a purge leaves free, beside those that it needs for a second copy of the
    /// keyspace that it rewrites.
    pub disk_reserve_bytes: u64,
    /// How long the journal may hold copies of what was purged. A store that is written to little
    /// writes 64 MB to be rid of them, at most twice in this time.
    pub journal_residue: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            cache_bytes: 64 * MIB,
            write_buffer_bytes: 16 * MIB,
            journal_bytes: 256 * MIB,
            disk_reserve_bytes: 512 * MIB,
            journal_residue: Duration::from_secs(3_600),
        }
    }
}

/// fjall panics below it.
const JOURNAL_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// They only flush. With one alone fjall may come to a standstill: it waits for room in a queue that
/// nobody else empties.
const THREADS: usize = 2;
/// The file that makes a folder a database. fjall writes it after the first journal.
const MARKER: &str = "version";
/// Bytes of a marker that is whole.
const MARKER_BYTES: u64 = 4;

pub(super) fn open(dir: &Path, config: Config) -> Result<Engine, StoreError> {
    clear_unfinished(dir)?;
    let filters = Arc::new(Shared::default());
    let filter_of = {
        let filters = Arc::clone(&filters);
        move |keyspace: &str| filters.filter_of(keyspace)
    };
    let db = Database::builder(dir)
        .cache_size(config.cache_bytes)
        .max_journaling_size(config.journal_bytes.max(JOURNAL_BYTES_MIN))
        .worker_threads(THREADS)
        .with_compaction_filter_factories(Arc::new(filter_of))
        .open()
        .map_err(failed)?;
    let spaces = Spaces::open(&db, config.write_buffer_bytes)?;
    let erasures = Arc::new(spaces.get(Space::Erasures).clone());
    filters.judge_by(&erasures);
    // Until a purge has said otherwise.
    let has_erased = !erasures.is_empty().map_err(failed)?;
    Ok(Engine {
        db,
        spaces,
        dir: dir.to_owned(),
        disk_reserve_bytes: config.disk_reserve_bytes,
        journal_residue: config.journal_residue,
        filters,
        rewritten: Default::default(),
        _erasures: erasures,
        has_erased: has_erased.into(),
        writer: Mutex::default(),
        upkeep: Mutex::default(),
        stopped: watch::Sender::default(),
    })
}

/// Removes what a crash left of a database that never was: fjall would refuse to make one beside
/// it. Nothing was ever committed to it, for its marker is not whole.
fn clear_unfinished(dir: &Path) -> Result<(), StoreError> {
    if fs::metadata(dir.join(MARKER)).is_ok_and(|m| m.len() >= MARKER_BYTES) {
        return Ok(());
    }
    let lock = match File::options().read(true).write(true).open(dir.join("lock")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        lock => lock.map_err(|e| failed(e.into()))?,
    };
    if lock.try_lock().is_err() {
        return Err(failed(fjall::Error::Locked));
    }
    for name in ["0.jnl", MARKER] {
        match fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e.into())),
            _ => {}
        }
    }
    Ok(())
}
