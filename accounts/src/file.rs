//! Files of keys: those that only their owner may read, and those that all may.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use millrace_schema::id::new_id;
use millrace_schema::time::wall_clock_us;

/// Keys and tokens are far smaller.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Reads a file that only its owner may read; `None` if there is none.
///
/// # Errors
/// The file system's, and `PermissionDenied` if others may read or change the file.
pub fn read_private(path: &Path) -> io::Result<Option<String>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let text = format!(
            "its mode is {mode:04o}, so others may read or change it; run `chmod 600` on it, and \
             replace what it holds if it may have been read"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    read(path, metadata.len()).map(Some)
}

/// Writes a file with mode 0600, whole or not at all, and syncs it.
///
/// # Errors
/// The file system's.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, 0o600)
}

/// Writes a file with mode 0600, whole and synced, unless it is there; whether it was this call.
///
/// # Errors
/// The file system's.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    // Of this call alone: another process may be at it too.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", new_id(wall_clock_us())));
    let draft = PathBuf::from(draft);
    write_draft(&draft, bytes, 0o600)?;
    // Unlike a rename, a link does not take the place of what is there.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        linked => linked.and_then(|()| sync_folder_of(path)).map(|()| true),
    }
}

/// Writes a file that everybody may read (mode 0644), whole or not at all, and syncs it.
///
/// # Errors
/// The file system's.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, 0o644)
}

/// Reads a small file that is no secret.
///
/// # Errors
/// The file system's.
pub(crate) fn read_public(path: &Path) -> io::Result<String> {
    read(path, fs::metadata(path)?.len())
}

fn read(path: &Path, bytes: u64) -> io::Result<String> {
    if bytes > FILE_BYTES_MAX {
        let text = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    fs::read_to_string(path)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = draft_path(path);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_draft(&draft, bytes, mode)?;
    fs::rename(&draft, path)?;
    sync_folder_of(path)
}

fn write_draft(draft: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
