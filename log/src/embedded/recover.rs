//! Opening: reads every segment through, cuts a torn tail off, refuses what is damaged.
//!
//! Every checksum of every segment is verified before the log opens, so opening takes as long as
//! reading it all: a log that starts is whole, and its indexes are built on the way.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::Path;

use millrace_schema::Topic;
use millrace_schema::time::wall_clock_us;

use super::config::Config;
use super::disk::{self, io, segment_path};
use super::format::SegmentHeader;
use super::scan::{Pieces, Verdict, judge};
use super::view::Segment;
use super::writer::Start;
use crate::LogError;

/// An opened log.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: VecDeque<Segment>,
    pub(super) start: Start,
}

/// Opens the log in `dir`, or creates it.
pub(super) fn recover(dir: &Path, config: &Config) -> Result<Recovered, LogError> {
    disk::create_folder(dir)?;
    let lock = disk::lock(dir)?;
    let numbers = disk::segments(dir)?;
    let Some(&last) = numbers.last() else { return create(dir, config, lock) };

    let mut segments: VecDeque<Segment> = VecDeque::with_capacity(numbers.len());
    let mut bytes = Vec::new();
    let mut next = Vec::new();
    for number in numbers {
        disk::read_segment(dir, number, &mut bytes)?;
        let header = read_header(dir, number, &bytes, config)?;
        if let Some(before) = segments.back() {
            follows(dir, before, &header, &next)?;
        }
        next.clone_from(&header.next);
        let segment = read_through(dir, header, &bytes, number == last, &mut next)?;
        segments.push_back(segment);
    }
    let Some(newest) = segments.back() else { return create(dir, config, lock) };
    let file = disk::open_segment(dir, last)?;
    settle(&file, &bytes, newest).map_err(io("sync", &segment_path(dir, last)))?;
    let (header, end) = (newest.header.clone(), newest.len);
    Ok(Recovered { segments, start: Start { file, header, end, next, lock } })
}

fn create(dir: &Path, config: &Config, lock: File) -> Result<Recovered, LogError> {
    let header = SegmentHeader {
        number: 1,
        // A hasher is seeded by the system's random numbers.
        salt: RandomState::new().build_hasher().finish(),
        partitions: config.partitions,
        created_us: wall_clock_us(),
        next: vec![0; Topic::ALL.len() * config.partitions as usize],
    };
    let file = disk::create_segment(dir, &header)?;
    let (end, next) = (header.data_start() as u64, header.next.clone());
    let segments = VecDeque::from([Segment::new(header.clone(), end)]);
    Ok(Recovered { segments, start: Start { file, header, end, next, lock } })
}

fn read_header(
    dir: &Path,
    number: u64,
    bytes: &[u8],
    config: &Config,
) -> Result<SegmentHeader, LogError> {
    let header = match SegmentHeader::decode(bytes) {
        Ok((header, None)) => header,
        Ok((_, Some(fault))) | Err(fault) => return Err(damaged(dir, number, 0, &fault)),
    };
    if header.number != number {
        let path = segment_path(dir, number);
        let found = header.number;
        return Err(LogError::Invalid(format!("{} is segment {found}: renamed", path.display())));
    }
    let created = header.partitions;
    if created != config.partitions {
        return Err(LogError::Invalid(format!(
            "the log in {} was created with {created} partitions, and {} are configured; configure \
             {created}",
            dir.display(),
            config.partitions,
        )));
    }
    Ok(header)
}

/// Whether a segment goes on where the one before ended.
fn follows(
    dir: &Path,
    before: &Segment,
    header: &SegmentHeader,
    next: &[u64],
) -> Result<(), LogError> {
    let number = header.number;
    if number != before.header.number + 1 {
        let path = segment_path(dir, before.header.number + 1);
        let what = format!("{} is missing", path.display());
        return Err(LogError::Invalid(format!("{what}; {}", advice(dir))));
    }
    if header.salt != before.header.salt || header.next != next {
        let path = segment_path(dir, number);
        let what = format!("{} does not follow the segment before it", path.display());
        return Err(LogError::Invalid(format!("{what}; {}", advice(dir))));
    }
    Ok(())
}

fn read_through(
    dir: &Path,
    header: SegmentHeader,
    bytes: &[u8],
    is_last: bool,
    next: &mut [u64],
) -> Result<Segment, LogError> {
    let number = header.number;
    let partitions = header.partitions;
    let mut segment = Segment::new(header.clone(), header.data_start() as u64);
    let mut overlap = None;
    let verdict = judge(Pieces::new(bytes, &header), |position, batch| {
        segment.note(position, batch);
        segment.len = position + batch.total_len() as u64;
        if let Some(next) = next.get_mut(batch.stream(partitions)) {
            if batch.base < *next {
                overlap.get_or_insert(position);
            }
            *next = batch.end();
        }
    });
    if let Some(position) = overlap {
        let path = segment_path(dir, number);
        return Err(LogError::Invalid(format!(
            "{} repeats offsets at byte {position}; {}",
            path.display(),
            advice(dir)
        )));
    }
    match verdict {
        Verdict::Whole => Ok(segment),
        Verdict::Torn(damage) if is_last => {
            tracing::warn!(
                path = %segment_path(dir, number).display(),
                byte = damage.from,
                bytes = damage.to - damage.from,
                reason = %damage.fault,
                "an unfinished or damaged tail is cut off"
            );
            Ok(segment)
        }
        Verdict::Torn(damage) | Verdict::Corrupt(damage) => {
            Err(damaged(dir, number, damage.from, &damage.fault))
        }
    }
}

/// Cuts off what follows the last whole batch, and makes what was found durable before anybody
/// reads it: after a crash it may lie in the page cache only. The last group is written again
/// first, because a sync that failed before the crash may have marked its pages clean without
/// having written them.
fn settle(file: &File, bytes: &[u8], segment: &Segment) -> std::io::Result<()> {
    let (start, end) = (segment.last_group, segment.len);
    let group = bytes.get(start as usize..end as usize).unwrap_or_default();
    file.write_all_at(group, start)?;
    file.set_len(end)?;
    file.sync_all()
}

fn damaged(dir: &Path, number: u64, position: u64, fault: &dyn std::fmt::Display) -> LogError {
    let path = segment_path(dir, number);
    LogError::Invalid(format!(
        "{} is damaged at byte {position}: {fault}; {}",
        path.display(),
        advice(dir)
    ))
}

/// What to do about damage.
pub(super) fn advice(dir: &Path) -> String {
    format!(
        "`millrace log repair --data FOLDER`, with the data folder that {} lies in, cuts it out and \
         says what is lost",
        dir.display()
    )
}
