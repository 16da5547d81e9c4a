//! What a [`Change`] does to the rows: the larger stamp wins, and an erasure hides what is
//! stamped at or below it.
//!
//! A partition's stamps only grow, so a write above all that were ever committed competes with
//! nothing and is put without a look. One at or below is of a replay, and is put only if neither
//! what is stored nor the user's latest erasure stands above it.

use millrace_schema::{Topic, UserKey};

use crate::embedded::draft::Draft;
use crate::embedded::key::{self, Key};
use crate::embedded::space::Space;
use crate::embedded::{jobs, value};
use crate::{Cells, Change, Claim, Stamp, StoreError, Write};

/// Applies the writes of one partition, in order.
pub(super) struct Apply<'d, 'e> {
    draft: &'d mut Draft<'e>,
    /// A put above it competes with nothing.
    floor: Stamp,
    /// The highest stamp ever committed.
    highest: Stamp,
    /// Puts that had to look.
    looked: u64,
}

impl<'d, 'e> Apply<'d, 'e> {
    pub(super) fn new(draft: &'d mut Draft<'e>, highest: Stamp) -> Self {
        Self { draft, floor: highest, highest, looked: 0 }
    }

    /// The highest stamp ever committed, these writes included, and how many puts had to look.
    pub(super) fn finish(self) -> (Stamp, u64) {
        (self.highest, self.looked)
    }

    pub(super) fn write(&mut self, write: Write) -> Result<(), StoreError> {
        let Write { stamp, change } = write;
        // Writes of one record share a stamp; what an erasure at that stamp hides must look.
        let competes = if erases(&change) { stamp } else { Stamp(stamp.0.saturating_sub(1)) };
        self.change(stamp, change)?;
        self.floor = self.floor.max(competes);
        self.highest = self.highest.max(stamp);
        Ok(())
    }

    fn change(&mut self, stamp: Stamp, change: Change) -> Result<(), StoreError> {
        match change {
            Change::PutEvent { user, time_us, id, payload, expires_us } => {
                let body = [&expires_us.to_be_bytes()[..], &payload];
                let key = key::event(&user, time_us, &id);
                self.put(stamp, Space::Events, key, &body, Some((&user, Topic::Events)))
            }
            Change::PutEventTime { user, id, time_us, expires_us } => {
                let body = [&expires_us.to_be_bytes()[..], &time_us.to_be_bytes()];
                let key = key::event_time(&user, &id);
                self.put(stamp, Space::EventTimes, key, &body, Some((&user, Topic::Events)))
            }
            Change::PutProfile { user, created_us, updated_us, cells } => {
                let head = [&created_us.to_be_bytes()[..], &updated_us.to_be_bytes()];
                let of = Some((&user, Topic::Profiles));
                self.put(stamp, Space::Profiles, key::profile_head(&user), &head, of)?;
                let cell = |name: &str| key::profile_cell(&user, name);
                self.put_cells(stamp, Space::Profiles, cells, cell, (&user, Topic::Profiles))
            }
            Change::PutDevice { user, device_id, updated_us, cells } => {
                let head = key::device_head(&user, &device_id);
                let of = Some((&user, Topic::Devices));
                self.put(stamp, Space::Devices, head, &[&updated_us.to_be_bytes()], of)?;
                let cell = |name: &str| key::device_cell(&user, &device_id, name);
                self.put_cells(stamp, Space::Devices, cells, cell, (&user, Topic::Devices))
            }
            Change::PutClaim { project, device_id, claim } => {
                self.put_claim(stamp, project, &device_id, &claim)
            }
            Change::PutErasure { user, topic, erasure } => {
                let key = key::erasure(&user, topic, erasure.offset);
                self.put(stamp, Space::Erasures, key, &[&value::json(&erasure)?], None)
            }
            Change::PutJob { job } => jobs::put(self.draft, stamp, job),
            Change::EndLife { user } => {
                self.put(stamp, Space::Devices, key::life(&user), &[], None)
            }
            Change::EraseEvents { user } => {
                let spaces = [Space::Events, Space::EventTimes];
                self.erase(stamp, &user, Topic::Events, &spaces, key::user(&user))
            }
            Change::EraseProfile { user } => {
                let prefix = key::user(&user);
                self.erase(stamp, &user, Topic::Profiles, &[Space::Profiles], prefix)
            }
            Change::EraseDevices { user } => {
                let prefix = key::devices(&user);
                self.erase(stamp, &user, Topic::Devices, &[Space::Devices], prefix)
            }
            Change::EraseClaim { user, device_id } => self.erase_claim(stamp, &user, &device_id),
        }
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
                && self.stamp_of(Space::Erasures, &key::erased(user, topic).finish()?)?
                    >= Some(stamp)
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
        cells: Cells,
        key: impl Fn(&str) -> Key,
        of: (&UserKey, Topic),
    ) -> Result<(), StoreError> {
        for (name, cell) in cells {
            self.put(stamp, space, key(&name), &[&value::json(&cell)?], Some(of))?;
        }
        Ok(())
    }

    fn put_claim(
        &mut self,
        stamp: Stamp,
        project: String,
        device_id: &str,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let key = key::claim(&project, device_id, claim.holder.as_deref());
        let holder = claim.holder.as_ref().map(|holder| UserKey::new(project, holder));
        let of = holder.as_ref().map(|holder| (holder, Topic::Devices));
        self.put(stamp, Space::Claims, key, &[&value::json(claim)?], of)
    }

    /// Removes a user's rows of a topic, and remembers the stamp below which they stay dead.
    fn erase(
        &mut self,
        stamp: Stamp,
        user: &UserKey,
        topic: Topic,
        spaces: &[Space],
        prefix: Key,
    ) -> Result<(), StoreError> {
        let prefix = prefix.finish()?;
        for space in spaces {
            self.draft.erase(*space, &prefix, stamp)?;
        }
        self.put(stamp, Space::Erasures, key::erased(user, topic), &[], None)
    }

    /// Removes a claim. That it stays dead is remembered for all claims of its holder, not by
    /// device: only a marker erases claims, and it erases them all.
    fn erase_claim(
        &mut self,
        stamp: Stamp,
        user: &UserKey,
        device_id: &str,
    ) -> Result<(), StoreError> {
        let key = key::claim(&user.project, device_id, Some(&user.user)).finish()?;
        if self.stamp_of(Space::Claims, &key)?.is_some_and(|stored| stored <= stamp) {
            self.draft.remove(Space::Claims, key);
        }
        self.put(stamp, Space::Erasures, key::erased(user, Topic::Devices), &[], None)
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
