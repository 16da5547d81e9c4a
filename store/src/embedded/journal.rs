//! The journal's copies of what was erased.
//!
//! fjall begins a new journal only when a flush finds 64 MB in the one at hand, and deletes the old
//! one when all that is in it has been flushed. In a store that is written to little that may take
//! for ever. So some time after a purge the journal is filled up.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use millrace_schema::time::{Micros, wall_clock_us};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::StoreError;
use crate::embedded::background::Background;
use crate::embedded::purge::names;
use crate::embedded::space::Space;
use crate::embedded::{Engine, failure::failed, value};

/// What is still to be expelled.
#[derive(Serialize, Deserialize)]
struct Pending {
    /// The newest journal that may hold what was erased.
    journal: u64,
    /// When it is to be filled up, if it is still there, microseconds.
    due_us: Micros,
}

/// Keys of the upkeep keyspace.
const PENDING: &[u8] = b"pending";
const FILLER: &[u8] = b"filler";

/// Random bytes, because the journal compresses.
const FILLER_BYTES: usize = 1024 * 1024;
/// Enough to fill more than one journal.
const FILLERS: usize = 160;
/// How long it may take until fjall has deleted a journal.
const DELETION_TIMEOUT: Duration = Duration::from_secs(30);

impl Engine {
    /// Notes that journals up to this one may hold what is erased.
    pub(super) fn expel_later(&self, journal: u64) -> Result<(), StoreError> {
        let mut draft = self.draft();
        let stored = draft.get(Space::Upkeep, PENDING)?;
        let stored: Option<Pending> =
            stored.map(|stored| value::read_plain(Space::Upkeep, &stored)).transpose()?;
        let half_us = i64::try_from(self.journal_residue.as_micros() / 2).unwrap_or(i64::MAX);
        let due_us = wall_clock_us().saturating_add(half_us);
        let due_us = stored.map_or(due_us, |stored| stored.due_us.min(due_us));
        draft.put(Space::Upkeep, PENDING.to_vec(), value::plain(&Pending { journal, due_us })?);
        draft.commit_durably()
    }

    pub(super) fn start_expelling(self: &Arc<Self>) -> Result<Background, StoreError> {
        Background::start("millrace-store-upkeep", self, self.expel_interval(), |engine| {
            if let Err(error) = engine.expel_due() {
                warn!(%error, "the journal may hold erased data for longer than it should");
            }
            engine.expel_interval()
        })
    }

    /// Half of the time passes until it is due; the rest is for finding out, and for trying again.
    fn expel_interval(&self) -> Duration {
        self.journal_residue / 8
    }

    /// Expels what is due.
    fn expel_due(&self) -> Result<(), StoreError> {
        let _turn = self.upkeep();
        let stored = self.spaces.get(Space::Upkeep).get(PENDING).map_err(failed)?;
        let Some(stored) = stored else { return Ok(()) };
        let pending: Pending = value::read_plain(Space::Upkeep, &stored)?;
        if pending.due_us > wall_clock_us() {
            return Ok(());
        }
        let oldest = |journals: Vec<u64>| journals.into_iter().min();
        if oldest(self.journals()?) <= Some(pending.journal) {
            let started = Instant::now();
            self.fill_up(pending.journal)?;
            self.seal(&Space::ALL)?;
            while oldest(self.journals()?) <= Some(pending.journal) {
                if started.elapsed() > DELETION_TIMEOUT {
                    return Err(StoreError::Unavailable(
                        "the journal is not deleted yet".to_owned(),
                    ));
                }
                sleep(Duration::from_millis(5));
            }
            info!(seconds = started.elapsed().as_secs_f64(), "a journal was filled up and deleted");
        }
        let mut draft = self.draft();
        draft.remove(Space::Upkeep, PENDING.to_vec());
        draft.commit_durably()
    }

    /// Writes until there is a newer journal.
    fn fill_up(&self, journal: u64) -> Result<(), StoreError> {
        let mut random = fastrand::Rng::new();
        for _ in 0..FILLERS {
            if self.newest_journal()? > journal {
                break;
            }
            let mut filler = vec![0; FILLER_BYTES];
            random.fill(&mut filler);
            let mut draft = self.draft();
            draft.put(Space::Upkeep, FILLER.to_vec(), filler);
            draft.commit()?;
        }
        let mut draft = self.draft();
        draft.put(Space::Upkeep, FILLER.to_vec(), Vec::new());
        draft.commit()
    }

    pub(super) fn newest_journal(&self) -> Result<u64, StoreError> {
        Ok(self.journals()?.into_iter().max().unwrap_or(0))
    }

    /// The numbers of the journals on disk.
    fn journals(&self) -> Result<Vec<u64>, StoreError> {
        let names = names(&self.dir)?;
        let number = |name: &str| name.strip_suffix(".jnl")?.parse().ok();
        Ok(names.iter().filter_map(|name| number(name.to_str()?)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{Config, EmbeddedStore};

    #[test]
    fn a_store_that_is_dropped_while_a_journal_is_filled_up_is_closed_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let residue = Config { journal_residue: Duration::from_millis(8), ..Config::default() };
        let store = EmbeddedStore::open(dir.path(), residue).unwrap();
        let engine = &store.engine;
        engine.expel_later(engine.newest_journal().unwrap()).unwrap();
        while engine.spaces.get(Space::Upkeep).get(FILLER).unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        drop(store);
        EmbeddedStore::open(dir.path(), residue).unwrap();
    }
}
