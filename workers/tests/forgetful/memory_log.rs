//! A log in memory, and the seat of one set of workers at it and at the store: it can be frozen in
//! the middle of anything, thawed, and lose its assignment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use millrace_log::{
    AppendError, Appended, Batch, Bounds, BoxFuture, Durability, Log, LogError, LogRecord,
    ReadError, Reader, Subscription,
};
use millrace_schema::Topic;
use tokio::sync::Notify;

pub(crate) const PARTITIONS: u32 = 2;

pub(crate) struct MemoryLog {
    records: Mutex<BTreeMap<(Topic, u32), Vec<LogRecord>>>,
    /// Something was appended, or a seat changed. (It wakes in order; a `watch` does not.)
    changed: Notify,
    rng: Mutex<Rng>,
}

impl MemoryLog {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let rng = Mutex::new(Rng::with_seed(seed));
        Arc::new(Self { records: Mutex::default(), changed: Notify::new(), rng })
    }

    pub(crate) fn push(&self, batch: &Batch) -> Vec<u64> {
        let mut records = self.records.lock().unwrap();
        let mut offsets = Vec::new();
        for entry in batch.entries() {
            let partition = records.entry((entry.topic, entry.partition)).or_default();
            let offset = partition.len() as u64;
            let (key, value) = (Bytes::copy_from_slice(entry.key), entry.value);
            let (headers, value) = (entry.headers.to_vec(), Bytes::copy_from_slice(value));
            partition.push(LogRecord { offset, key, headers, value });
            offsets.push(offset);
        }
        self.changed.notify_waiters();
        offsets
    }

    pub(crate) fn records(&self, topic: Topic, partition: u32) -> Vec<LogRecord> {
        let records = self.records.lock().unwrap();
        records.get(&(topic, partition)).cloned().unwrap_or_default()
    }

    fn some_from(&self, key: (Topic, u32), offset: u64) -> Vec<LogRecord> {
        let records = self.records.lock().unwrap();
        let from = records.get(&key).and_then(|all| all.get(offset as usize..));
        let n = self.rng.lock().unwrap().usize(1..=6);
        from.unwrap_or_default().iter().take(n).cloned().collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Running,
    Frozen,
    /// Another set was given the partitions; it is noticed after so many more reads.
    Leaving(u32),
}

#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) log: Arc<MemoryLog>,
    state: Arc<Mutex<State>>,
}

impl Seat {
    pub(crate) fn new(log: Arc<MemoryLog>) -> Self {
        Self { log, state: Arc::new(Mutex::new(State::Running)) }
    }

    pub(crate) fn freeze(&self) {
        *self.state.lock().unwrap() = State::Frozen;
    }

    pub(crate) fn thaw_as_a_zombie(&self, reads: u32) {
        *self.state.lock().unwrap() = State::Leaving(reads);
        self.log.changed.notify_waiters();
    }

    /// Waits while frozen.
    pub(crate) async fn pass(&self) {
        while *self.state.lock().unwrap() == State::Frozen {
            self.log.changed.notified().await;
        }
    }

    fn is_revoked(&self) -> bool {
        *self.state.lock().unwrap() == State::Leaving(0)
    }

    fn count_read(&self) {
        if let State::Leaving(reads) = &mut *self.state.lock().unwrap() {
            *reads = reads.saturating_sub(1);
        }
    }
}

impl Log for Seat {
    fn partitions(&self) -> u32 {
        PARTITIONS
    }

    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        let seat = self.clone();
        Box::pin(async move {
            seat.pass().await;
            Ok(Appended { durability: Durability::Replicated, offsets: seat.log.push(&batch) })
        })
    }

    fn durability(&self) -> Durability {
        Durability::Replicated
    }

    fn subscribe(&self, _: &str, topic: Topic) -> Result<Box<dyn Subscription>, LogError> {
        let partitions = (0..PARTITIONS).map(|partition| (topic, partition)).collect();
        Ok(Box::new(Member { seat: self.clone(), partitions }))
    }

    fn bounds(&self, topic: Topic) -> BoxFuture<'_, Result<Vec<Bounds>, LogError>> {
        let ends = (0..PARTITIONS).map(|p| self.log.records(topic, p).len() as u64);
        let bounds = ends.map(|end| Bounds { start: 0, end }).collect();
        Box::pin(async move { Ok(bounds) })
    }

    fn retention(&self, _: Topic) -> BoxFuture<'_, Result<Option<Duration>, LogError>> {
        Box::pin(async { Ok(None) })
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Member {
    seat: Seat,
    partitions: Vec<(Topic, u32)>,
}

impl Subscription for Member {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Box<dyn Reader>>, LogError>> {
        Box::pin(async {
            let Some(key) = self.partitions.pop() else { return std::future::pending().await };
            let reader = Assigned { seat: self.seat.clone(), key, offset: 0 };
            Ok(Some(Box::new(reader) as Box<dyn Reader>))
        })
    }
}

struct Assigned {
    seat: Seat,
    key: (Topic, u32),
    offset: u64,
}

impl Reader for Assigned {
    fn topic(&self) -> Topic {
        self.key.0
    }

    fn partition(&self) -> u32 {
        self.key.1
    }

    fn is_held(&self) -> bool {
        !self.seat.is_revoked()
    }

    fn seek(&mut self, offset: u64) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            self.seat.pass().await;
            if self.seat.is_revoked() {
                return Err(ReadError::Revoked);
            }
            let end = self.seat.log.records(self.key.0, self.key.1).len() as u64;
            if offset > end {
                return Err(ReadError::BeyondEnd { offset, end });
            }
            self.offset = offset;
            Ok(())
        })
    }

    fn read(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<LogRecord>, ReadError>> {
        Box::pin(async {
            loop {
                self.seat.pass().await;
                if self.seat.is_revoked() {
                    return Err(ReadError::Revoked);
                }
                let records = self.seat.log.some_from(self.key, self.offset);
                if let Some(last) = records.last() {
                    self.offset = last.offset + 1;
                    self.seat.count_read();
                    return Ok(records);
                }
                self.seat.log.changed.notified().await;
            }
        })
    }

    fn commit(&mut self, _: u64) {}
}
