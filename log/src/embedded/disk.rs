//! The folder: names of segments, creation that survives a power cut, free space, the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::SegmentHeader;
use crate::LogError;

const SUFFIX: &str = ".segment";
const LOCK: &str = "lock";

/// Attaches what was tried to an I/O error.
pub(super) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let what = format!("cannot {what} {}", path.display());
    move |source| LogError::Io { what, source }
}

/// The file of a segment.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}{SUFFIX}"))
}

/// The numbers of the segments in a folder, rising.
pub(super) fn segments(dir: &Path) -> Result<Vec<u64>, LogError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(io("list", dir))? {
        let name = entry.map_err(io("list", dir))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Creates the folder if it is not there, and makes it and its entries durable.
pub(super) fn create_folder(dir: &Path) -> Result<(), LogError> {
    fs::create_dir_all(dir).map_err(io("create", dir))?;
    sync_folder(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
}

/// Takes the folder for this process; it is free again when the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Invalid(format!(
            "{} is in use by another process (it holds {}); stop that one first, or use another \
             folder",
            dir.display(),
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// Opens a segment for reading and writing.
pub(super) fn open_segment(dir: &Path, number: u64) -> Result<File, LogError> {
    let path = segment_path(dir, number);
    OpenOptions::new().read(true).write(true).open(&path).map_err(io("open", &path))
}

/// Reads a whole segment into `bytes`, which is reused.
pub(super) fn read_segment(dir: &Path, number: u64, bytes: &mut Vec<u8>) -> Result<(), LogError> {
    let path = segment_path(dir, number);
    let file = File::open(&path).map_err(io("open", &path))?;
    let len = file.metadata().map_err(io("read", &path))?.len();
    let len = usize::try_from(len).map_err(|_| too_long(&path))?;
    bytes.resize(len, 0);
    file.read_exact_at(bytes, 0).map_err(io("read", &path))
}

fn too_long(path: &Path) -> LogError {
    LogError::Invalid(format!("{} is longer than memory", path.display()))
}

/// Writes a segment under a name that nobody reads, and syncs it. Until [`install`] it is not
/// part of the log, so a power cut never leaves one with half a header.
pub(super) fn prepare(dir: &Path, number: u64, bytes: &[u8]) -> Result<File, LogError> {
    let path = prepared_path(dir, number);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path);
    let mut file = file.map_err(io("create", &path))?;
    file.write_all(bytes).map_err(io("write", &path))?;
    file.sync_all().map_err(io("sync", &path))?;
    Ok(file)
}

/// Gives a prepared segment its name.
pub(super) fn install(dir: &Path, number: u64) -> Result<(), LogError> {
    let path = segment_path(dir, number);
    fs::rename(prepared_path(dir, number), &path).map_err(io("create", &path))?;
    sync_folder(dir)
}

fn prepared_path(dir: &Path, number: u64) -> PathBuf {
    segment_path(dir, number).with_extension("new")
}

/// Creates a segment that holds its header only.
pub(super) fn create_segment(dir: &Path, header: &SegmentHeader) -> Result<File, LogError> {
    let file = prepare(dir, header.number, &header.encode())?;
    install(dir, header.number)?;
    Ok(file)
}
