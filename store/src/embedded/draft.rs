//! A batch in the making: what it writes hides what is stored, and all of it is written at once.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use fjall::{Database, PersistMode, Readable, Slice, Snapshot};

use crate::StoreError;
use crate::embedded::failure::failed;
use crate::embedded::space::{Space, Spaces};

/// Rows by key; `None` removes. One entry a key: within a fjall batch the order of two writes of
/// the same key would be undefined.
type Rows = BTreeMap<Vec<u8>, Option<Slice>>;

/// A batch in the making.
pub(super) struct Draft<'e> {
    db: &'e Database,
    spaces: &'e Spaces,
    snapshot: Snapshot,
    rows: BTreeMap<Space, Rows>,
    /// The writer's, without which nothing is written.
    turn: Option<MutexGuard<'e, ()>>,
}

impl<'e> Draft<'e> {
    /// A batch over the store as it is now, and as it stays while `turn` is held.
    pub(super) fn new(db: &'e Database, spaces: &'e Spaces, turn: MutexGuard<'e, ()>) -> Self {
        Self { turn: Some(turn), ..Self::ahead(db, spaces) }
    }

    /// A batch over the store as it is now. Others may write until it is given the turn, so
    /// whoever gives it must know that what was read has stayed.
    pub(super) fn ahead(db: &'e Database, spaces: &'e Spaces) -> Self {
        Self { db, spaces, snapshot: db.snapshot(), rows: BTreeMap::new(), turn: None }
    }

    pub(super) fn with_turn(self, turn: MutexGuard<'e, ()>) -> Self {
        Self { turn: Some(turn), ..self }
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        if let Some(row) = self.rows.get(&space).and_then(|rows| rows.get(key)) {
            return Ok(row.clone());
        }
        self.snapshot.get(self.spaces.get(space), key).map_err(failed)
    }

    pub(super) fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.rows.entry(space).or_default().insert(key, Some(value.into()));
    }

    pub(super) fn remove(&mut self, space: Space, key: Vec<u8>) {
        self.rows.entry(space).or_default().insert(key, None);
    }

    /// Writes everything, or nothing.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.write(PersistMode::Buffer)
    }

    /// Writes everything, or nothing; it is durable when this returns.
    pub(super) fn commit_durably(self) -> Result<(), StoreError> {
        self.write(PersistMode::SyncAll)
    }

    fn write(self, mode: PersistMode) -> Result<(), StoreError> {
        debug_assert!(self.turn.is_some(), "writes out of turn");
        let mut batch = self.db.batch().durability(Some(mode));
        for (space, rows) in self.rows {
            let keyspace = self.spaces.get(space);
            for (key, row) in rows {
                match row {
                    Some(value) => batch.insert(keyspace, key, value),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        batch.commit().map_err(failed)
    }
}
