//! Consumer groups: who reads which partition, and what each group still needs.
//!
//! Kept in memory. A partition is read by one member of a group at a time. After a restart
//! nothing is known to be passed until the members have committed again.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::watch;

use crate::sync::locked;

/// All groups of a log.
#[derive(Debug)]
pub(super) struct Groups {
    places: Mutex<HashMap<String, HashMap<usize, Seat>>>,
    freed: watch::Sender<()>,
}

/// A group's part in one stream.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    taken: bool,
    /// Records below this are not needed again; unknown until a member commits.
    position: Option<u64>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { places: Mutex::default(), freed: watch::Sender::new(()) }
    }

    /// Sees a change whenever a partition becomes free.
    pub(super) fn freed(&self) -> watch::Receiver<()> {
        self.freed.subscribe()
    }

    /// Takes a stream for a member, if nobody of the group has it.
    pub(super) fn take(&self, group: &str, stream: usize) -> bool {
        let mut places = locked(&self.places);
        if !places.contains_key(group) {
            places.insert(group.to_owned(), HashMap::new());
        }
        let Some(seats) = places.get_mut(group) else { return false };
        let seat = seats.entry(stream).or_default();
        !std::mem::replace(&mut seat.taken, true)
    }

    /// Lets go of a stream.
    pub(super) fn release(&self, group: &str, stream: usize) {
        self.with(group, stream, |seat| seat.taken = false);
        self.freed.send_replace(());
    }

    /// The member reads from `offset` on. That alone lets go of nothing: what it did with the
    /// records below may not be durable yet.
    pub(super) fn begin(&self, group: &str, stream: usize, offset: u64) {
        self.with(group, stream, |seat| seat.position = seat.position.map(|p| p.min(offset)));
    }

    /// The member is done with everything below `offset`.
    pub(super) fn commit(&self, group: &str, stream: usize, offset: u64) {
        self.with(group, stream, |seat| seat.position = seat.position.max(Some(offset)));
    }

    fn with(&self, group: &str, stream: usize, change: impl FnOnce(&mut Seat)) {
        let mut places = locked(&self.places);
        if let Some(seat) = places.get_mut(group).and_then(|seats| seats.get_mut(&stream)) {
            change(seat);
        }
    }

    /// Whether nobody needs a record of `stream` below `end`: no member that is reading, and
    /// none of the `awaited` groups, present or not.
    pub(super) fn passed(&self, awaited: &[String], stream: usize, end: u64) -> bool {
        let places = locked(&self.places);
        let behind = |seat: &Seat| seat.position.unwrap_or(0) < end;
        let waits = |group: &String| {
            let seat = places.get(group).and_then(|seats| seats.get(&stream));
            behind(&seat.copied().unwrap_or_default())
        };
        let mut reading = places.values().filter_map(|seats| seats.get(&stream));
        !awaited.iter().any(waits) && !reading.any(|seat| seat.taken && behind(seat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_passed_when_all_that_are_awaited_or_reading_have_committed() {
        let groups = Groups::new();
        let awaited = ["workers".to_owned()];
        assert!(groups.passed(&[], 0, 5));
        assert!(!groups.passed(&awaited, 0, 5));
        assert!(groups.passed(&awaited, 0, 0));

        assert!(groups.take("workers", 0) && !groups.take("workers", 0));
        groups.begin("workers", 0, 5);
        assert!(!groups.passed(&awaited, 0, 5), "to seek is not to commit");
        groups.commit("workers", 0, 5);
        groups.commit("workers", 0, 3);
        assert!(groups.passed(&awaited, 0, 5) && !groups.passed(&awaited, 0, 6));

        assert!(groups.take("tool", 0));
        assert!(!groups.passed(&awaited, 0, 5));
        groups.release("tool", 0);
        assert!(groups.passed(&awaited, 0, 5));
        groups.release("workers", 0);
        assert!(groups.passed(&awaited, 0, 5), "what was committed stays so");
        groups.begin("workers", 0, 2);
        assert!(!groups.passed(&awaited, 0, 5), "what is read again is needed again");
    }
}
