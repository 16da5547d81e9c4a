//! What readers may see: the segments with their sparse indexes, and the newest groups in memory.
//!
//! Owns the map from (stream, offset) to bytes. A stream is one partition of one topic, by its
//! number in the segment header's table. Only what is synced is in here. No I/O.

use std::collections::VecDeque;

use bytes::Bytes;

use super::format::{BatchHeader, SegmentHeader};

/// Every batch of a stream begins less than this many bytes behind an index entry of it.
const INDEX_BYTES: u64 = 1024 * 1024;

/// One segment, as readers know it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    /// Bytes that are synced.
    pub(super) len: u64,
    /// When the newest record was appended, µs since 1970.
    pub(super) newest_us: i64,
    /// Where the last sync group begins.
    pub(super) last_group: u64,
    /// Per stream, the batches from which to scan on.
    index: Vec<Vec<IndexEntry>>,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    base: u64,
    position: u64,
}

impl Segment {
    pub(super) fn new(header: SegmentHeader, len: u64) -> Self {
        let index = vec![Vec::new(); header.next.len()];
        let newest_us = header.created_us;
        Self { header, len, newest_us, last_group: len, index }
    }

    /// Takes a batch into the index.
    pub(super) fn note(&mut self, position: u64, batch: &BatchHeader) {
        self.newest_us = self.newest_us.max(batch.append_us);
        self.last_group = batch.group_start;
        let Some(index) = self.index.get_mut(batch.stream(self.header.partitions)) else { return };
        let far = index.last().is_none_or(|last| position - last.position >= INDEX_BYTES);
        if far && batch.count > 0 {
            index.push(IndexEntry { base: batch.base, position });
        }
    }

    /// The bytes in which the batch of `offset` begins, or the next one behind it.
    fn window(&self, stream: usize, offset: u64, resume: Resume) -> Option<Window> {
        let index = self.index.get(stream)?;
        let resume = if resume.segment == self.header.number { resume.position } else { 0 };
        let entry = index.partition_point(|entry| entry.base <= offset).saturating_sub(1);
        let (from, end) = index.get(entry..)?.iter().find_map(|entry| {
            let end = entry.position + INDEX_BYTES;
            (resume < end).then_some((entry.position.max(resume), end))
        })?;
        (from < self.len).then(|| Window {
            segment: self.header.number,
            salt: self.header.salt,
            partitions: self.header.partitions,
            stream,
            from,
            end: end.min(self.len),
            len: self.len,
        })
    }
}

/// Where a reader stopped: batches of its stream before it are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resume {
    pub(super) segment: u64,
    pub(super) position: u64,
}

/// Bytes of a segment to scan for the batches of one stream.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) segment: u64,
    pub(super) salt: u64,
    pub(super) partitions: u32,
    pub(super) stream: usize,
    pub(super) from: u64,
    /// Batches that begin before this are meant.
    pub(super) end: u64,
    /// Bytes of the segment that are synced.
    pub(super) len: u64,
}

/// A batch in memory.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) base: u64,
    pub(super) count: u32,
    pub(super) payload: Bytes,
}

impl Held {
    const fn end(&self) -> u64 {
        self.base + self.count as u64
    }
}

/// Where to read on.
#[derive(Debug)]
pub(super) enum Found {
    /// In memory.
    Memory(Vec<Held>),
    /// In a file.
    Disk(Window),
    /// Nothing is there yet.
    Nothing,
}

/// A synced group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) bytes: Bytes,
    /// Where it begins in its segment.
    pub(super) start: u64,
    pub(super) batches: Vec<Placed>,
}

/// A batch of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Where its header begins in the group.
    pub(super) at: usize,
    pub(super) header: BatchHeader,
}

/// All of it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) segments: VecDeque<Segment>,
    tails: Vec<VecDeque<Held>>,
    /// Bytes of each group in memory, and the streams it has batches of.
    groups: VecDeque<(usize, Vec<usize>)>,
    tail_bytes: usize,
    tail_limit: usize,
}

impl View {
    pub(super) fn new(segments: VecDeque<Segment>, streams: usize, tail_limit: usize) -> Self {
        let tails = vec![VecDeque::new(); streams];
        Self { segments, tails, groups: VecDeque::new(), tail_bytes: 0, tail_limit }
    }

    /// Takes in a group that is synced in the newest segment.
    pub(super) fn publish(&mut self, group: &Group) {
        let Some(segment) = self.segments.back_mut() else { return };
        segment.len = group.start + group.bytes.len() as u64;
        let mut streams = Vec::with_capacity(group.batches.len());
        for batch in &group.batches {
            segment.note(group.start + batch.at as u64, &batch.header);
            let stream = batch.header.stream(segment.header.partitions);
            let end = batch.at + batch.header.total_len();
            let payload = group.bytes.slice(end - batch.header.payload_len as usize..end);
            let held = Held { base: batch.header.base, count: batch.header.count, payload };
            if let Some(tail) = self.tails.get_mut(stream) {
                tail.push_back(held);
                streams.push(stream);
            }
        }
        self.tail_bytes += group.bytes.len();
        self.groups.push_back((group.bytes.len(), streams));
        self.evict();
    }

    fn evict(&mut self) {
        while self.tail_bytes > self.tail_limit {
            let Some((bytes, streams)) = self.groups.pop_front() else { return };
            self.tail_bytes -= bytes;
            for stream in streams {
                self.tails.get_mut(stream).and_then(VecDeque::pop_front);
            }
        }
    }

    /// Finds the records of a stream from `offset` on.
    pub(super) fn find(
        &self,
        stream: usize,
        offset: u64,
        resume: Resume,
        max_bytes: usize,
    ) -> Found {
        let Some(tail) = self.tails.get(stream) else { return Found::Nothing };
        if tail.front().is_some_and(|first| first.base <= offset) {
            return in_memory(tail, offset, max_bytes);
        }
        let next_of = |segment: &Segment| segment.header.next.get(stream).copied().unwrap_or(0);
        let after = self.segments.partition_point(|segment| next_of(segment) <= offset);
        let from = after.saturating_sub(1);
        let mut segments = self.segments.range(from..);
        match segments.find_map(|segment| segment.window(stream, offset, resume)) {
            Some(window) => Found::Disk(window),
            None => in_memory(tail, offset, max_bytes),
        }
    }

    /// The first offset of a stream that is held.
    pub(super) fn start(&self, stream: usize) -> u64 {
        let first = self.segments.front().and_then(|segment| segment.header.next.get(stream));
        first.copied().unwrap_or(0)
    }

    /// Bytes of all segments.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }
}

fn in_memory(tail: &VecDeque<Held>, offset: u64, max_bytes: usize) -> Found {
    let first = tail.partition_point(|held| held.end() <= offset);
    let mut bytes = 0;
    let mut found = Vec::new();
    for held in tail.range(first..) {
        if bytes >= max_bytes && !found.is_empty() {
            break;
        }
        bytes += held.payload.len();
        found.push(held.clone());
    }
    if found.is_empty() { Found::Nothing } else { Found::Memory(found) }
}
