//! What inspecting and repairing tell: for people and, as JSON, for machines.

use std::fmt;
use std::path::PathBuf;

use millrace_schema::Topic;
use serde::Serialize;

/// What lies in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its segments, oldest first.
    pub segments: Vec<SegmentReport>,
}

/// What lies in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SegmentReport {
    /// Its number.
    pub number: u64,
    /// Bytes up to the end of the last batch or damage; behind it are zeros written ahead.
    pub bytes: u64,
    /// Whole batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// What it holds of each partition.
    pub partitions: Vec<PartitionReport>,
    /// What is damaged.
    pub damage: Vec<DamageReport>,
}

/// What a segment holds of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// Offset of the first record.
    pub first: u64,
    /// Offset of the last record.
    pub last: u64,
}

/// Bytes of a segment that are damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageReport {
    /// The first of them.
    pub from: u64,
    /// The first whole byte again.
    pub to: u64,
    /// What is wrong at the first.
    pub reason: String,
    /// They were never acknowledged: a crash cut them off, or they are being written right now.
    pub torn: bool,
}

impl Report {
    /// Whether nothing that was acknowledged is damaged.
    pub fn is_whole(&self) -> bool {
        self.segments.iter().flat_map(|segment| &segment.damage).all(|damage| damage.torn)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            let SegmentReport { number, bytes, batches, records, .. } = segment;
            writeln!(f, "segment {number}: {bytes} bytes, {batches} batches, {records} records")?;
            for part in &segment.partitions {
                let PartitionReport { topic, partition, first, last } = part;
                writeln!(f, "  {topic}/{partition}: offsets {first} to {last}")?;
            }
            for damage in &segment.damage {
                writeln!(f, "  {damage}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for DamageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.torn { "unfinished (never acknowledged)" } else { "DAMAGED" };
        write!(f, "bytes {} to {}: {kind}: {}", self.from, self.to, self.reason)
    }
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The bytes that were cut out, and where they are kept. They may hold personal data.
    pub cut: Vec<Cut>,
    /// The records that are gone.
    pub lost: Vec<Lost>,
    /// Offsets that readers had passed, and whose records are gone from the log only.
    pub passed: Vec<Lost>,
}

/// Bytes that were cut out of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The segment.
    pub segment: u64,
    /// What was wrong.
    pub damage: DamageReport,
    /// Where the bytes are kept; nowhere if the file itself is missing.
    pub kept: Option<PathBuf>,
}

/// Records of a partition that are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// Offset of the first lost record.
    pub first: u64,
    /// Offset of the last lost record.
    pub last: u64,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut.is_empty() && self.passed.is_empty() {
            writeln!(f, "nothing is damaged")?;
        }
        for Cut { segment, damage, kept } in &self.cut {
            writeln!(f, "segment {segment}: {damage}")?;
            if let Some(kept) = kept {
                writeln!(f, "  kept in {} (may hold personal data)", kept.display())?;
            }
        }
        for Lost { topic, partition, first, last } in &self.lost {
            writeln!(f, "lost: {topic}/{partition}, offsets {first} to {last}")?;
        }
        for Lost { topic, partition, first, last } in &self.passed {
            writeln!(
                f,
                "gone, but applied before: {topic}/{partition}, offsets {first} to {last}"
            )?;
        }
        if self.cut.iter().any(|cut| !cut.damage.torn) {
            writeln!(f, "records at the damaged end of a partition may be lost without a number")?;
        }
        Ok(())
    }
}
