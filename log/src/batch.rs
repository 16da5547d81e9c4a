//! The records of one request, in one buffer.

use std::ops::Range;

use millrace_schema::Topic;
use millrace_schema::topic::partition_of;

/// The records of one request, in order. Keys and values lie in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    topic: Topic,
    partition: u32,
    key: Range<usize>,
    value: Range<usize>,
    headers: Vec<(String, String)>,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'b> {
    /// Where it goes.
    pub topic: Topic,
    /// The partition of its key.
    pub partition: u32,
    /// The key.
    pub key: &'b [u8],
    /// The value.
    pub value: &'b [u8],
    /// Names and values; mostly none.
    pub headers: &'b [(String, String)],
}

impl Batch {
    /// An empty batch with room for `bytes` of keys and values.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), slots: Vec::with_capacity(records) }
    }

    /// Adds a record whose key and value are written by the two functions, which only append.
    pub fn push(
        &mut self,
        topic: Topic,
        partitions: u32,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        self.push_with_headers(topic, partitions, Vec::new(), key, value);
    }

    /// As [`Batch::push`], with headers.
    pub fn push_with_headers(
        &mut self,
        topic: Topic,
        partitions: u32,
        headers: Vec<(String, String)>,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        key(&mut self.bytes);
        let middle = self.bytes.len();
        value(&mut self.bytes);
        let end = self.bytes.len();
        let partition = partition_of(&self.bytes[start..middle], partitions);
        self.slots.push(Slot { topic, partition, key: start..middle, value: middle..end, headers });
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records, in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.slots.iter().map(|slot| Entry {
            topic: slot.topic,
            partition: slot.partition,
            key: &self.bytes[slot.key.clone()],
            value: &self.bytes[slot.value.clone()],
            headers: &slot.headers,
        })
    }
}
