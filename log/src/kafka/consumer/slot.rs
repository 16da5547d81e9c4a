//! What a reader and the consumer's thread share of one assigned partition.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::sync::locked;
use crate::{LogError, LogRecord, ReadError};

pub(super) struct Slot {
    pub(super) partition: u32,
    limit_bytes: usize,
    held: AtomicBool,
    /// The reader was dropped.
    abandoned: AtomicBool,
    state: Mutex<State>,
    /// Records have come, or none will.
    changed: Notify,
}

#[derive(Default)]
struct State {
    records: VecDeque<LogRecord>,
    bytes: usize,
    /// The position's number; records of an older one are not wanted any more.
    generation: u64,
    /// Whether the thread has taken the position over.
    is_positioned: bool,
    /// Whether the thread was told that there is no room.
    is_full: bool,
    beyond_end: Option<(u64, u64)>,
    committed: u64,
}

/// What is taken out of a slot.
pub(super) struct Taken {
    pub(super) records: Vec<LogRecord>,
    /// There is room again, which the thread must be told.
    pub(super) drained: bool,
}

fn bytes_of(record: &LogRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, text)| name.len() + text.len()).sum();
    (record.key.len() + record.value.len() + headers).max(1)
}

impl Slot {
    pub(super) fn new(partition: u32, limit_bytes: usize) -> Self {
        Self {
            partition,
            limit_bytes: limit_bytes.max(1),
            held: AtomicBool::new(true),
            abandoned: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Takes the partition away from the reader; what it has not read, it will not.
    pub(super) fn revoke(&self) {
        self.held.store(false, Ordering::Release);
        let mut state = locked(&self.state);
        state.records = VecDeque::new();
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Resolves once the partition was taken away.
    pub(super) async fn revoked(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.is_held() {
                return;
            }
            changed.await;
        }
    }

    /// Begins a new position: nothing of the former one is read any more.
    pub(super) fn begin(&self) -> u64 {
        let mut state = locked(&self.state);
        state.records.clear();
        state.bytes = 0;
        state.generation += 1;
        state.is_positioned = false;
        state.beyond_end = None;
        state.generation
    }

    /// The thread reads from the position of that number now; false if it is outdated.
    pub(super) fn position(&self, generation: u64) -> bool {
        let mut state = locked(&self.state);
        if state.generation != generation {
            return false;
        }
        state.is_positioned = true;
        state.is_full = false;
        true
    }

    /// The log ends before the position.
    pub(super) fn fail(&self, generation: u64, offset: u64, end: u64) {
        let mut state = locked(&self.state);
        if state.generation == generation {
            state.records.clear();
            state.beyond_end = Some((offset, end));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Adds records of a position. True if the slot has become full.
    pub(super) fn push(&self, generation: u64, records: &mut Vec<LogRecord>) -> bool {
        let mut state = locked(&self.state);
        if state.generation != generation || !self.is_held() {
            records.clear();
            return false;
        }
        state.bytes += records.iter().map(bytes_of).sum::<usize>();
        state.records.extend(records.drain(..));
        let became_full = !state.is_full && state.bytes >= self.limit_bytes;
        state.is_full |= became_full;
        drop(state);
        self.changed.notify_waiters();
        became_full
    }

    /// Takes at least one record and about `max_bytes`, as soon as there are some. Cancel safe.
    pub(super) async fn take(&self, max_bytes: usize) -> Result<Taken, ReadError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(taken) = self.try_take(max_bytes)? {
                return Ok(taken);
            }
            changed.await;
        }
    }

    fn try_take(&self, max_bytes: usize) -> Result<Option<Taken>, ReadError> {
        let mut state = locked(&self.state);
        if let Some((offset, end)) = state.beyond_end {
            return Err(ReadError::BeyondEnd { offset, end });
        }
        if !self.is_held() {
            return Err(ReadError::Revoked);
        }
        if !state.is_positioned {
            let what = "a reader must seek before it reads".to_owned();
            return Err(LogError::Invalid(what).into());
        }
        let mut room = max_bytes.max(1);
        let mut records = Vec::new();
        while room > 0
            && let Some(record) = state.records.pop_front()
        {
            let bytes = bytes_of(&record);
            room = room.saturating_sub(bytes);
            state.bytes = state.bytes.saturating_sub(bytes);
            records.push(record);
        }
        if records.is_empty() {
            return Ok(None);
        }
        let drained = state.is_full && state.bytes <= self.limit_bytes / 2;
        state.is_full &= !drained;
        Ok(Some(Taken { records, drained }))
    }

    /// Everything below `offset` is not needed again.
    pub(super) fn commit(&self, offset: u64) {
        let mut state = locked(&self.state);
        state.committed = state.committed.max(offset);
    }

    pub(super) fn committed(&self) -> u64 {
        locked(&self.state).committed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    fn records(offsets: std::ops::Range<u64>) -> Vec<LogRecord> {
        let value = Bytes::from_static(&[0; 100]);
        let record = |offset| LogRecord {
            offset,
            key: Bytes::new(),
            headers: Vec::new(),
            value: value.clone(),
        };
        offsets.map(record).collect()
    }

    fn positioned() -> (Slot, u64) {
        let slot = Slot::new(0, 1_000);
        let generation = slot.begin();
        assert!(slot.position(generation));
        (slot, generation)
    }

    fn offsets(taken: &Taken) -> Vec<u64> {
        taken.records.iter().map(|record| record.offset).collect()
    }

    #[tokio::test]
    async fn at_least_one_record_and_about_as_much_as_asked_for_is_taken() {
        let (slot, generation) = positioned();
        slot.push(generation, &mut records(0..5));
        assert_eq!(offsets(&slot.take(1).await.unwrap()), [0]);
        assert_eq!(offsets(&slot.take(150).await.unwrap()), [1, 2]);
        assert_eq!(offsets(&slot.take(10_000).await.unwrap()), [3, 4]);
    }

    #[tokio::test]
    async fn a_full_slot_says_so_once_and_asks_for_more_when_half_is_read() {
        let (slot, generation) = positioned();
        assert!(!slot.push(generation, &mut records(0..9)));
        assert!(slot.push(generation, &mut records(9..10)), "1,000 bytes");
        assert!(!slot.push(generation, &mut records(10..12)), "told already");
        assert!(!slot.take(600).await.unwrap().drained, "600 are left");
        assert!(slot.take(100).await.unwrap().drained, "500 are left");
        assert!(!slot.take(100).await.unwrap().drained, "told already");
    }

    #[tokio::test]
    async fn nothing_of_a_former_position_arrives() {
        let (slot, old) = positioned();
        slot.push(old, &mut records(0..5));
        let new = slot.begin();
        slot.push(old, &mut records(5..9));
        assert!(!slot.position(old));
        assert!(matches!(slot.take(100).await, Err(ReadError::Log(LogError::Invalid(_)))));
        assert!(slot.position(new));
        slot.push(old, &mut records(5..9));
        slot.push(new, &mut records(2..3));
        assert_eq!(offsets(&slot.take(10_000).await.unwrap()), [2]);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_records_by_the_end_and_by_revocation() {
        let (slot, generation) = positioned();
        let slot = Arc::new(slot);
        let wait = || {
            let slot = Arc::clone(&slot);
            tokio::spawn(async move { slot.take(100).await.map(|taken| offsets(&taken)) })
        };
        let waits = wait();
        tokio::task::yield_now().await;
        slot.push(generation, &mut records(7..8));
        assert_eq!(waits.await.unwrap().unwrap(), [7]);
        let waits = wait();
        tokio::task::yield_now().await;
        slot.fail(generation, 8, 3);
        let failed = waits.await.unwrap();
        assert!(matches!(failed, Err(ReadError::BeyondEnd { offset: 8, end: 3 })));
        let generation = slot.begin();
        assert!(slot.position(generation));
        let waits = wait();
        tokio::task::yield_now().await;
        slot.revoke();
        assert!(matches!(waits.await.unwrap(), Err(ReadError::Revoked)));
        slot.push(generation, &mut records(8..9));
        assert!(matches!(slot.take(100).await, Err(ReadError::Revoked)));
        slot.revoked().await;
    }
}
