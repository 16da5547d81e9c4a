//! The bytes on disk: segment headers, batch headers, records.
//!
//! Owns the format, and nothing else: no files, no locks. Everything read here may be damaged or
//! hostile, so every length is checked against the bytes there are before it is believed.
//!
//! A log is a folder of segments, `00000000000000000001.segment` and on. A segment is its header,
//! twice, and batches one after another. A batch holds records of one partition of one topic.
//! While a segment is the newest one, zeros may follow that were written ahead. All numbers are little-endian; all checksums are CRC-32C.
//!
//! **Segment header**, written twice, each copy padded with zeros to a multiple of 4,096 bytes, so
//! that one bad page leaves the other:
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | `MILLRLOG` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | number of topics |
//! | 12 | 4 | partitions of every topic |
//! | 16 | 8 | the segment's number |
//! | 24 | 8 | the log's salt, the same in all its segments |
//! | 32 | 8 | when the segment was begun, µs since 1970 |
//! | 40 | 4 | checksum of bytes 0..40 and of the table |
//! | 44 | 4 | zeros |
//! | 48 | 8 each | table: the next offset of (topic 0, partition 0), (0, 1), … (1, 0), … |
//!
//! **Batch header**, followed by the payload:
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | `MRB1` |
//! | 4 | 4 | checksum of salt, segment number, position in the segment, and bytes 8..48 |
//! | 8 | 4 | checksum of the payload |
//! | 12 | 4 | bytes of the payload |
//! | 16 | 4 | number of records; 0 only moves the next offset on, after a repair |
//! | 20 | 2 | partition |
//! | 22 | 1 | topic |
//! | 23 | 1 | format version, 1 |
//! | 24 | 8 | offset of the first record |
//! | 32 | 8 | when it was appended, µs since 1970 |
//! | 40 | 8 | position in the segment at which its sync group began |
//!
//! The salt and the position make a batch valid at one place only: neither a block left over from
//! an older file nor bytes that a customer put into a value pass for one.
//!
//! **Record**: three u32 (bytes of the key, bytes of the value, number of headers), then for each
//! header two u32 (bytes of the name, bytes of the text), the name and the text, then the key and
//! the value.

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use millrace_schema::Topic;

use crate::{Entry, LogRecord};

/// Bytes of a batch header.
pub(super) const BATCH_HEADER: usize = 48;
/// The most partitions a topic may have: the table of a segment header stays below 64 KiB.
pub(super) const PARTITIONS_MAX: u32 = 1_000;

const SEGMENT_MAGIC: &[u8; 8] = b"MILLRLOG";
const BATCH_MAGIC: &[u8; 4] = b"MRB1";
const VERSION: u8 = 1;
const SEGMENT_FIXED: usize = 48;
const PAGE: usize = 4_096;
const RECORD_FIXED: usize = 12;

/// What is wrong with the bytes at a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// No header is there.
    #[error("no header starts here")]
    Magic,
    /// The bytes end before it does.
    #[error("it is cut off")]
    Short,
    /// The header is not what was written.
    #[error("the header's checksum does not match")]
    HeaderChecksum,
    /// The payload is not what was written.
    #[error("the payload's checksum does not match")]
    PayloadChecksum,
    /// A later release wrote it.
    #[error("it was written by a later release (format version {0})")]
    Version(u16),
    /// The checksums match and it makes no sense all the same.
    #[error("{0}")]
    Senseless(&'static str),
}

/// The head of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) partitions: u32,
    pub(super) created_us: i64,
    /// The next offset of every stream when the segment was begun.
    pub(super) next: Vec<u64>,
}

impl SegmentHeader {
    /// Bytes of one copy.
    const fn copy_bytes(streams: usize) -> usize {
        (SEGMENT_FIXED + 8 * streams).next_multiple_of(PAGE)
    }

    /// Where the first batch begins.
    pub(super) const fn data_start(&self) -> usize {
        2 * Self::copy_bytes(self.next.len())
    }

    /// Both copies.
    pub(super) fn encode(&self) -> Vec<u8> {
        let topics = (self.next.len() / self.partitions.max(1) as usize) as u16;
        let mut bytes = Vec::with_capacity(self.data_start());
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&u16::from(VERSION).to_le_bytes());
        bytes.extend_from_slice(&topics.to_le_bytes());
        bytes.extend_from_slice(&self.partitions.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.created_us.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        for next in &self.next {
            bytes.extend_from_slice(&next.to_le_bytes());
        }
        let crc = segment_crc(&bytes);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes.resize(Self::copy_bytes(self.next.len()), 0);
        bytes.extend_from_within(..);
        bytes
    }

