//! Cuts damaged batches out of a log, keeping their bytes aside, and says what is lost.
//!
//! A damaged segment is written anew from its whole batches, each a sync group of its own, and
//! put in the old one's place only when it is synced.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use millrace_schema::Topic;
use millrace_schema::time::wall_clock_us;

use super::disk::{self, io};
use super::format::{BatchHeader, Fault, Place, SegmentHeader};
use super::report::{Cut, DamageReport, Lost, Repair};
use super::scan::{Damage, Piece, Pieces};
use crate::LogError;

/// The most segment files that may be missing between two that are there.
const MISSING_MAX: u64 = 1_000;

/// Repairs the log in `dir`, which no process may be using. Does nothing to what is whole.
///
/// # Errors
/// The folder is in use, no segment's header can be read, or the disk fails.
pub fn repair(dir: &Path) -> Result<Repair, LogError> {
    let _lock = disk::lock(dir)?;
    let numbers = disk::segments(dir)?;
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return Ok(Repair::default());
    };
    if last - first >= numbers.len() as u64 + MISSING_MAX {
        let what = format!("more than {MISSING_MAX} segments are missing in {}", dir.display());
        return Err(LogError::Invalid(what));
    }
    let headers = Headers::read(dir, &numbers)?;
    let mut repairer =
        Repairer { dir, first: *first, next: Vec::new(), headers, report: Repair::default() };
    for number in *first..=*last {
        repairer.segment(number, number == *last)?;
    }
    Ok(repairer.report)
}

/// The headers of the segments that can be read.
struct Headers {
    /// One of them, for what they have in common.
    any: SegmentHeader,
    all: Vec<SegmentHeader>,
}

impl Headers {
    fn read(dir: &Path, numbers: &[u64]) -> Result<Self, LogError> {
        let mut all = Vec::with_capacity(numbers.len());
        let mut bytes = Vec::new();
        for number in numbers {
            disk::read_segment(dir, *number, &mut bytes)?;
            match SegmentHeader::decode(&bytes) {
                Ok((header, _)) if header.number == *number => all.push(header),
                Err(fault @ Fault::Version(_)) => {
                    let path = disk::segment_path(dir, *number);
                    return Err(LogError::Invalid(format!("{}: {fault}", path.display())));
                }
                Ok(_) | Err(_) => {}
            }
        }
        let Some(any) = all.last().cloned() else {
            return Err(LogError::Invalid(format!(
                "no segment in {} has a header that can be read, so nothing in them can be \
                 verified; move them away to begin an empty log",
                dir.display()
            )));
        };
        Ok(Self { any, all })
    }

    /// The next offsets where a later segment begins.
    fn after(&self, number: u64) -> Option<&[u64]> {
        let header = self.all.iter().find(|header| header.number > number);
        header.map(|header| header.next.as_slice())
    }

    /// The header of a segment, if it can be read.
    fn of(&self, number: u64) -> Option<&SegmentHeader> {
        self.all.iter().find(|header| header.number == number)
    }
}

struct Repairer<'d> {
    dir: &'d Path,
    headers: Headers,
    /// The number of the oldest segment.
    first: u64,
    /// The next offsets, as far as the log has been gone through.
    next: Vec<u64>,
    report: Repair,
}

/// What of a segment stays.
#[derive(Default)]
struct Kept<'b> {
    batches: Vec<(BatchHeader, &'b [u8])>,
    damaged: Vec<Damage>,
    lost: Vec<(usize, u64, u64)>,
    last_group: u64,
}

