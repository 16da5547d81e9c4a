//! Walks over the bytes of a segment: what is whole, what is damaged, and what that means.
//!
//! Owns the recovery rule. Knows no files. Takes any bytes: it does not panic and allocates
//! nothing that grows with them.

use super::format::{BATCH_HEADER, BatchHeader, Fault, Place, SegmentHeader, find_batch};

/// One piece of a segment.
#[derive(Debug)]
pub(super) enum Piece<'b> {
    /// A batch whose checksums match.
    Batch { position: u64, header: BatchHeader, payload: &'b [u8] },
    /// Bytes up to the next whole batch, or to the end.
    Damage(Damage),
}

/// Bytes of a segment that are no batch.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) fault: Fault,
    /// The batch that began there, if its own header is whole.
    pub(super) batch: Option<BatchHeader>,
}

/// The pieces of a segment, in order; together they cover everything behind its header but the
/// zeros that were written ahead at its end.
#[derive(Debug)]
pub(super) struct Pieces<'b> {
    bytes: &'b [u8],
    at: usize,
    salt: u64,
    segment: u64,
    partitions: u32,
    data_start: usize,
}

impl<'b> Pieces<'b> {
    pub(super) fn new(bytes: &'b [u8], header: &SegmentHeader) -> Self {
        let (salt, segment, partitions) = (header.salt, header.number, header.partitions);
        let data_start = header.data_start();
        Self { bytes, at: data_start, salt, segment, partitions, data_start }
    }

    fn header_at(&self, at: usize) -> Result<BatchHeader, Fault> {
        let place = Place { salt: self.salt, segment: self.segment, position: at as u64 };
        let bytes = self.bytes.get(at..).unwrap_or_default();
        let header = BatchHeader::decode(bytes, place, self.partitions)?;
        if header.group_start < self.data_start as u64 {
            return Err(Fault::Senseless("its sync group begins within the segment's header"));
        }
        Ok(header)
    }

    fn batch_at(&self, at: usize) -> Result<(BatchHeader, &'b [u8]), Fault> {
        let header = self.header_at(at)?;
        let payload = self.bytes.get(at + BATCH_HEADER..at + header.total_len());
        let payload = payload.ok_or(Fault::Short)?;
        header.check(payload)?;
        header.check_records(payload)?;
        Ok((header, payload))
    }

    /// Where the next whole batch begins, at or after `from`; the end if there is none.
    fn next_whole(&self, mut from: usize) -> usize {
        while let Some(found) = find_batch(self.bytes, from) {
            if self.batch_at(found).is_ok() {
                return found;
            }
            from = found + 1;
        }
        self.bytes.len()
    }

    fn damage(&self, fault: Fault) -> Damage {
        let to = self.next_whole(self.at + 1);
        let batch = self.header_at(self.at).ok();
        Damage { from: self.at as u64, to: to as u64, fault, batch }
    }
}

impl<'b> Iterator for Pieces<'b> {
    type Item = Piece<'b>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let position = self.at as u64;
        match self.batch_at(self.at) {
            Ok((header, payload)) => {
                self.at += header.total_len();
                Some(Piece::Batch { position, header, payload })
            }
            Err(Fault::Magic) if is_zero(self.bytes.get(self.at..)) => {
                self.at = self.bytes.len();
                None
            }
            Err(fault) => {
                let damage = self.damage(fault);
                self.at = damage.to as usize;
                Some(Piece::Damage(damage))
            }
        }
    }
}

fn is_zero(bytes: Option<&[u8]>) -> bool {
    bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// What the first damage of a segment means.
#[derive(Debug)]
pub(super) enum Verdict {
    /// All is whole.
    Whole,
    /// The last sync group did not reach the disk as a whole; nothing in it was acknowledged.
    Torn(Damage),
    /// What had been synced is damaged.
    Corrupt(Damage),
}

/// Judges the segment that was written last, telling `seen` each batch before the damage.
///
/// A power cut may persist later pages of an unsynced group before earlier ones. So a whole
/// batch behind the damage proves nothing by itself; one whose group began behind the damage
/// does, because a group is begun only when the one before it is synced. If the last group of
/// all was synced and is damaged later, that cannot be told from a torn one.
pub(super) fn judge(pieces: Pieces<'_>, mut seen: impl FnMut(u64, &BatchHeader)) -> Verdict {
    let mut first: Option<Damage> = None;
    for piece in pieces {
        match (piece, &first) {
            (Piece::Batch { position, header, .. }, None) => seen(position, &header),
            (Piece::Batch { header, .. }, Some(damage)) => {
                if header.group_start > damage.from {
                    return Verdict::Corrupt(damage.clone());
                }
            }
            (Piece::Damage(damage), None) => first = Some(damage),
            (Piece::Damage(_), Some(_)) => {}
        }
    }
    first.map_or(Verdict::Whole, Verdict::Torn)
}
