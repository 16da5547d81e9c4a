//! Looks at a log without changing it, also while a process uses it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use millrace_schema::Topic;

use super::disk;
use super::format::SegmentHeader;
use super::report::{DamageReport, PartitionReport, Report, SegmentReport};
use super::scan::{Damage, Piece, Pieces};
use crate::LogError;

/// What lies in the log in `dir`. Needs no lock; the end of the newest segment may show as
/// unfinished while a process writes it.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn inspect(dir: &Path) -> Result<Report, LogError> {
    let mut report = Report::default();
    let numbers = disk::segments(dir)?;
    let mut bytes = Vec::new();
    for number in &numbers {
        match disk::read_segment(dir, *number, &mut bytes) {
            Ok(()) => {}
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                // Removed by retention since the folder was listed.
                continue;
            }
            Err(error) => return Err(error),
        }
        let mut segment = inspect_segment(&bytes);
        segment.number = *number;
        if Some(number) != numbers.last() {
            // What is followed by another segment was synced as a whole.
            segment.damage.iter_mut().for_each(|damage| damage.torn = false);
        }
        report.segments.push(segment);
    }
    Ok(report)
}

/// The number of partitions with which the log in `dir` was created; `None` if there is no log, or
/// no header that tells.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn partitions(dir: &Path) -> Result<Option<u32>, LogError> {
    if !dir.exists() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for number in disk::segments(dir)? {
        disk::read_segment(dir, number, &mut bytes)?;
        if let Ok((header, _)) = SegmentHeader::decode(&bytes) {
            return Ok(Some(header.partitions));
        }
    }
    Ok(None)
}

/// What lies in the bytes of a newest segment, whatever they are.
pub fn inspect_segment(bytes: &[u8]) -> SegmentReport {
    let mut report = SegmentReport::default();
    let header = match SegmentHeader::decode(bytes) {
        Ok((header, fault)) => {
            report.bytes = header.data_start().min(bytes.len()) as u64;
            report.damage.extend(fault.map(|fault| DamageReport {
                from: 0,
                to: report.bytes,
                reason: fault.to_string(),
                torn: false,
            }));
            header
        }
        Err(fault) => {
            let (to, reason) = (bytes.len() as u64, fault.to_string());
            report.bytes = to;
            report.damage.push(DamageReport { from: 0, to, reason, torn: false });
            return report;
        }
    };
    report.number = header.number;
    let mut offsets: BTreeMap<(Topic, u32), (u64, u64)> = BTreeMap::new();
    let mut damaged: Vec<Damage> = Vec::new();
    let mut last_group = 0;
    for piece in Pieces::new(bytes, &header) {
        match piece {
            Piece::Batch { position, header, .. } => {
                report.bytes = position + header.total_len() as u64;
                report.batches += 1;
                report.records += u64::from(header.count);
                last_group = last_group.max(header.group_start);
                let Some(topic) = Topic::from_number(header.topic) else { continue };
                if header.count > 0 {
                    let place = (topic, u32::from(header.partition));
                    let last = header.end() - 1;
                    offsets.entry(place).or_insert((header.base, last)).1 = last;
                }
            }
            Piece::Damage(damage) => {
                report.bytes = damage.to;
                damaged.push(damage);
            }
        }
    }
    report.damage.extend(damaged.iter().map(|damage| damage.report(last_group)));
    let parts = offsets.into_iter().map(|((topic, partition), (first, last))| PartitionReport {
        topic,
        partition,
        first,
        last,
    });
    report.partitions = parts.collect();
    report
}

impl Damage {
    /// The damage of a segment whose last sync group begins at `last_group`: torn, if no group
    /// was begun behind it.
    pub(super) fn report(&self, last_group: u64) -> DamageReport {
        let Self { from, to, fault, .. } = self;
        let torn = *from >= last_group;
        DamageReport { from: *from, to: *to, reason: fault.to_string(), torn }
    }
}
