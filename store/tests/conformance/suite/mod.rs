//! What every engine must do, told through the traits alone. Each test gets an empty store.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_schema::{Counts, Outcome, Topic, UserKey};
use millrace_store::{
    Cell, Cells, Change, Claim, Commit, EventQuery, LedgerRow, Stamp, Store, StoreError, Version,
    Write,
};

pub(crate) mod accounts;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod ledger;
pub(crate) mod profiles;
pub(crate) mod replay;

/// Later than any test runs.
pub(crate) const NEVER_US: i64 = i64::MAX;

pub(crate) fn user(id: &str) -> UserKey {
    UserKey::new("p", id)
}

/// A worker of one partition, under the epoch it has claimed.
pub(crate) struct Worker<'s, S> {
    store: &'s S,
    base: Stamp,
    generation: u64,
    pub(crate) ledger: LedgerRow,
}

impl<'s, S: Store> Worker<'s, S> {
    pub(crate) async fn claim(store: &'s S, topic: Topic, partition: u32) -> Self {
        let base = store.topic_base(topic, 4).await.unwrap();
        let generation = store.generation().await.unwrap();
        let ledger = store.claim(topic, partition).await.unwrap();
        Self { store, base, generation, ledger }
    }

    /// Commits changes, each caused by the record at its offset.
    pub(crate) async fn try_commit(
        &mut self,
        changes: impl IntoIterator<Item = (u64, Change)>,
    ) -> Result<(), StoreError> {
        let writes: Vec<_> = changes
            .into_iter()
            .map(|(offset, change)| Write { stamp: self.base.at(offset), change })
            .collect();
        self.ledger.sequence += 1;
        self.ledger.frontier += 1;
        self.ledger.counts.add("p", Outcome::Stored, 1);
        let ledger = self.ledger.clone();
        self.store.commit(Commit { writes, ledger, generation: self.generation }).await
    }

    pub(crate) async fn commit(&mut self, changes: impl IntoIterator<Item = (u64, Change)>) {
        self.try_commit(changes).await.unwrap();
    }

    pub(crate) fn stamp(&self, offset: u64) -> Stamp {
        self.base.at(offset)
    }
}

pub(crate) fn put_event(user: &UserKey, time_us: i64, id: &str, payload: &'static str) -> Change {
    let payload = Bytes::from_static(payload.as_bytes());
    Change::PutEvent { user: user.clone(), time_us, id: id.into(), payload, expires_us: NEVER_US }
}

pub(crate) fn put_event_time(user: &UserKey, id: &str, time_us: i64) -> Change {
    Change::PutEventTime { user: user.clone(), id: id.into(), time_us, expires_us: NEVER_US }
}

pub(crate) fn erase_events(user: &UserKey) -> Change {
    Change::EraseEvents { user: user.clone() }
}

pub(crate) fn put_profile(user: &UserKey, updated_us: i64, cells: Cells) -> Change {
    Change::PutProfile { user: user.clone(), created_us: 1, updated_us, cells }
}

pub(crate) fn put_device(user: &UserKey, device: &str, updated_us: i64, cells: Cells) -> Change {
    Change::PutDevice { user: user.clone(), device_id: device.into(), updated_us, cells }
}

pub(crate) fn put_claim(holder: Option<&str>, device: &str, linked_us: i64) -> Change {
    let linked = Some(Version { time_us: linked_us, stamp: Stamp(linked_us) });
    let claim = Claim { holder: holder.map(Into::into), linked, received_us: 0, unlinked: None };
    Change::PutClaim { project: "p".into(), device_id: device.into(), claim }
}

pub(crate) fn cell(time_us: i64, value: &str) -> Cell {
    Cell { version: Version { time_us, stamp: Stamp(time_us) }, value: Some(value.into()) }
}

pub(crate) fn cells<const N: usize>(cells: [(&str, Cell); N]) -> Cells {
    BTreeMap::from(cells.map(|(name, cell)| (name.to_owned(), cell)))
}

pub(crate) const ALL: EventQuery =
    EventQuery { from_us: None, to_us: None, before: None, limit: 100 };

/// The (time, id, payload) of a user's events, newest first.
pub(crate) async fn read_events<S: Store>(store: &S, user: &UserKey) -> Vec<(i64, String, String)> {
    let events = store.events(user.clone(), ALL).await.unwrap();
    let text = |payload: Bytes| String::from_utf8(payload.to_vec()).unwrap();
    events.into_iter().map(|e| (e.time_us, e.id, text(e.payload))).collect()
}

/// The text of each property of a user's profile.
pub(crate) async fn read_profile<S: Store>(store: &S, user: &UserKey) -> BTreeMap<String, String> {
    let row = store.profiles(vec![user.clone()]).await.unwrap().remove(0);
    let cells = row.map(|row| row.cells).unwrap_or_default();
    cells.into_iter().filter_map(|(name, cell)| Some((name, cell.value?))).collect()
}

/// The devices of a user, each with the text of its properties.
pub(crate) async fn read_devices<S: Store>(
    store: &S,
    user: &UserKey,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let devices = store.devices(vec![user.clone()]).await.unwrap().remove(0);
    let values =
        |cells: Cells| cells.into_iter().filter_map(|(n, c)| Some((n, c.value?))).collect();
    devices.rows.into_iter().map(|(id, row)| (id, values(row.cells))).collect()
}

/// The holders that claim a device, with the time of each link.
pub(crate) async fn read_claims<S: Store>(store: &S, device: &str) -> Vec<(Option<String>, i64)> {
    let claims = store.claims("p", vec![device.into()]).await.unwrap().remove(0);
    let mut holders: Vec<_> =
        claims.into_iter().map(|c| (c.holder, c.linked.map_or(0, |v| v.time_us))).collect();
    holders.sort();
    holders
}

pub(crate) fn stored(n: u64) -> Counts {
    let mut counts = Counts::default();
    counts.add("p", Outcome::Stored, n);
    counts
}
