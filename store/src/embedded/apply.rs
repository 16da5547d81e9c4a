//! What a [`Change`] does to the rows: the larger stamp wins, and an erasure hides what is
//! stamped at or below it.
//!
//! A partition's stamps only grow, so a write above all that were ever committed competes with
//! nothing and is put without a look. One at or below is of a replay, and is put only if neither
//! what is stored nor the user's latest erasure stands above it. An erasure removes nothing: it
//! is a stamp that readers and compactions obey.

use millrace_schema::{Topic, UserKey};

use crate::embedded::draft::Draft;
use crate::embedded::erasures::Heads;
use crate::embedded::key::{self, Key};
use crate::embedded::space::Space;
use crate::embedded::{jobs, value};
use crate::{Cells, Change, Claim, Stamp, StoreError, Write};

/// Applies the writes of one partition, in order.
pub(super) struct Apply<'d, 'e> {
    draft: &'d mut Draft<'e>,
    heads: Heads,
    /// A put above it competes with nothing.
    floor: Stamp,
    /// The highest stamp ever committed.
    highest: Stamp,
    /// Puts that had to look.
    looked: u64,
    has_erased: bool,
    has_jobs: bool,
}

/// What came of the writes of one partition.
pub(super) struct Applied {
    /// The highest stamp ever committed, these writes included.
    pub(super) highest: Stamp,
    /// How many puts had to look.
    pub(super) looked: u64,
    /// Whether any of them erases.
    pub(super) has_erased: bool,
    /// Whether any of them is of a job.
    pub(super) has_jobs: bool,
}

impl<'d, 'e> Apply<'d, 'e> {
    pub(super) fn new(draft: &'d mut Draft<'e>, highest: Stamp) -> Self {
        let heads = Heads::default();
        Self {
            draft,
            heads,
            floor: highest,
            highest,
            looked: 0,
            has_erased: false,
            has_jobs: false,
        }
    }

    pub(super) fn finish(self) -> Applied {
        let Self { draft, heads, highest, looked, has_erased, has_jobs, .. } = self;
        heads.put(draft);
        Applied { highest, looked, has_erased, has_jobs }
    }

    pub(super) fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        let Write { stamp, change } = write;
        // Writes of one record share a stamp; what an erasure at that stamp hides must look.
        let erases = erases(change);
        let competes = if erases { *stamp } else { Stamp(stamp.0.saturating_sub(1)) };
        self.change(*stamp, change)?;
        self.floor = self.floor.max(competes);
        self.highest = self.highest.max(*stamp);
        self.has_erased |= erases;
        self.has_jobs |= matches!(change, Change::PutJob { .. });
        Ok(())
    }

    fn change(&mut self, stamp: Stamp, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::PutEvent { user, time_us, id, payload, expires_us } => {
                let body = [&expires_us.to_be_bytes()[..], payload];
                let key = key::event(user, *time_us, id);
                self.put(stamp, Space::Events, key, &body, Some((user, Topic::Events)))
            }
            Change::PutEventTime { user, id, time_us, expires_us } => {
                let body = [&expires_us.to_be_bytes()[..], &time_us.to_be_bytes()];
                let key = key::event_time(user, id);
                self.put(stamp, Space::EventTimes, key, &body, Some((user, Topic::Events)))
            }
            Change::PutProfile { user, created_us, updated_us, cells } => {
                let head = [&created_us.to_be_bytes()[..], &updated_us.to_be_bytes()];
                let of = Some((user, Topic::Profiles));
                self.put(stamp, Space::Profiles, key::profile_head(user), &head, of)?;
                let cell = |name: &str| key::profile_cell(user, name);
                self.put_cells(stamp, Space::Profiles, cells, cell, (user, Topic::Profiles))
            }
            Change::PutDevice { user, device_id, updated_us, cells } => {
                let head = key::device_head(user, device_id);
                let of = Some((user, Topic::Devices));
                self.put(stamp, Space::Devices, head, &[&updated_us.to_be_bytes()], of)?;
                let cell = |name: &str| key::device_cell(user, device_id, name);
                self.put_cells(stamp, Space::Devices, cells, cell, (user, Topic::Devices))
            }
            Change::PutClaim { project, device_id, claim } => {
                self.put_claim(stamp, project, device_id, claim)
            }
            Change::PutErasure { user, topic, erasure } => {
                self.heads.remember(self.draft, stamp, user, *topic, erasure)
            }
            Change::PutJob { job } => jobs::put(self.draft, stamp, job),
            Change::EraseEvents { user } => self.erase(stamp, user, Topic::Events),
            Change::EraseProfile { user } => self.erase(stamp, user, Topic::Profiles),
            // Rows and claims die together: only a marker ends a life or erases a claim, and it
            // erases them all.
            Change::EndLife { user }
            | Change::EraseDevices { user }
            | Change::EraseClaim { user, .. } => self.erase(stamp, user, Topic::Devices),
        }
    }

    fn erase(&mut self, stamp: Stamp, user: &UserKey, topic: Topic) -> Result<(), StoreError> {
        self.heads.erase(self.draft, stamp, user, topic)
    }

    /// Puts a row unless it loses to what is there, or to the erasure of whom it belongs to.
    fn put(
        &mut self,
        stamp: Stamp,
        space: Space,
        key: Key,
        body: &[&[u8]],
        of: Option<(&UserKey, Topic)>,
    ) -> Result<(), StoreError> {
        let key = key.finish()?;
        if stamp <= self.floor {
            self.looked += 1;
            if let Some((user, topic)) = of
                && self.heads.stamp_of(self.draft, user, topic)? >= stamp
            {
                return Ok(());
            }
            if self.stamp_of(space, &key)? > Some(stamp) {
                return Ok(());
            }
        }
        self.draft.put(space, key, value::stamped(stamp, body));
        Ok(())
    }

    fn put_cells(
        &mut self,
        stamp: Stamp,
        space: Space,
        cells: &Cells,
        key: impl Fn(&str) -> Key,
        of: (&UserKey, Topic),
    ) -> Result<(), StoreError> {
        for (name, cell) in cells {
            self.put(stamp, space, key(name), &[&value::json(cell)?], Some(of))?;
        }
        Ok(())
    }

    fn put_claim(
        &mut self,
        stamp: Stamp,
        project: &str,
        device_id: &str,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let key = key::claim(project, device_id, claim.holder.as_deref());
        let holder = claim.holder.as_ref().map(|holder| UserKey::new(project, holder));
        let of = holder.as_ref().map(|holder| (holder, Topic::Devices));
        self.put(stamp, Space::Claims, key, &[&value::json(claim)?], of)
    }

    /// The stamp of a row, if it is there. (`None` is below every stamp.)
    fn stamp_of(&self, space: Space, key: &[u8]) -> Result<Option<Stamp>, StoreError> {
        let Some(value) = self.draft.get(space, key)? else {
            return Ok(None);
        };
        Ok(Some(value::read_stamped(space, &value)?.0))
    }
}

/// Whether a change hides what is stamped at or below it.
const fn erases(change: &Change) -> bool {
    matches!(
        change,
        Change::EraseEvents { .. }
            | Change::EraseProfile { .. }
            | Change::EndLife { .. }
            | Change::EraseDevices { .. }
            | Change::EraseClaim { .. }
    )
}
