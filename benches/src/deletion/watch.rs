//! What a process holds while something is done: memory and disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::process;

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(10);
/// Bytes of a block, stat(2).
const BLOCK_BYTES: u64 = 512;

/// The most memory that a process has resident while this runs.
#[derive(Debug)]
pub(super) struct Peak {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Peak {
    pub(super) fn of(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(process::memory(pid)?.resident);
                std::thread::sleep(INTERVAL);
            }
            Ok(most)
        });
        Self { stop, thread }
    }

    /// MiB.
    pub(super) fn end(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let most = self.thread.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok(mib(most))
    }
}

pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What the folders of a server take of the disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Disk {
    pub(super) store_mib: f64,
    pub(super) log_mib: f64,
}

impl Disk {
    pub(super) fn of(data: &Path) -> Self {
        let of = |name: &str| mib(allocated(&data.join(name)));
        Self { store_mib: of("store"), log_mib: of("log") }
    }
}

/// Bytes that the files in a folder take. What goes meanwhile takes nothing.
fn allocated(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated(&entry.path()),
        Ok(metadata) => metadata.blocks() * BLOCK_BYTES,
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("store")).unwrap();
        fs::write(folder.path().join("store/a"), vec![1; 1 << 20]).unwrap();
        let disk = Disk::of(folder.path());
        assert!(disk.store_mib >= 0.5 && disk.log_mib == 0.0, "{disk:?}");
    }

    #[test]
    fn the_peak_of_this_process_is_more_than_nothing() {
        let peak = Peak::of(std::process::id());
        std::thread::sleep(3 * INTERVAL);
        assert!(peak.end().unwrap() > 0.0);
    }
}
