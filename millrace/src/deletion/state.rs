//! What is kept beside a list until all of its jobs are completed: which parts were accepted.
//!
//! One JSON object a line: the head `{"submission", "begun_at", "plan"}`, then
//! `{"chunk", "accepted"}` for each part, synced before anything else is done. A line that a crash
//! cut off counts for nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use millrace_schema::id::new_id;
use millrace_schema::record::Reach;
use millrace_schema::time::{format_us, wall_clock_us};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const ENDING: &str = ".millrace-submission";

/// What decides which jobs a list becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Of the file, hexadecimal.
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) server: String,
    pub(super) project: String,
    pub(super) erase: Vec<Reach>,
    pub(super) format: Option<String>,
    pub(super) column: Option<String>,
    pub(super) delimiter: u8,
    pub(super) skip_bad: bool,
    /// A state without it was begun by a version that had no such choice.
    #[serde(default)]
    pub(super) keep_spaces: bool,
    pub(super) ids_per_job: usize,
}

impl Plan {
    /// What is different now, and was otherwise when it began.
    fn difference(&self, now: &Self) -> Option<String> {
        if (&self.sha256, self.bytes) != (&now.sha256, now.bytes) {
            return Some("the file is not the same any more".to_owned());
        }
        let (Ok(was), Ok(is)) = (serde_json::to_value(self), serde_json::to_value(now)) else {
            return None;
        };
        let different = was.as_object()?.iter().find(|(name, was)| is.get(name) != Some(was));
        different.map(|(name, was)| {
            format!("its `{name}` was {was}, and is {} now", is.get(name).unwrap_or_default())
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    submission: Uuid,
    begun_at: String,
    plan: Plan,
}

#[derive(Serialize, Deserialize)]
struct Part {
    chunk: u64,
    accepted: Uuid,
}

/// The state of a submission, and the file that holds it. No other process has it meanwhile.
pub(super) struct State {
    path: PathBuf,
    file: File,
    pub(super) submission: Uuid,
    /// When it began, if that was before.
    pub(super) begun_at: Option<String>,
    /// The jobs of the parts.
    pub(super) accepted: BTreeMap<u64, Uuid>,
}

impl State {
    /// The state of a list's submission; begun if there is none, or if it is to be a `new` one.
    ///
    /// # Errors
    /// The file cannot be read or written, another process has it, or it is about something else.
    pub(super) fn open(list: &Path, plan: &Plan, new: bool) -> Result<Self> {
        let path = path_of(list);
        let what = || path.display().to_string();
        let file = locked(&path)?;
        if new {
            file.set_len(0).with_context(what)?;
        }
        match read(&file).with_context(what)? {
            Some((head, accepted, end_bytes)) => {
                if let Some(difference) = head.plan.difference(plan) {
                    bail!(
                        "{} was submitted before, on {}, and not all of it is done: but {}. Call \
                         again as then, to continue; or with --new, to begin anew",
                        list.display(),
                        head.begun_at,
                        difference
                    );
                }
                file.set_len(end_bytes).with_context(what)?;
                let begun_at = Some(head.begun_at);
                let mut state =
                    Self { path, file, submission: head.submission, begun_at, accepted };
                state.file.seek(SeekFrom::End(0))?;
                Ok(state)
            }
            None => Self::begin(path, file, plan),
        }
    }

    fn begin(path: PathBuf, mut file: File, plan: &Plan) -> Result<Self> {
        let now_us = wall_clock_us();
        let submission = new_id(now_us);
        let head = Head { submission, begun_at: format_us(now_us), plan: plan.clone() };
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        let mut state =
            Self { path, file, submission, begun_at: None, accepted: BTreeMap::default() };
        state.append(&head)?;
        // Without its name the file would be lost with the power.
        let folder = state.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(state)
    }

    /// Keeps for good that a part was accepted.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn accept(&mut self, chunk: u64, job: Uuid) -> Result<()> {
        self.append(&Part { chunk, accepted: job })?;
        self.accepted.insert(chunk, job);
        Ok(())
    }

    fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Removes the file: all is done.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(super) fn remove(self) -> Result<()> {
        let removed = fs::remove_file(&self.path);
        removed.with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

/// Where the state of a list's submission is.
pub(super) fn path_of(list: &Path) -> PathBuf {
    let mut name = list.as_os_str().to_owned();
    name.push(ENDING);
    PathBuf::from(name)
}

fn locked(path: &Path) -> Result<File> {
    let mut open = OpenOptions::new();
    let file = open.read(true).write(true).create(true).truncate(false).open(path);
    let file = file.with_context(|| {
        format!(
            "cannot keep in {} which jobs were accepted; where that is not possible, send the \
             list to `millrace deletion submit - --submission NAME`",
            path.display()
        )
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another process submits this list; {} is in use", path.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

type Kept = (Head, BTreeMap<u64, Uuid>, u64);

/// What a file holds, and where its last whole line ends; `None` if it does not have its head.
fn read(file: &File) -> Result<Option<Kept>> {
    let mut from = BufReader::new(file);
    let Some((head, mut end_bytes)) = line::<Head>(&mut from)? else { return Ok(None) };
    let mut accepted = BTreeMap::new();
    while let Some((Part { chunk, accepted: job }, bytes)) = line(&mut from)? {
        accepted.insert(chunk, job);
        end_bytes += bytes;
    }
    Ok(Some((head, accepted, end_bytes)))
}

/// A line and its bytes; `None` at the end, or if it was cut off.
fn line<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead) -> Result<Option<(T, u64)>> {
    let mut line = Vec::new();
    let bytes = from.read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&line);
    ensure!(
        parsed.is_ok(),
        "this is no submission of this version; remove it, or begin anew with --new"
    );
    Ok(parsed.ok().map(|line| (line, bytes as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            sha256: "aa".to_owned(),
            bytes: 7,
            server: "http://a".to_owned(),
            project: "p".to_owned(),
            erase: vec![Reach::Events],
            format: None,
            column: None,
            delimiter: b',',
            skip_bad: false,
            keep_spaces: false,
            ids_per_job: 3,
        }
    }

    fn list() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("ids.txt");
        (folder, list)
    }

    #[test]
    fn what_was_accepted_is_known_again() {
        let (_folder, list) = list();
        let mut state = State::open(&list, &plan(), false).unwrap();
        assert_eq!(state.begun_at, None);
        let submission = state.submission;
        state.accept(1, Uuid::from_u128(11)).unwrap();
        state.accept(0, Uuid::from_u128(10)).unwrap();
        drop(state);
        let mut state = State::open(&list, &plan(), false).unwrap();
        assert!(state.begun_at.is_some());
        assert_eq!(state.submission, submission);
        state.accept(2, Uuid::from_u128(12)).unwrap();
        drop(state);
        let state = State::open(&list, &plan(), false).unwrap();
        let jobs: Vec<u128> = state.accepted.values().map(Uuid::as_u128).collect();
        assert_eq!(jobs, [10, 11, 12]);
        state.remove().unwrap();
        assert!(!path_of(&list).exists());
    }

    #[test]
    fn a_file_that_was_cut_off_anywhere_holds_its_whole_lines() {
        let (_folder, list) = list();
        let path = path_of(&list);
        let mut state = State::open(&list, &plan(), false).unwrap();
        let submission = state.submission;
        let head = fs::metadata(&path).unwrap().len();
        state.accept(0, Uuid::from_u128(10)).unwrap();
        drop(state);
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, whole.get(..end).unwrap()).unwrap();
            let mut state = State::open(&list, &plan(), false).unwrap();
            assert!(state.accepted.is_empty());
            assert_eq!(state.submission == submission, end as u64 >= head, "{end}");
            state.accept(0, Uuid::from_u128(10)).unwrap();
            drop(state);
            assert_eq!(State::open(&list, &plan(), false).unwrap().accepted.len(), 1);
        }
    }

    #[test]
    fn another_list_or_another_plan_is_refused_until_it_is_to_be_new() {
        let (_folder, list) = list();
        let first = State::open(&list, &plan(), false).unwrap().submission;
        let refused = |plan: Plan| State::open(&list, &plan, false).err().unwrap().to_string();
        let changed = refused(Plan { sha256: "bb".to_owned(), ..plan() });
        assert!(changed.contains("not the same") && changed.contains("--new"), "{changed}");
        let cut = refused(Plan { ids_per_job: 4, ..plan() });
        assert!(cut.contains("`ids_per_job` was 3, and is 4 now"), "{cut}");
        let narrowed = refused(Plan { erase: Vec::new(), ..plan() });
        assert!(narrowed.contains(r#"`erase` was ["events"], and is [] now"#), "{narrowed}");
        let new = State::open(&list, &Plan { bytes: 8, ..plan() }, true).unwrap();
        assert_ne!(new.submission, first);
        assert_eq!(new.begun_at, None);
    }

    #[test]
    fn a_list_is_submitted_by_one_process_at_a_time() {
        let (_folder, list) = list();
        let _first = State::open(&list, &plan(), false).unwrap();
        let error = State::open(&list, &plan(), false).err().unwrap().to_string();
        assert!(error.contains("another process"), "{error}");
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let (_folder, list) = list();
        fs::write(path_of(&list), "my notes\n").unwrap();
        let error = State::open(&list, &plan(), false).err().unwrap();
        assert!(format!("{error:#}").contains("--new"), "{error:#}");
        assert_eq!(fs::read(path_of(&list)).unwrap(), b"my notes\n");
    }
}
