//! The preloaded library that breaks disk and clock; see `shim/shim.c`.
//!
//! Owns building it, its environment, and what a power cut leaves of a data folder.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
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

    fn journal(&self) -> Result<HashMap<Identity, Synced>> {
        let mut files: HashMap<Identity, Synced> = HashMap::new();
        let journal = fs::read_to_string(&self.journal).unwrap_or_default();
        for line in journal.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let &[what, inode, birth, first, second] = words.as_slice() else { continue };
            let file = files.entry((inode.parse()?, birth.parse()?)).or_default();
            let (first, second): (u64, u64) = (first.parse()?, second.parse()?);
            match what {
                "W" => file.unsynced.push(first..first + second),
                "B" => file.begun = file.unsynced.len(),
                _ => {
                    file.size = first;
                    file.unsynced.drain(..std::mem::take(&mut file.begun));
                }
            }
        }
        Ok(files)
    }

    /// What of a file is not safe: ranges that were written since its last sync.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn unsynced(&self, path: &Path) -> Result<Vec<Range<u64>>> {
        let mut files = self.journal()?;
        Ok(files.remove(&identity(&fs::metadata(path)?)?).unwrap_or_default().unsynced)
    }

    /// Does to the files of `part` of the data folder (`""`: all of it) what a power cut may do:
    /// whatever was not synced goes as `tail` says. To be called when no process is left. Returns
    /// how many bytes were at stake.
    ///
    /// # Errors
    /// A file cannot be changed.
    pub fn power_cut(&self, part: &str, tail: Tail, rng: &mut fastrand::Rng) -> Result<u64> {
        let files = self.journal()?;
        let mut at_stake = 0;
        for path in files_below(&self.root.join(part))? {
            let synced = files.get(&identity(&fs::metadata(&path)?)?).cloned().unwrap_or_default();
            at_stake += synced.unsynced.iter().map(|range| range.end - range.start).sum::<u64>();
            cut(&path, &synced, tail, rng)?;
        }
        Ok(at_stake)
    }
}

/// Inode and birth: a file, whatever its name is now.
type Identity = (u64, u128);

/// What the journal says of a file.
#[derive(Clone, Debug, Default)]
struct Synced {
    /// Its size at the last sync.
    size: u64,
    /// What was written since.
    unsynced: Vec<Range<u64>>,
    /// How many of these stood before the sync that has begun.
    begun: usize,
}

fn identity(meta: &fs::Metadata) -> Result<Identity> {
    Ok((meta.ino(), meta.created()?.duration_since(UNIX_EPOCH)?.as_nanos()))
}

/// What becomes of bytes that were written and not synced. What stood there before is taken to be
/// zeros, or the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// All are gone.
    Gone,
    /// Some of the first survive.
    Shortened,
    /// Blocks of 512 bytes survive or do not, as chance has it.
    Patchy,
    /// They are noise.
    Noise,
}

impl Tail {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Gone, Self::Shortened, Self::Patchy, Self::Noise];
}

fn cut(path: &Path, synced: &Synced, tail: Tail, rng: &mut fastrand::Rng) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let size = usize::try_from(synced.size)?.min(bytes.len());
    let mut keeps = tail == Tail::Shortened;
    for range in &synced.unsynced {
        let from = usize::try_from(range.start)?.min(bytes.len());
        let to = usize::try_from(range.end)?.min(bytes.len());
        for block in bytes[from..to].chunks_mut(512) {
            keeps = keeps && rng.u32(..4) != 0;
            match tail {
                Tail::Noise => rng.fill(block),
                Tail::Patchy if rng.bool() => {}
                Tail::Shortened if keeps => {}
                _ => block.fill(0),
            }
        }
    }
    if tail == Tail::Gone {
        bytes.truncate(size);
    }
    Ok(fs::write(path, bytes)?)
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