    /// Reads one copy at the start of `bytes`.
    fn decode_copy(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.get(..8) != Some(SEGMENT_MAGIC) {
            return Err(Fault::Magic);
        }
        let version = u16_at(bytes, 8)?;
        if version != u16::from(VERSION) {
            return Err(Fault::Version(version));
        }
        let (topics, partitions) = (u16_at(bytes, 10)?, u32_at(bytes, 12)?);
        if partitions == 0 || partitions > PARTITIONS_MAX || usize::from(topics) > 256 {
            return Err(Fault::Senseless("the number of topics or partitions makes no sense"));
        }
        let streams = usize::from(topics) * partitions as usize;
        let whole = bytes.get(..SEGMENT_FIXED + 8 * streams).ok_or(Fault::Short)?;
        if segment_crc(whole) != u32_at(bytes, 40)? {
            return Err(Fault::HeaderChecksum);
        }
        if usize::from(topics) > Topic::ALL.len() {
            return Err(Fault::Version(version));
        }
        let mut next = Vec::with_capacity(Topic::ALL.len() * partitions as usize);
        for stream in 0..streams {
            next.push(u64_at(whole, SEGMENT_FIXED + 8 * stream)?);
        }
        let (number, salt) = (u64_at(bytes, 16)?, u64_at(bytes, 24)?);
        let created_us = u64_at(bytes, 32)?.cast_signed();
        Ok(Self { number, salt, partitions, created_us, next })
    }

    /// Reads the header from the start of a segment: the first copy that is whole, and what is
    /// wrong with the other.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, Option<Fault>), Fault> {
        let first = Self::decode_copy(bytes);
        let fault = match &first {
            Ok(header) => {
                let second = bytes.get(header.data_start() / 2..header.data_start());
                if bytes.get(..header.data_start() / 2) == second {
                    return Ok((header.clone(), None));
                }
                return Ok((header.clone(), Some(Fault::HeaderChecksum)));
            }
            Err(fault) => fault.clone(),
        };
        // How long a copy is stands in the copy that cannot be read: the second is looked for.
        for at in (PAGE..=64 * 1024).step_by(PAGE) {
            let Some(bytes) = bytes.get(at..) else { break };
            match Self::decode_copy(bytes) {
                Ok(header) if header.data_start() == 2 * at => return Ok((header, Some(fault))),
                _ => {}
            }
        }
        Err(fault)
    }
}

fn segment_crc(bytes: &[u8]) -> u32 {
    let (fixed, table) = bytes.split_at(SEGMENT_FIXED.min(bytes.len()));
    crc32c_append(crc32c(fixed.get(..40).unwrap_or(fixed)), table)
}

/// Where a batch lies: part of its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) salt: u64,
    pub(super) segment: u64,
    pub(super) position: u64,
}

impl Place {
    fn crc(self, header: &[u8]) -> u32 {
        let mut place = [0; 24];
        place[..8].copy_from_slice(&self.salt.to_le_bytes());
        place[8..16].copy_from_slice(&self.segment.to_le_bytes());
        place[16..].copy_from_slice(&self.position.to_le_bytes());
        crc32c_append(crc32c(&place), header)
    }
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) payload_crc: u32,
    pub(super) payload_len: u32,
    pub(super) count: u32,
    pub(super) partition: u16,
    pub(super) topic: u8,
    pub(super) base: u64,
    pub(super) append_us: i64,
    pub(super) group_start: u64,
}

impl BatchHeader {
    /// Bytes of header and payload.
    pub(super) const fn total_len(&self) -> usize {
        BATCH_HEADER + self.payload_len as usize
    }

    /// The offset after the last record.
    pub(super) const fn end(&self) -> u64 {
        self.base.saturating_add(self.count as u64)
    }

    /// The number of (topic, partition) in the segment header's table.
    pub(super) const fn stream(&self, partitions: u32) -> usize {
        self.topic as usize * partitions as usize + self.partition as usize
    }

