//! What compactions leave out: rows that an erasure has made dead, and rows that have expired.
//! Readers hide both from the moment on.
//!
//! An erasure is never taken back, so a row that was dead once is dead in every version, and its
//! removal needs no tombstone: an older version that comes to light is dead as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use fjall::{Iter, Keyspace, Slice};
use millrace_schema::Topic;
use millrace_schema::time::{Micros, wall_clock_us};

use crate::embedded::failure::failed;
use crate::embedded::space::Space;
use crate::embedded::{key, value};
use crate::{Stamp, StoreError};

/// What the filters of all keyspaces share.
#[derive(Default)]
pub(super) struct Shared {
    /// The keyspace of erasures, once it is open. The filters must not keep it open.
    erasures: Mutex<Weak<Keyspace>>,
    /// Whether a filter could not read erasures, and kept what it should have judged.
    failed: AtomicBool,
}

impl Shared {
    pub(super) fn judge_by(&self, erasures: &Arc<Keyspace>) {
        *self.erasures.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(erasures);
    }

    /// Whether a filter has failed since the last call.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.swap(false, Ordering::Relaxed)
    }

    /// The filter of a keyspace, if its rows can be dead.
    pub(super) fn filter_of(self: &Arc<Self>, keyspace: &str) -> Option<Arc<dyn Factory>> {
        let erasable = Space::ERASABLE.map(|(space, topic)| (space, Some(topic)));
        let (space, topic) = erasable
            .into_iter()
            .chain([(Space::Documents, None)])
            .find(|(space, _)| space.name() == keyspace)?;
        Some(Arc::new(Filters { space, topic, shared: Arc::clone(self) }))
    }
}

struct Filters {
    space: Space,
    /// Of which erasures make its rows dead.
    topic: Option<Topic>,
    shared: Arc<Shared>,
}

impl Factory for Filters {
    fn name(&self) -> &str {
        "erased and expired"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let erasures = self.shared.erasures.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = |topic| Some(Cursor::new(erasures.upgrade()?, topic));
        Box::new(Filter {
            space: self.space,
            now_us: wall_clock_us(),
            erasures: self.topic.and_then(cursor),
            shared: Arc::clone(&self.shared),
        })
    }
}

struct Filter {
    space: Space,
    now_us: Micros,
    /// `None` while the database is opened or closed, and for what nobody erases.
    erasures: Option<Cursor>,
    shared: Arc<Shared>,
}

impl Filter {
    fn judge(&mut self, key: &[u8], value: &[u8]) -> Result<Verdict, StoreError> {
        let (stamp, rest) = value::read_stamped(self.space, value)?;
        if self.erased(key)? >= Some(stamp) {
            return Ok(Verdict::Destroy);
        }
        if matches!(self.space, Space::Events | Space::EventTimes | Space::Documents)
            && value::read_expiry(self.space, rest)?.0 <= self.now_us
        {
            // A tombstone, so that no older version in a lower level comes back.
            return Ok(Verdict::Remove);
        }
        Ok(Verdict::Keep)
    }

    fn erased(&mut self, key: &[u8]) -> Result<Option<Stamp>, StoreError> {
        let Some(erasures) = &mut self.erasures else { return Ok(None) };
        if self.space != Space::Claims {
            return key::user_of(key).map_or(Ok(None), |user| erasures.next_of(user));
        }
        key::holder_of(key).map_or(Ok(None), |holder| erasures.any_of(&holder))
    }
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        // Nobody's key: it says how far the keyspace is flushed.
        if **item.key() == *key::last() {
            return Ok(Verdict::Keep);
        }
        let value = item.value()?;
        // What cannot be read is left for a reader to report. An error would stop the database.
        Ok(self.judge(item.key(), &value).unwrap_or_else(|_| {
            self.shared.failed.store(true, Ordering::Relaxed);
            Verdict::Keep
        }))
    }
}

/// Finds the erasures of users. Those of ascending users are found by walking beside them, which
/// is cheaper than a lookup for each.
struct Cursor {
    keyspace: Arc<Keyspace>,
    topic: Topic,
    rows: Option<Iter>,
    /// The row at which the walk stands.
    next: Option<(Slice, Slice)>,
    /// Whom the last call was about, and what it found.
    user: Vec<u8>,
    found: Option<Stamp>,
}

impl Cursor {
    /// So many rows are passed over before the walk looks for its next row.
    const STEPS: usize = 32;

    fn new(keyspace: Arc<Keyspace>, topic: Topic) -> Self {
        Self { keyspace, topic, rows: None, next: None, user: Vec::new(), found: None }
    }

    /// The stamp of the erasure of a user that does not sort before the last call's.
    fn next_of(&mut self, user: &[u8]) -> Result<Option<Stamp>, StoreError> {
        if self.user != user {
            let wanted = key::erased_of(user, self.topic);
            self.walk_to(&wanted)?;
            self.found = match &self.next {
                Some((key, value)) if **key == *wanted => Some(stamp_of(value)?),
                _ => None,
            };
            self.user.clear();
            self.user.extend_from_slice(user);
        }
        Ok(self.found)
    }

