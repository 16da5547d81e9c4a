//! Lays the records of many requests out as one group of batches.

use std::mem;

use bytes::Bytes;
use crc32c::crc32c;

use super::format::{BATCH_HEADER, BatchHeader, Place, SegmentHeader, write_record};
use super::queue::Request;
use super::view::{Group, Placed};

/// A batch of this size is followed by another one of the same stream, so that a reader from
/// disk never checks much more than it needs.
const BATCH_BYTES: usize = 256 * 1024;

/// Records of one stream that become a batch; the memory is used again.
#[derive(Debug, Default)]
struct Bucket {
    payload: Vec<u8>,
    base: u64,
    count: u32,
    touched: bool,
}

/// The buckets of all streams.
#[derive(Debug)]
pub(super) struct Buckets(Vec<Bucket>);

impl Buckets {
    pub(super) fn new(streams: usize) -> Self {
        Self((0..streams).map(|_| Bucket::default()).collect())
    }

    /// The group of `requests`, and the offsets of each. `next` are the next offsets, `start` is
    /// where the group begins in the segment of `header`.
    pub(super) fn lay_out(
        &mut self,
        requests: &[Request],
        next: &[u64],
        header: &SegmentHeader,
        start: u64,
        append_us: i64,
    ) -> (Group, Vec<Vec<u64>>) {
        let bytes: usize = requests.iter().map(|request| request.bytes).sum();
        let records: usize = requests.iter().map(|request| request.batch.len()).sum();
        // Room that is too small would double, and be kept so as long as readers may ask for it.
        let batches = bytes / BATCH_BYTES + records.min(self.0.len());
        let room = Vec::with_capacity(bytes + BATCH_HEADER * batches);
        let mut layout = Layout { bytes: room, batches: Vec::new(), header, start, append_us };
        let mut touched = Vec::new();
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let mut offsets = Vec::with_capacity(request.batch.len());
            for entry in request.batch.entries() {
                let stream = usize::from(entry.topic.number()) * header.partitions as usize
                    + entry.partition as usize;
                let Some(bucket) = self.0.get_mut(stream) else { continue };
                if !mem::replace(&mut bucket.touched, true) {
                    touched.push(stream);
                    bucket.base = next.get(stream).copied().unwrap_or(0);
                }
                offsets.push(bucket.base + u64::from(bucket.count));
                write_record(&mut bucket.payload, &entry);
                bucket.count += 1;
                if bucket.payload.len() >= BATCH_BYTES {
                    layout.add(stream, bucket);
                }
            }
            answers.push(offsets);
        }
        for stream in touched {
            let Some(bucket) = self.0.get_mut(stream) else { continue };
            bucket.touched = false;
            layout.add(stream, bucket);
            // One long record must not be paid for ever after.
            bucket.payload.shrink_to(2 * BATCH_BYTES);
        }
        (layout.finish(), answers)
    }
}

struct Layout<'h> {
    bytes: Vec<u8>,
    batches: Vec<Placed>,
    header: &'h SegmentHeader,
    start: u64,
    append_us: i64,
}

impl Layout<'_> {
    /// Adds what is in a bucket as one batch, and empties it.
    fn add(&mut self, stream: usize, bucket: &mut Bucket) {
        if bucket.count == 0 {
            return;
        }
        let partitions = self.header.partitions as usize;
        let at = self.bytes.len();
        let header = BatchHeader {
            payload_crc: crc32c(&bucket.payload),
            payload_len: bucket.payload.len() as u32,
            count: bucket.count,
            partition: (stream % partitions) as u16,
            topic: (stream / partitions) as u8,
            base: bucket.base,
            append_us: self.append_us,
            group_start: self.start,
        };
        let position = self.start + at as u64;
        let place = Place { salt: self.header.salt, segment: self.header.number, position };
        self.bytes.extend_from_slice(&header.encode(place));
        self.bytes.extend_from_slice(&bucket.payload);
        self.batches.push(Placed { at, header });
        bucket.base = header.end();
        bucket.count = 0;
        bucket.payload.clear();
    }

    fn finish(self) -> Group {
        Group { bytes: Bytes::from(self.bytes), start: self.start, batches: self.batches }
    }
}
