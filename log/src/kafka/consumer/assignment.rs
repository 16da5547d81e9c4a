//! The partitions that a member has been given, and what it does with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tracing::debug;

use super::context::Consuming;
use super::intake::Intake;
use super::slot::Slot;
use crate::{Bounds, LogRecord};

/// How long one call may wait for librdkafka's own thread.
const SEEK_WITHIN: Duration = Duration::from_secs(1);
/// A partition that cannot be positioned for so long never will be: its fetching has stopped.
const SEEK_FOR: Duration = Duration::from_secs(5);
/// How often offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Records that are dealt out at once at most.
const DEAL_RECORDS: usize = 512;

/// One partition, as the thread has it.
struct Held {
    slot: Arc<Slot>,
    /// The number of the reader's position that is followed; 0 before the first.
    generation: u64,
    /// The next offset that is wanted.
    next: u64,
    is_paused: bool,
    incoming: Vec<LogRecord>,
    seeking: Option<Seeking>,
    committed: u64,
}

/// A position that the reader waits for.
struct Seeking {
    generation: u64,
    offset: u64,
    since: Instant,
    done: oneshot::Sender<()>,
}

/// The partitions of a member.
pub(super) struct Assignment {
    topic: String,
    held: BTreeMap<u32, Held>,
    intake: Intake,
    committed_at: Instant,
}

impl Assignment {
    pub(super) fn new(topic: String) -> Self {
        Self {
            topic,
            held: BTreeMap::new(),
            intake: Intake::default(),
            committed_at: Instant::now(),
        }
    }

    /// A list of partitions, all with an offset of their own.
    fn list<T>(
        &self,
        partitions: impl IntoIterator<Item = T>,
        place: impl Fn(T) -> (u32, Offset),
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            let (partition, offset) = place(partition);
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        Ok(list)
    }

    /// Takes partitions, paused until readers say where to begin: at the end by its number, which
    /// needs no committed offset, is not out of range and leaves no question open. (librdkafka may
    /// ask for [`Offset::End`] once more half a second later, and go there from wherever it is.)
    pub(super) fn assign(
        &self,
        consumer: &BaseConsumer<Consuming>,
        partitions: &[u32],
        bounds: &[Bounds],
    ) -> KafkaResult<()> {
        let end = |partition: &u32| {
            let end = bounds.get(*partition as usize).map_or(0, |bounds| bounds.end);
            (*partition, Offset::Offset(i64::try_from(end).unwrap_or(i64::MAX)))
        };
        let list = self.list(partitions, end)?;
        consumer.incremental_assign(&list)?;
        consumer.pause(&list)
    }

    /// Serves the reader of a partition that was taken.
    pub(super) fn hold(&mut self, slot: Arc<Slot>) {
        let held = Held {
            generation: 0,
            next: 0,
            is_paused: true,
            incoming: Vec::new(),
            seeking: None,
            committed: 0,
            slot,
        };
        self.held.insert(held.slot.partition, held);
    }

    /// Tells the readers that their partitions are gone.
    pub(super) fn revoke(&mut self, partitions: &[u32]) {
        for held in partitions.iter().filter_map(|partition| self.held.get(partition)) {
            held.slot.revoke();
        }
    }

    pub(super) fn revoke_all(&mut self) {
        for held in self.held.values_mut() {
            held.slot.revoke();
            held.seeking = None;
        }
    }

    /// Whether no reader of these is left.
    pub(super) fn are_abandoned(&self, partitions: &[u32]) -> bool {
        let mut held = partitions.iter().filter_map(|partition| self.held.get(partition));
        held.all(|held| held.slot.is_abandoned())
    }

    /// Whether no reader is left at all.
    pub(super) fn is_abandoned(&self) -> bool {
        self.held.values().all(|held| held.slot.is_abandoned())
    }

    /// Gives partitions back.
    pub(super) fn unassign(
        &mut self,
        consumer: &BaseConsumer<Consuming>,
        partitions: &[u32],
    ) -> KafkaResult<()> {
        self.commit(consumer);
        for partition in partitions {
            self.held.remove(partition);
        }
        let list = self.list(partitions, |partition| (*partition, Offset::Invalid))?;
        consumer.incremental_unassign(&list)
    }