    pub(super) fn encode(&self, place: Place) -> [u8; BATCH_HEADER] {
        let mut bytes = [0; BATCH_HEADER];
        bytes[..4].copy_from_slice(BATCH_MAGIC);
        bytes[8..12].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..22].copy_from_slice(&self.partition.to_le_bytes());
        bytes[22] = self.topic;
        bytes[23] = VERSION;
        bytes[24..32].copy_from_slice(&self.base.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.append_us.to_le_bytes());
        bytes[40..].copy_from_slice(&self.group_start.to_le_bytes());
        let crc = place.crc(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`; the payload is not looked at.
    pub(super) fn decode(bytes: &[u8], place: Place, partitions: u32) -> Result<Self, Fault> {
        if !bytes.starts_with(BATCH_MAGIC) {
            return Err(Fault::Magic);
        }
        let bytes: &[u8; BATCH_HEADER] = bytes.first_chunk().ok_or(Fault::Short)?;
        if place.crc(&bytes[8..]) != u32_at(bytes, 4)? {
            return Err(Fault::HeaderChecksum);
        }
        if bytes[23] != VERSION {
            return Err(Fault::Version(u16::from(bytes[23])));
        }
        let header = Self {
            payload_crc: u32_at(bytes, 8)?,
            payload_len: u32_at(bytes, 12)?,
            count: u32_at(bytes, 16)?,
            partition: u16_at(bytes, 20)?,
            topic: bytes[22],
            base: u64_at(bytes, 24)?,
            append_us: u64_at(bytes, 32)?.cast_signed(),
            group_start: u64_at(bytes, 40)?,
        };
        if Topic::from_number(header.topic).is_none() || u32::from(header.partition) >= partitions {
            return Err(Fault::Senseless("its topic or partition does not exist"));
        }
        if header.group_start > place.position {
            return Err(Fault::Senseless("its sync group begins after it"));
        }
        Ok(header)
    }

    /// Checks the payload's checksum.
    pub(super) fn check(&self, payload: &[u8]) -> Result<(), Fault> {
        if crc32c(payload) == self.payload_crc { Ok(()) } else { Err(Fault::PayloadChecksum) }
    }

    /// Checks that the payload is the records that the header says.
    pub(super) fn check_records(&self, payload: &[u8]) -> Result<(), Fault> {
        let mut at = 0;
        for _ in 0..self.count {
            at = RecordParts::at(payload, at)?.end;
        }
        if at == payload.len() { Ok(()) } else { Err(Fault::Senseless("more than its records")) }
    }
}

/// Where the next batch header may begin, at or after `from`.
pub(super) fn find_batch(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(BATCH_MAGIC.len()).position(|w| w == BATCH_MAGIC).map(|at| from + at)
}

/// Bytes of a record as it is written.
pub(super) fn record_len(entry: &Entry<'_>) -> usize {
    let headers: usize = entry.headers.iter().map(|(n, t)| 8 + n.len() + t.len()).sum();
    RECORD_FIXED + headers + entry.key.len() + entry.value.len()
}

/// Appends a record. Its lengths fit: a request is not longer than the queue.
pub(super) fn write_record(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let mut fixed = [0; RECORD_FIXED];
    fixed[..4].copy_from_slice(&(entry.key.len() as u32).to_le_bytes());
    fixed[4..8].copy_from_slice(&(entry.value.len() as u32).to_le_bytes());
    fixed[8..].copy_from_slice(&(entry.headers.len() as u32).to_le_bytes());
    out.extend_from_slice(&fixed);
    for (name, text) in entry.headers {
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(entry.key);
    out.extend_from_slice(entry.value);
}

/// The records of one payload, one after another, sharing its memory.
#[derive(Debug)]
pub(super) struct Records {
    payload: Bytes,
    at: usize,
    offset: u64,
    left: u32,
}

impl Records {
    pub(super) fn new(payload: Bytes, base: u64, count: u32) -> Self {
        Self { payload, at: 0, offset: base, left: count }
    }

    /// Passes over the records below `offset`.
    pub(super) fn skip_to(&mut self, offset: u64) -> Result<(), Fault> {
        while self.left > 0 && self.offset < offset {
            let parts = RecordParts::at(&self.payload, self.at)?;
            self.pass(&parts);
        }
        Ok(())
    }

    fn pass(&mut self, parts: &RecordParts) {
        self.at = parts.end;
        self.offset = self.offset.saturating_add(1);
        self.left -= 1;
    }

    fn take(&mut self) -> Result<LogRecord, Fault> {
        let parts = RecordParts::at(&self.payload, self.at)?;
        let record = LogRecord {
            offset: self.offset,
            key: self.payload.slice(parts.key..parts.value),
            headers: parts.headers(&self.payload)?,
            value: self.payload.slice(parts.value..parts.end),
        };
        self.pass(&parts);
        Ok(record)
    }
}

impl Iterator for Records {
    type Item = Result<LogRecord, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let record = self.take();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

/// Where the parts of a record begin in its payload, and where it ends.
struct RecordParts {
    headers: usize,
    header_count: u32,
    key: usize,
    value: usize,
    end: usize,
}

impl RecordParts {
    fn at(payload: &[u8], at: usize) -> Result<Self, Fault> {
        let key_len = u32_at(payload, at)? as usize;
        let value_len = u32_at(payload, at + 4)? as usize;
        let header_count = u32_at(payload, at + 8)?;
        let headers = at + RECORD_FIXED;
        let mut key = headers;
        for _ in 0..header_count {
            let (name_len, text_len) = (u32_at(payload, key)?, u32_at(payload, key + 4)?);
            key += 8 + name_len as usize + text_len as usize;
        }
        let value = key + key_len;
        let end = value + value_len;
        if end > payload.len() {
            return Err(Fault::Short);
        }
        Ok(Self { headers, header_count, key, value, end })
    }

    fn headers(&self, payload: &[u8]) -> Result<Vec<(String, String)>, Fault> {
        let mut at = self.headers;
        let mut headers = Vec::new();
        for _ in 0..self.header_count {
            let name_len = u32_at(payload, at)? as usize;
            let text_len = u32_at(payload, at + 4)? as usize;
            let name = text_of(payload, at + 8, name_len)?;
            let text = text_of(payload, at + 8 + name_len, text_len)?;
            headers.push((name, text));
            at += 8 + name_len + text_len;
        }
        Ok(headers)
    }
}

fn text_of(bytes: &[u8], at: usize, len: usize) -> Result<String, Fault> {
    let text = bytes.get(at..at + len).ok_or(Fault::Short)?;
    let text = std::str::from_utf8(text);
    text.map(str::to_owned).map_err(|_| Fault::Senseless("a record's header is not text"))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Fault> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Fault::Short)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Fault> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Fault> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Fault> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> SegmentHeader {
        let next = (0..8).collect();
        SegmentHeader { number: 7, salt: 8, partitions: 1, created_us: -9, next }
    }

    #[test]
    fn a_segment_header_survives_and_either_copy_will_do() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), header().data_start());
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header(), None)));
        for page in [0, PAGE] {
            let mut bytes = bytes.clone();
            bytes[page..page + PAGE].fill(0xff);
            let (decoded, fault) = SegmentHeader::decode(&bytes).unwrap();
            assert_eq!(decoded, header());
            assert!(fault.is_some());
        }
    }

    #[test]
    fn a_batch_is_valid_at_its_own_place_only() {
        let batch = BatchHeader {
            payload_crc: 1,
            payload_len: 2,
            count: 3,
            partition: 0,
            topic: 4,
            base: 5,
            append_us: -6,
            group_start: 7,
        };
        let place = Place { salt: 1, segment: 2, position: 10 };
        let bytes = batch.encode(place);
        assert_eq!(BatchHeader::decode(&bytes, place, 1), Ok(batch));
        let elsewhere = [
            Place { salt: 2, ..place },
            Place { segment: 3, ..place },
            Place { position: 11, ..place },
        ];
        for place in elsewhere {
            assert_eq!(BatchHeader::decode(&bytes, place, 1), Err(Fault::HeaderChecksum));
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_read_without_a_panic(
            words in prop::collection::vec(prop_oneof![4 => 0..40_u32, 1 => any::<u32>()], 0..60),
            count: u32,
        ) {
            let payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let header = BatchHeader {
                payload_crc: 0,
                payload_len: payload.len() as u32,
                count,
                partition: 0,
                topic: 0,
                base: u64::MAX - 2,
                append_us: 0,
                group_start: 0,
            };
            let whole = header.check_records(&payload).is_ok();
            let mut records = Records::new(Bytes::from(payload), header.base, count);
            let read = records.by_ref().filter(Result::is_ok).count();
            // Only text can be wrong in what is whole.
            prop_assert!(!whole || records.left == 0);
            prop_assert!(read <= count as usize);
        }
    }
}