    /// Walks to the first row at or after a key.
    fn walk_to(&mut self, wanted: &[u8]) -> Result<(), StoreError> {
        let reached =
            |next: &Option<(Slice, Slice)>| next.as_ref().is_none_or(|(key, _)| **key >= *wanted);
        if let Some(rows) = &mut self.rows {
            for _ in 0..Self::STEPS {
                if reached(&self.next) {
                    return Ok(());
                }
                self.next = step(rows)?;
            }
        }
        let rows = self.rows.insert(self.keyspace.range(wanted..));
        self.next = step(rows)?;
        Ok(())
    }

    /// The stamp of the erasure of any user.
    fn any_of(&self, user: &[u8]) -> Result<Option<Stamp>, StoreError> {
        let row = self.keyspace.get(key::erased_of(user, self.topic)).map_err(failed)?;
        row.map(|value| stamp_of(&value)).transpose()
    }
}

fn step(rows: &mut Iter) -> Result<Option<(Slice, Slice)>, StoreError> {
    rows.next().map(|row| row.into_inner().map_err(failed)).transpose()
}

fn stamp_of(value: &[u8]) -> Result<Stamp, StoreError> {
    Ok(value::read_stamped(Space::Erasures, value)?.0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fjall::Readable;
    use millrace_schema::UserKey;

    use super::*;
    use crate::embedded::EmbeddedStore;
    use crate::{Change, Commit, DocumentChange, DocumentStore, Expect, Kind, Store, Write};

    fn put_event(user: &str, time_us: i64, expires_us: i64) -> Change {
        let (user, id, payload) = (UserKey::new("p", user), "x".into(), Bytes::new());
        Change::PutEvent { user, time_us, id, payload, expires_us }
    }

    async fn commit(store: &EmbeddedStore, changes: impl IntoIterator<Item = (i64, Change)>) {
        let ledger = store.claim(Topic::Events, 0).await.unwrap();
        let write = |(stamp, change)| Write { stamp: Stamp(stamp), change };
        let writes = changes.into_iter().map(write).collect();
        store.commit(Commit { writes, ledger, generation: 0 }).await.unwrap();
    }

    fn compact(store: &EmbeddedStore, space: Space) -> usize {
        let keyspace = store.engine.spaces.get(space);
        keyspace.rotate_memtable_and_wait().unwrap();
        keyspace.major_compact().unwrap();
        store.engine.db.snapshot().len(keyspace).unwrap()
    }

    #[tokio::test]
    async fn a_compaction_removes_what_has_expired_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let now_us = wall_clock_us();
        let puts = [now_us - 1, now_us + 3_600_000_000].map(|us| (1, put_event("u", us, us)));
        commit(&store, puts).await;
        assert_eq!(
            store.engine.db.snapshot().len(store.engine.spaces.get(Space::Events)).unwrap(),
            2
        );
        assert_eq!(compact(&store, Space::Events), 1);
    }

    #[tokio::test]
    async fn a_compaction_removes_documents_that_have_expired_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let now_us = wall_clock_us();
        let put = async |key: &str, expires_us| {
            let (kind, key, text) = (Kind::Session, key.to_owned(), Some("{}".to_owned()));
            let new = DocumentChange { kind, key, expect: Expect::Absent, text, expires_us };
            assert!(store.change(vec![new], Vec::new()).await.unwrap());
        };
        put("gone", Some(now_us)).await;
        put("later", Some(now_us + 3_600_000_000)).await;
        put("never", None).await;
        assert_eq!(compact(&store, Space::Documents), 2);
        let kept = store.documents(Kind::Session, "", None, 10).await.unwrap();
        let keys: Vec<String> = kept.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["later", "never"]);
        put("gone", None).await;
        assert_eq!(compact(&store, Space::Documents), 3);
    }

    #[tokio::test]
    async fn a_compaction_removes_what_is_erased_and_nothing_else() {
        const USERS: i64 = 300;
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let user = |n: i64| format!("{n:04}");
        // Two events each, and of most users an erasure between them; and erasures of many users
        // that have no events, over which the walk must jump.
        let puts = |stamp| (0..USERS).map(move |n| (stamp, put_event(&user(n), stamp, i64::MAX)));
        let erased = |n: &i64| n % 7 != 0;
        let erase = |user: String| Change::EraseEvents { user: UserKey::new("p", user) };
        let erasures = (0..USERS).filter(erased).map(|n| (2, erase(user(n))));
        let others = (0..50 * USERS).map(|n| (2, erase(format!("{:04}.{}", n / 50, n % 50))));
        commit(&store, puts(1).chain(erasures).chain(others).chain(puts(3))).await;
        let kept = (0..USERS).filter(|n| !erased(n)).count() + usize::try_from(USERS).unwrap();
        assert_eq!(compact(&store, Space::Events), kept);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_kept_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Default::default()).unwrap();
        let mut draft = store.engine.draft();
        draft.put(Space::Events, b"no key".to_vec(), b"no value".to_vec());
        draft.commit().unwrap();
        assert_eq!(compact(&store, Space::Events), 1);
        assert!(store.engine.filters.has_failed());
        assert!(!store.engine.filters.has_failed());
    }
}