impl Repairer<'_> {
    fn segment(&mut self, number: u64, is_last: bool) -> Result<(), LogError> {
        let path = disk::segment_path(self.dir, number);
        let mut bytes = Vec::new();
        let is_there = path.exists();
        if is_there {
            disk::read_segment(self.dir, number, &mut bytes)?;
        }
        let header = self.header_of(number, &bytes);
        let header_fault = match SegmentHeader::decode(&bytes) {
            Ok((found, fault)) if found.number == number => fault,
            Ok(_) => Some(Fault::Senseless("it is the header of another segment")),
            Err(fault) => Some(fault),
        };
        self.next.clone_from(&header.next);
        let mut kept = self.sift(&bytes, &header);
        let torn_after = if is_last { kept.last_group } else { u64::MAX };
        if header_fault.is_none() && kept.damaged.is_empty() {
            return Ok(());
        }
        self.close_gaps(&header, &mut kept, torn_after);
        self.keep_aside(number, &bytes, header_fault, &kept.damaged, torn_after, is_there)?;
        self.report.lost.extend(kept.lost.iter().filter_map(|(stream, first, end)| {
            let partitions = header.partitions as usize;
            let topic = *Topic::ALL.get(stream / partitions)?;
            let partition = (stream % partitions) as u32;
            Some(Lost { topic, partition, first: *first, last: end - 1 })
        }));
        disk::prepare(self.dir, number, &rewritten(&header, &kept.batches))?;
        disk::install(self.dir, number)
    }

    /// The header of a segment; if it cannot be read, one that goes on where the segment before
    /// ended, or begins with what is there.
    fn header_of(&self, number: u64, bytes: &[u8]) -> SegmentHeader {
        if let Some(header) = self.headers.of(number) {
            return header.clone();
        }
        let next = if number == self.first { &self.headers.any.next } else { &self.next };
        let (created_us, next) = (wall_clock_us(), next.clone());
        let mut header = SegmentHeader { number, created_us, next, ..self.headers.any.clone() };
        if number == self.first {
            header.next = self.first_offsets(bytes, &header);
        }
        header
    }

    fn first_offsets(&self, bytes: &[u8], header: &SegmentHeader) -> Vec<u64> {
        let mut first = vec![None; header.next.len()];
        for piece in Pieces::new(bytes, header) {
            let Piece::Batch { header: batch, .. } = piece else { continue };
            if let Some(first) = first.get_mut(batch.stream(header.partitions)) {
                first.get_or_insert(batch.base);
            }
        }
        let after = self.headers.after(header.number).unwrap_or_default();
        let after = after.iter().copied().chain(std::iter::repeat(0));
        first.into_iter().zip(after).map(|(first, after)| first.unwrap_or(after)).collect()
    }

    /// Sorts the whole batches from the damage, and finds the offsets missing between them.
    fn sift<'b>(&mut self, bytes: &'b [u8], header: &SegmentHeader) -> Kept<'b> {
        let mut kept = Kept::default();
        for piece in Pieces::new(bytes, header) {
            let (position, batch, payload) = match piece {
                Piece::Batch { position, header, payload } => (position, header, payload),
                Piece::Damage(damage) => {
                    kept.damaged.push(damage);
                    continue;
                }
            };
            let stream = batch.stream(header.partitions);
            let Some(next) = self.next.get_mut(stream) else { continue };
            if batch.base < *next {
                let (from, to) = (position, position + batch.total_len() as u64);
                let fault = Fault::Senseless("it repeats offsets");
                kept.damaged.push(Damage { from, to, fault, batch: None });
                continue;
            }
            if batch.base > *next && !kept.damaged.is_empty() {
                kept.lost.push((stream, *next, batch.base));
            }
            *next = batch.end();
            kept.last_group = kept.last_group.max(batch.group_start);
            kept.batches.push((batch, payload));
        }
        kept
    }

    /// Moves the next offsets behind what is known to be lost at the end of the segment, so that
    /// no offset is given out twice.
    fn close_gaps(&mut self, header: &SegmentHeader, kept: &mut Kept<'_>, torn_after: u64) {
        let mut ends = self.next.clone();
        if let Some(after) = self.headers.after(header.number) {
            ends.iter_mut().zip(after).for_each(|(end, after)| *end = (*end).max(*after));
        }
        for damage in kept.damaged.iter().filter(|damage| damage.from < torn_after) {
            let Some(batch) = &damage.batch else { continue };
            if let Some(end) = ends.get_mut(batch.stream(header.partitions)) {
                *end = (*end).max(batch.end());
            }
        }
        for (stream, end) in ends.into_iter().enumerate() {
            let Some(next) = self.next.get_mut(stream) else { continue };
            if end > *next {
                kept.lost.push((stream, *next, end));
                kept.batches.push((marker(header, stream, end), &[]));
                *next = end;
            }
        }
    }

    fn keep_aside(
        &mut self,
        segment: u64,
        bytes: &[u8],
        header_fault: Option<Fault>,
        damaged: &[Damage],
        last_group: u64,
        is_there: bool,
    ) -> Result<(), LogError> {
        if let Some(fault) = header_fault {
            let to = self.headers.any.data_start().min(bytes.len()) as u64;
            let reason = if is_there { fault.to_string() } else { "it is missing".to_owned() };
            let damage = DamageReport { from: 0, to, reason, torn: false };
            self.cut(segment, bytes, damage)?;
        }
        for damage in damaged {
            self.cut(segment, bytes, damage.report(last_group))?;
        }
        disk::sync_folder(self.dir)
    }

    fn cut(&mut self, segment: u64, bytes: &[u8], damage: DamageReport) -> Result<(), LogError> {
        let damaged = bytes.get(damage.from as usize..damage.to as usize).unwrap_or_default();
        let mut kept = None;
        if !damaged.is_empty() {
            kept = Some(self.write_aside(segment, damage.from, damaged)?);
        }
        self.report.cut.push(Cut { segment, damage, kept });
        Ok(())
    }

    fn write_aside(&self, segment: u64, from: u64, bytes: &[u8]) -> Result<PathBuf, LogError> {
        let name = format!("{segment:020}-{from}-{}.damaged", wall_clock_us());
        let path = self.dir.join(name);
        let mut file = fs::File::create_new(&path).map_err(io("create", &path))?;
        file.write_all(bytes).map_err(io("write", &path))?;
        file.sync_all().map_err(io("sync", &path))?;
        Ok(path)
    }
}

/// A batch without records that moves the next offset of a stream on to `end`.
pub(super) fn marker(header: &SegmentHeader, stream: usize, end: u64) -> BatchHeader {
    let partitions = header.partitions as usize;
    BatchHeader {
        payload_crc: 0,
        payload_len: 0,
        count: 0,
        partition: (stream % partitions) as u16,
        topic: (stream / partitions) as u8,
        base: end,
        append_us: wall_clock_us(),
        group_start: 0,
    }
}

fn rewritten(header: &SegmentHeader, batches: &[(BatchHeader, &[u8])]) -> Vec<u8> {
    let mut bytes = header.encode();
    for (batch, payload) in batches {
        let position = bytes.len() as u64;
        let place = Place { salt: header.salt, segment: header.number, position };
        let batch = BatchHeader { group_start: position, ..*batch };
        bytes.extend_from_slice(&batch.encode(place));
        bytes.extend_from_slice(payload);
    }
    bytes
}
