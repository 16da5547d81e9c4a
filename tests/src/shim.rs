//! The preloaded library that breaks disk and clock; see `shim/shim.c`.
//!
//! Owns building it, its environment, and what a power cut leaves of a data folder.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, ensure};

use crate::process::{Launch, target_folder};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shim/shim.c");

/// The library, built once and kept in the target folder.
///
/// # Errors
/// There is no C compiler, or it refuses.
pub fn library() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let library = target_folder()?.join("libmillrace_shim.so");
    let age = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    if age(&library).is_ok_and(|built| age(SOURCE.as_ref()).is_ok_and(|source| built > source)) {
        return Ok(library);
    }
    // Other test processes may build it too: each its own, and the last rename wins.
    let own = library.with_extension(format!("{}.so", std::process::id()));
    let mut compile = Command::new("gcc");
    compile.args(["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"]).arg(&own);
    let status = compile.args([SOURCE, "-ldl", "-lpthread"]).status().context("gcc")?;
    ensure!(status.success(), "gcc: {status}");
    fs::rename(&own, &library)?;
    Ok(library)
}

/// The shim around the servers of one data folder.
#[derive(Clone, Debug)]
pub struct Shim {
    root: PathBuf,
    journal: PathBuf,
    control: PathBuf,
}

impl Shim {
    /// Watches a data folder; creates it.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn around(data: &Path) -> Result<Self> {
        fs::create_dir_all(data)?;
        let root = data.canonicalize()?;
        let beside = |what: &str| data.with_extension(what);
        let shim = Self { root, journal: beside("journal"), control: beside("rules") };
        shim.rules("")?;
        Ok(shim)
    }

    /// Adds the shim to a launch.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn preload(&self, launch: Launch) -> Result<Launch> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(launch
            .env("LD_PRELOAD", text(&library()?))
            .env("MILLRACE_SHIM_ROOT", text(&self.root))
            .env("MILLRACE_SHIM_JOURNAL", text(&self.journal))
            .env("MILLRACE_SHIM_CONTROL", text(&self.control)))
    }

    /// Replaces the rules; they count from now on.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn rules(&self, rules: &str) -> Result<()> {
        let new = self.control.with_extension("new");
        fs::write(&new, rules)?;
        Ok(fs::rename(new, &self.control)?)
    }

    /// What is safe, by inode and birth: the size at the last sync.
    fn synced(&self) -> Result<HashMap<(u64, u128), u64>> {
        let mut sizes = HashMap::new();
        let journal = fs::read_to_string(&self.journal).unwrap_or_default();
        for line in journal.lines() {
            let mut words = line.split(' ');
            if words.next() != Some("S") {
                continue;
            }
            let mut number = || words.next().context("a short line in the journal");
            let key = (number()?.parse()?, number()?.parse()?);
            sizes.insert(key, number()?.parse()?);
        }
        Ok(sizes)
    }

    /// Up to where a file is safe.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn safe_bytes(&self, path: &Path) -> Result<u64> {
        Ok(self.synced()?.get(&identity(&fs::metadata(path)?)?).copied().unwrap_or(0))
    }

    /// Does to the files of `part` of the data folder (`""`: all of it) what a power cut may do:
    /// whatever was not synced goes as `tail` says. To be called when no process is left. Returns
    /// how many bytes went.
    ///
    /// # Errors
    /// A file cannot be changed.
    pub fn power_cut(&self, part: &str, tail: Tail, rng: &mut fastrand::Rng) -> Result<u64> {
        let synced = self.synced()?;
        let mut gone = 0;
        for path in files_below(&self.root.join(part))? {
            let meta = fs::metadata(&path)?;
            let safe = synced.get(&identity(&meta)?).copied().unwrap_or(0);
            if safe >= meta.len() {
                continue;
            }
            gone += meta.len() - safe;
            cut(&path, safe, meta.len(), tail, rng)?;
        }
        Ok(gone)
    }
}

/// A file, whatever its name is now: inode and birth.
fn identity(meta: &fs::Metadata) -> Result<(u64, u128)> {
    Ok((meta.ino(), meta.created()?.duration_since(UNIX_EPOCH)?.as_nanos()))
}

/// What becomes of bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// All are gone.
    Gone,
    /// Some of the first survive.
    Shortened,
    /// The file keeps its length; blocks of 512 bytes survive or read as zeros, as chance has it.
    Patchy,
    /// The file keeps its length; what was not synced is noise.
    Noise,
}

impl Tail {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Gone, Self::Shortened, Self::Patchy, Self::Noise];
}

fn cut(path: &Path, safe: u64, end: u64, tail: Tail, rng: &mut fastrand::Rng) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    match tail {
        Tail::Gone => file.set_len(safe)?,
        Tail::Shortened => file.set_len(rng.u64(safe..=end))?,
        Tail::Patchy | Tail::Noise => {
            let mut bytes = fs::read(path)?;
            let from = usize::try_from(safe)?;
            for block in bytes[from..].chunks_mut(512) {
                if tail == Tail::Noise {
                    rng.fill(block);
                } else if rng.bool() {
                    block.fill(0);
                }
            }
            fs::write(path, bytes)?;
        }
    }
    Ok(())
}

/// All files below a folder, in order.
///
/// # Errors
/// A folder cannot be read.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("{folder:?}"))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Copies a folder with everything below.
///
/// # Errors
/// Something cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for path in files_below(from)? {
        let target = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("no parent")?)?;
        fs::copy(&path, &target)?;
    }
    Ok(())
}
