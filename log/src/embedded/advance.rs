//! Moves a log on to where its readers already are, after it has lost its end.
//!
//! A reader whose position lies beyond the log's end would take new records for old ones. Batches
//! without records move the next offsets on, so that no offset is given out twice.

use std::os::unix::fs::FileExt;
use std::path::Path;

use millrace_schema::Topic;

use super::config::Config;
use super::disk::{io, segment_path};
use super::format::{BatchHeader, Place};
use super::recover::{Recovered, recover};
use super::repair::marker;
use super::report::Lost;
use crate::LogError;

/// Sees to it that the next record of each partition named gets at least the offset named. The
/// log, which no process may be using, is made if it is not there. Returns the offsets that were
/// passed over.
///
/// # Errors
/// The log is damaged (repair it first), has another number of partitions, or the disk fails.
pub fn advance(
    dir: &Path,
    config: &Config,
    ends: &[(Topic, u32, u64)],
) -> Result<Vec<Lost>, LogError> {
    let Recovered { start, .. } = recover(dir, config)?;
    let header = &start.header;
    let mut passed = Vec::new();
    let mut bytes = Vec::new();
    for &(topic, partition, end) in ends {
        let stream = usize::from(topic.number()) * header.partitions as usize + partition as usize;
        let next = start.next.get(stream).copied().unwrap_or(u64::MAX);
        if partition >= header.partitions || next >= end {
            continue;
        }
        let position = start.end + bytes.len() as u64;
        let place = Place { salt: header.salt, segment: header.number, position };
        let marker = BatchHeader { group_start: start.end, ..marker(header, stream, end) };
        bytes.extend_from_slice(&marker.encode(place));
        passed.push(Lost { topic, partition, first: next, last: end - 1 });
    }
    let path = segment_path(dir, header.number);
    start.file.write_all_at(&bytes, start.end).map_err(io("write", &path))?;
    start.file.sync_all().map_err(io("sync", &path))?;
    Ok(passed)
}
