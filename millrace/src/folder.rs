//! The data folder: where everything lies in it, and that one process at a time uses it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

/// Names of what a data folder holds.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The layout of a folder that is there.
    pub(crate) fn existing(root: &Path) -> Result<Self> {
        let layout = Self::new(root);
        ensure!(
            layout.lock().is_file(),
            "there is no data folder at {}; name it with --data, or make it with `millrace dev`",
            root.display()
        );
        Ok(layout)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(crate) fn signing_key(&self) -> PathBuf {
        self.keys().join("signing.pem")
    }

    pub(crate) fn public_key(&self) -> PathBuf {
        self.keys().join("signing.pub.pem")
    }

    pub(crate) fn receipt_key(&self) -> PathBuf {
        self.keys().join("receipts.pem")
    }

    pub(crate) fn token_secret(&self) -> PathBuf {
        self.keys().join("token.secret")
    }

    pub(crate) fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    pub(crate) fn demo(&self) -> PathBuf {
        self.root.join("demo.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("admin.sock")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// Another process has the data folder.
#[derive(Debug)]
pub(crate) struct Held {
    holder: Option<u32>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another process uses it")?;
        if let Some(pid) = self.holder {
            write!(f, " (process {pid})")?;
        }
        f.write_str("; stop that one, or choose another folder with --data")
    }
}

impl std::error::Error for Held {}

/// A data folder that this process alone uses, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct DataFolder {
    layout: Layout,
    _lock: File,
}

impl DataFolder {
    /// Makes what is missing and takes the lock.
    ///
    /// # Errors
    /// [`Held`] by another process; or the file system's.
    pub(crate) fn open(layout: Layout) -> Result<Self> {
        let root = layout.root();
        make(root)?;
        make(&layout.keys())?;
        let lock = lock(&layout)
            .with_context(|| format!("cannot use the data folder {}", root.display()))?;
        Ok(Self { layout, _lock: lock })
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Makes a folder in it, if it is not there.
    pub(crate) fn make(&self, folder: &Path) -> Result<()> {
        make(folder)
    }
}

fn make(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))
}

fn lock(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(anyhow!(Held { holder: holder(&file) })),
        Err(TryLockError::Error(error)) => return Err(anyhow!(error).context("cannot lock it")),
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    #[expect(clippy::disallowed_methods, reason = "reads at most 20 bytes")]
    let read = file.take(20).read_to_string(&mut text);
    read.ok().and_then(|_| text.trim().parse().ok())
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_present(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_used_once_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(&temp.path().join("data"));
        assert!(Layout::existing(layout.root()).is_err());
        let first = DataFolder::open(layout.clone()).unwrap();
        let error = DataFolder::open(layout.clone()).unwrap_err();
        assert!(error.is::<Held>());
        let error = format!("{error:#}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(Layout::existing(layout.root()).is_ok());
        DataFolder::open(layout).unwrap();
    }
}
