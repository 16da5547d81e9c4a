//! The disk that data lies on.

use std::io;
use std::path::Path;

/// Bytes that this process may still write to the disk of a folder.
///
/// # Errors
/// The folder is not there, or its file system does not say.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