    /// Takes a message, to be dealt out soon.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) {
        let partition = u32::try_from(message.partition()).unwrap_or(u32::MAX);
        let Some(held) = self.held.get_mut(&partition) else { return };
        if held.generation == 0 || !held.slot.is_held() {
            return;
        }
        let Some(record) = self.intake.copy(message) else { return };
        if record.offset < held.next {
            return;
        }
        held.next = record.offset + 1;
        held.incoming.push(record);
    }

    /// Whether so much was taken that it should be dealt out.
    pub(super) fn deal_records() -> usize {
        DEAL_RECORDS
    }

    /// Deals out what was taken; pauses what has become full.
    pub(super) fn deal(&mut self, consumer: &BaseConsumer<Consuming>) -> KafkaResult<()> {
        let mut full = Vec::new();
        for (partition, held) in &mut self.held {
            let has_more = !held.incoming.is_empty();
            if has_more && held.slot.push(held.generation, &mut held.incoming) {
                held.is_paused = true;
                full.push(*partition);
            }
        }
        self.pause(consumer, full)
    }

    fn pause(&self, consumer: &BaseConsumer<Consuming>, partitions: Vec<u32>) -> KafkaResult<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        consumer.pause(&self.list(partitions, |partition| (partition, Offset::Invalid))?)
    }

    /// Pauses what nobody reads any more.
    pub(super) fn pause_abandoned(
        &mut self,
        consumer: &BaseConsumer<Consuming>,
    ) -> KafkaResult<()> {
        let mut idle = Vec::new();
        for (partition, held) in &mut self.held {
            if held.slot.is_abandoned() && !held.is_paused {
                held.is_paused = true;
                idle.push(*partition);
            }
        }
        self.pause(consumer, idle)
    }

    /// The partition of a slot, unless it has been given back meanwhile.
    fn of(&mut self, slot: &Arc<Slot>) -> Option<&mut Held> {
        let held = self.held.get_mut(&slot.partition)?;
        Arc::ptr_eq(&held.slot, slot).then_some(held)
    }

    /// A reader has made room.
    pub(super) fn drained(
        &mut self,
        consumer: &BaseConsumer<Consuming>,
        slot: &Arc<Slot>,
    ) -> KafkaResult<()> {
        let Some(held) = self.of(slot) else { return Ok(()) };
        if !std::mem::replace(&mut held.is_paused, false) {
            return Ok(());
        }
        consumer.resume(&self.list([slot.partition], |partition| (partition, Offset::Invalid))?)
    }

    /// A reader wants to begin at an offset. Dropping `done` tells it that the partition is gone.
    pub(super) fn seek(
        &mut self,
        slot: &Arc<Slot>,
        generation: u64,
        offset: u64,
        done: oneshot::Sender<()>,
    ) {
        let Some(held) = self.of(slot) else { return };
        held.incoming.clear();
        held.generation = 0;
        held.seeking = Some(Seeking { generation, offset, since: Instant::now(), done });
    }

    pub(super) fn is_seeking(&self) -> bool {
        self.held.values().any(|held| held.seeking.is_some())
    }

    /// Positions the partitions whose readers wait for it.
    ///
    /// # Errors
    /// It has not worked for so long that it never will.
    pub(super) fn position(&mut self, consumer: &BaseConsumer<Consuming>) -> Result<(), String> {
        let place = |held: &Held| {
            let offset = held.seeking.as_ref().map_or(0, |seeking| seeking.offset);
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            (held.slot.partition, Offset::Offset(offset))
        };
        let seeking = self.held.values().filter(|held| held.seeking.is_some());
        let list = self.list(seeking, place).map_err(|error| error.to_string())?;
        if list.count() == 0 {
            return Ok(());
        }
        let list = consumer.seek_partitions(list, SEEK_WITHIN);
        let list = list.map_err(|error| error.to_string())?;
        let mut positioned = Vec::new();
        for element in list.elements() {
            let partition = u32::try_from(element.partition()).unwrap_or(u32::MAX);
            let Some(held) = self.held.get_mut(&partition) else { continue };
            let Some(seeking) = held.seeking.take() else { continue };
            if let Err(error) = element.error() {
                if seeking.since.elapsed() > SEEK_FOR {
                    return Err(format!("partition {partition} cannot be positioned: {error}"));
                }
                debug!(partition, %error, "is not positioned yet");
                held.seeking = Some(seeking);
                continue;
            }
            held.generation = seeking.generation;
            held.next = seeking.offset;
            held.is_paused = false;
            held.slot.position(seeking.generation);
            // The reader may have given up.
            let _ = seeking.done.send(());
            positioned.push(partition);
        }
        if positioned.is_empty() {
            return Ok(());
        }
        let list = self.list(positioned, |partition| (partition, Offset::Invalid));
        list.and_then(|list| consumer.resume(&list)).map_err(|error| error.to_string())
    }

    /// Tells the readers whose position lies behind the log's end.
    pub(super) fn fail_beyond(&self, bounds: &[Bounds]) {
        for (partition, held) in self.held.iter().filter(|(_, held)| held.generation > 0) {
            let end = bounds.get(*partition as usize).map(|bounds| bounds.end);
            if let Some(end) = end.filter(|end| held.next > *end) {
                held.slot.fail(held.generation, held.next, end);
            }
        }
    }

    /// Commits what readers have asked for since the last time, now and then.
    pub(super) fn commit_in_time(&mut self, consumer: &BaseConsumer<Consuming>) {
        if self.committed_at.elapsed() >= COMMIT_EVERY {
            self.committed_at = Instant::now();
            self.commit(consumer);
        }
    }

    /// Commits what readers have asked for. What fails is not told: it is for lag tools only.
    pub(super) fn commit(&mut self, consumer: &BaseConsumer<Consuming>) {
        let mut due = Vec::new();
        for (partition, held) in &mut self.held {
            let offset = held.slot.committed();
            if offset > held.committed {
                held.committed = offset;
                let offset = i64::try_from(offset).unwrap_or(i64::MAX);
                due.push((*partition, Offset::Offset(offset)));
            }
        }
        if due.is_empty() {
            return;
        }
        let list = self.list(due, |due| due);
        let committed = list.and_then(|list| consumer.commit(&list, CommitMode::Async));
        if let Err(error) = committed {
            debug!(%error, "offsets are not committed");
        }
    }
}
