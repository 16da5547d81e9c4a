//! The store's engine alone: what it takes to write as many rows of erasures, and to compact as
//! much data.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use serde::Serialize;

use super::people::{EVENTS, People};

const MIB: u64 = 1024 * 1024;
/// As `store/src/embedded/open.rs` sets them.
const CACHE_BYTES: u64 = 64 * MIB;
const WRITE_BUFFER_BYTES: u64 = 16 * MIB;
const JOURNAL_BYTES: u64 = 256 * MIB;
const THREADS: usize = 2;
/// Users of a batch.
const BATCH: u64 = 250;
/// How often the engine is asked whether it rests.
const POLL: Duration = Duration::from_millis(50);
/// What stands before every value: a format version and a stamp.
const VALUE_HEAD: [u8; 9] = [1; 9];
/// As long as a marker: an offset, a time, a job.
const MARKER: [u8; 32] = [1; 32];
/// About what the row of a claim holds.
const CLAIM: &str = r#"{"holder":"u-1234567","linked":{"time_us":1767225600000000,"stamp":1234567},"received_us":1767225600000000}"#;
/// Rows of a profile and of a device: names and values as long as those that are loaded.
const PROFILE: [(&str, &str); 5] = [
    ("mkt_name", r#"{"version":{"time_us":1767225600000000,"stamp":1234567},"value":"\"Mina\""}"#),
    ("mkt_email", r#"{"version":{"time_us":1767225600000000,"stamp":1},"value":"\"mina@mail\""}"#),
    ("mkt_phone_number", r#"{"version":{"time_us":1767225600000000,"stamp":1},"value":"\"+82\""}"#),
    ("mkt_grade", r#"{"version":{"time_us":1767225600000000,"stamp":1},"value":"\"gold\""}"#),
    ("mkt_email_opt_in", r#"{"version":{"time_us":1767225600000000,"stamp":1},"value":"true"}"#),
];
/// Rows of a device beside its head.
const DEVICE: [&str; 4] = ["platform", "token", "properties.os_version", "properties.app_version"];

/// What the engine alone took, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Raw {
    /// Rows of erasures written and synced.
    pub(super) written_s: f64,
    /// All data compacted.
    pub(super) compacted_s: f64,
}

impl Raw {
    pub(super) fn seconds(&self) -> f64 {
        self.written_s + self.compacted_s
    }
}

struct RawStore {
    db: Database,
    events: Keyspace,
    profiles: Keyspace,
    devices: Keyspace,
    claims: Keyspace,
    erasures: Keyspace,
}

/// Writes what people take, then measures on it.
pub(super) fn measure(folder: &Path, people: &People) -> Result<Raw> {
    eprintln!("the store's engine alone with {} users", people.count);
    let raw = RawStore::open(folder)?;
    raw.fill(people)?;
    raw.rest();
    let since = Instant::now();
    raw.batches(people, |batch, nth| raw.erasures_of(batch, people, nth))?;
    raw.db.persist(PersistMode::SyncAll)?;
    let written_s = since.elapsed().as_secs_f64();
    let since = Instant::now();
    for keyspace in [&raw.events, &raw.profiles, &raw.devices, &raw.claims] {
        keyspace.rotate_memtable_and_wait()?;
        keyspace.major_compact()?;
    }
    let compacted_s = since.elapsed().as_secs_f64();
    drop(raw);
    std::fs::remove_dir_all(folder)?;
    Ok(Raw { written_s, compacted_s })
}

impl RawStore {
    fn open(folder: &Path) -> Result<Self> {
        let db = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(THREADS)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(WRITE_BUFFER_BYTES);
        let open = |name: &str| db.keyspace(name, options);
        let (events, profiles, devices) = (open("events")?, open("profiles")?, open("devices")?);
        let (claims, erasures) = (open("claims")?, open("erasures")?);
        Ok(Self { db, events, profiles, devices, claims, erasures })
    }

    fn fill(&self, people: &People) -> Result<()> {
        for pass in 0..EVENTS {
            self.batches(people, |batch, nth| self.event_of(batch, people, nth, pass))?;
        }
        self.batches(people, |batch, nth| self.rows_of(batch, people, nth))
    }

    /// Batches of so many users, in the order in which people are loaded.
    fn batches(
        &self,
        people: &People,
        mut add: impl FnMut(&mut OwnedWriteBatch, u64),
    ) -> Result<()> {
        for start in (0..people.count).step_by(BATCH as usize) {
            let mut batch = self.db.batch();
            people.range(start, BATCH).for_each(|nth| add(&mut batch, nth));
            batch.commit()?;
        }
        Ok(())
    }

    /// The keys are as long as those in `store/src/embedded/key.rs`.
    fn event_of(&self, batch: &mut OwnedWriteBatch, people: &People, nth: u64, pass: u64) {
        let mut payload = String::new();
        people.event(&mut payload, nth, pass);
        let time = people.event_us(pass).to_be_bytes();
        let id = people.event_id(nth, pass);
        // The expiry, and what the record says beside what was sent.
        let record = [&VALUE_HEAD[1..], &[b' '; 48], payload.as_bytes()].concat();
        batch.insert(&self.events, key(people, nth, &[&time, id.as_bytes()]), value(&record));
    }

    fn rows_of(&self, batch: &mut OwnedWriteBatch, people: &People, nth: u64) {
        batch.insert(&self.profiles, key(people, nth, &[&[0]]), value(&[0; 16]));
        for (name, cell) in PROFILE {
            let key = key(people, nth, &[&[1], name.as_bytes()]);
            batch.insert(&self.profiles, key, value(cell.as_bytes()));
        }
        let device = people.device_id(nth);
        let of_device = |tail: &[u8]| key(people, nth, &[&[1, 0, 0], device.as_bytes(), tail]);
        batch.insert(&self.devices, of_device(&[0]), value(&[0; 8]));
        for (name, (_, cell)) in DEVICE.iter().zip(PROFILE) {
            let tail = [&[1], name.as_bytes()].concat();
            batch.insert(&self.devices, of_device(&tail), value(cell.as_bytes()));
        }
        let claim = key(people, nth, &[&[0, 0], device.as_bytes()]);
        batch.insert(&self.claims, claim, value(CLAIM.as_bytes()));
    }

    /// Of each of three topics the stamp with the marker.
    fn erasures_of(&self, batch: &mut OwnedWriteBatch, people: &People, nth: u64) {
        for topic in 0..3 {
            batch.insert(&self.erasures, key(people, nth, &[&[topic, 0]]), value(&MARKER));
        }
    }

    /// Waits until nothing is flushed or compacted any more.
    fn rest(&self) {
        let mut quiet = 0;
        while quiet < 5 {
            std::thread::sleep(POLL);
            let rests = self.db.outstanding_flushes() == 0 && self.db.active_compactions() == 0;
            quiet = if rests { quiet + 1 } else { 0 };
        }
    }
}

fn key(people: &People, nth: u64, tail: &[&[u8]]) -> Vec<u8> {
    let user = people.id(nth);
    let head: [&[u8]; 4] = [&[0, 4], b"demo", &[0, 0], user.as_bytes()];
    [&head.concat()[..], &tail.concat()].concat()
}

fn value(bytes: &[u8]) -> Vec<u8> {
    [&VALUE_HEAD, bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_as_many_rows_as_in_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let people = People::new('t', 0, 300);
        let raw = RawStore::open(folder.path()).unwrap();
        raw.fill(&people).unwrap();
        raw.batches(&people, |batch, nth| raw.erasures_of(batch, &people, nth)).unwrap();
        let rows = [&raw.events, &raw.profiles, &raw.devices, &raw.claims, &raw.erasures];
        let rows = rows.map(|keyspace| keyspace.len().unwrap());
        assert_eq!(rows, [10, 6, 5, 1, 3].map(|each| each * 300));
    }
}
