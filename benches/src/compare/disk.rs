//! What one `fdatasync` takes where the log lies: no acknowledgement can come sooner.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

const SYNCS: u64 = 100;
/// About what a group of single events comes to.
const BYTES: usize = 16 * 1024;

/// The median of some syncs after appends.
pub(super) fn sync_time(folder: &Path) -> Result<Duration> {
    let file = File::create(folder.join("sync-probe"))?;
    let block = vec![b'x'; BYTES];
    let mut times = Vec::new();
    for i in 0..SYNCS {
        file.write_all_at(&block, i * BYTES as u64)?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}
