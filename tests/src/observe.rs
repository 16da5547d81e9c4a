//! Reading everything back over HTTP.
//!
//! Owns what is seen. Must not know what ought to be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::client::{Answer, Client, Request, percent_encode};
use crate::receipts::Keys;
use crate::system::System;

/// An event as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSeen {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its time, microseconds.
    pub time_us: i64,
    /// The text of its properties; `None`: absent, or an empty object.
    pub properties: Option<String>,
    /// Further members.
    pub extra: BTreeMap<String, String>,
}

/// A property as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertySeen {
    /// The text of its value.
    pub value: String,
    /// Its time, microseconds.
    pub time_us: i64,
}

/// All that is seen of a user.
#[derive(Clone, Debug, Default)]
pub struct UserSeen {
    /// Properties, if there is a profile.
    pub profile: Option<BTreeMap<String, PropertySeen>>,
    /// Cells by device: own fields, and `properties.{name}`.
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
    /// Events, in the order of the pages.
    pub events: Vec<EventSeen>,
}

/// A deletion job as it is read back.
#[derive(Clone, Debug, Deserialize)]
pub struct JobSeen {
    /// Its id.
    pub job_id: Uuid,
    /// `accepted`, `running`, `completed` or `failed`.
    pub status: String,
    /// How many users.
    pub users: u64,
    /// How many of them are done.
    pub users_done: u64,
    /// From 0 to 1.
    pub progress: f64,
    /// What is erased.
    pub erase: BTreeSet<String>,
    /// When it was taken.
    pub accepted_at: String,
    /// When it ended.
    pub completed_at: Option<String>,
}

/// A partition of the ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct PartitionSeen {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The first offset held.
    pub log_start: u64,
    /// The next offset to be written.
    pub log_end: u64,
    /// Everything below is applied.
    pub frontier: u64,
    /// What became of it.
    pub outcomes: BTreeMap<String, u64>,
}

/// Outcomes of a topic.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TopicSeen {
    /// What became of how many records.
    pub outcomes: BTreeMap<String, u64>,
}

/// The accounting of a project.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountingSeen {
    /// By topic.
    pub topics: BTreeMap<String, TopicSeen>,
    /// What the workers have not reached.
    pub pending: u64,
}

/// Everything that is seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Those that were asked for.
    pub users: BTreeMap<String, UserSeen>,
    /// All of the project.
    pub jobs: BTreeMap<Uuid, JobSeen>,
    /// The receipts of those that are completed, as far as they were asked for.
    pub receipts: BTreeMap<Uuid, String>,
    /// The keys that sign receipts.
    pub keys: Keys,
    /// All partitions.
    pub ledger: Vec<PartitionSeen>,
    /// The project's.
    pub accounting: AccountingSeen,
}

/// Microseconds of an RFC 3339 time in UTC.
///
/// # Errors
/// It is none.
pub fn time_us(text: &str) -> Result<i64> {
    ensure!(text.ends_with('Z'), "{text:?} is not in UTC");
    Ok(text.parse::<Timestamp>()?.as_microsecond())
}

/// The list of jobs; each has its id below.
const JOBS: &str = "/v1/api/profile/user/deletion-job";

/// How long a store may still be away after a fault.
const AWAY: Duration = Duration::from_secs(30);

/// Asks until the answer is another than that the store is away.
fn ask(client: &mut Client, request: &Request) -> Result<Answer> {
    let since = Instant::now();
    loop {
        let answer = client.send(request)?;
        if answer.status != 503 || since.elapsed() > AWAY {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn get<T: for<'a> Deserialize<'a>>(client: &mut Client, path: &str, query: &str) -> Result<T> {
    let request = client.read(path, query);
    let answer = ask(client, &request)?;
    ensure!(answer.status == 200, "{path}{query}: {} {:.500}", answer.status, answer.text());
    answer.json().with_context(|| path.to_owned())
}

/// The accounting of the client's project.
///
/// # Errors
/// No answer, or not the expected one.
pub fn accounting(client: &mut Client) -> Result<AccountingSeen> {
    get(client, "/v1/api/accounting", "")
}

/// The ledger, from an admin address.
///
/// # Errors
/// No answer, or not the expected one.
pub fn ledger(system: &dyn System) -> Result<Vec<PartitionSeen>> {
    #[derive(Deserialize)]
    struct Ledger {
        partitions: Vec<PartitionSeen>,
    }
    let doors = system.doors();
    let door = *doors.all().first().context("no front door")?;
    let answer = ask(&mut doors.admin_client(door), &Request::get("/ledger"))?;
    ensure!(answer.status == 200, "/ledger: {} {:.500}", answer.status, answer.text());
    Ok(answer.json::<Ledger>()?.partitions)
}

/// Waits until the workers have reached everything and the jobs have ended.
///
/// # Errors
/// They do not in time.
pub fn wait_idle(system: &dyn System, jobs: &BTreeSet<Uuid>) -> Result<()> {
    let since = Instant::now();
    let doors = system.doors();
    let mut clients: Vec<Client> = doors.all().into_iter().map(|door| doors.client(door)).collect();
    let mut pause = Duration::from_millis(10);
    let mut turn = 0;
    loop {
        // Through another door each time.
        let number = turn % clients.len();
        turn += 1;
        let state = unfinished(&mut clients[number], jobs);
        if state.as_ref().is_ok_and(|(pending, open)| *pending == 0 && open.is_empty()) {
            return Ok(());
        }
        let gone = !doors.any_open();
        if gone || since.elapsed() > system.patience() {
            bail!(
                "never idle (gone: {gone}); pending and open jobs: {state:?}\n{}",
                system.stderr()
            );
        }
        std::thread::sleep(pause);
        pause = (pause * 11 / 10).min(Duration::from_millis(500));
    }
}

/// What the workers have not reached, and which of the jobs have not ended.
fn unfinished(client: &mut Client, jobs: &BTreeSet<Uuid>) -> Result<(u64, Vec<Uuid>)> {
    let pending = accounting(client)?.pending;
    if jobs.is_empty() || pending > 0 {
        return Ok((pending, Vec::new()));
    }
    let seen = all_jobs(client)?;
    let ended = |id: &Uuid| {
        seen.get(id).is_some_and(|job| job.status == "completed" || job.status == "failed")
    };
    Ok((pending, jobs.iter().filter(|id| !ended(id)).copied().collect()))
}

/// Reads everything of these users, and all jobs, the ledger and the accounting; each user through
/// another door.
///
/// # Errors
/// No answer, or not the expected one.
pub fn read_back(system: &dyn System, users: &BTreeSet<String>) -> Result<Seen> {
    let doors = system.doors();
    let mut clients: Vec<Client> = doors.all().into_iter().map(|door| doors.client(door)).collect();
    let count = clients.len();
    let mut seen = BTreeMap::new();
    for (number, user) in users.iter().enumerate() {
        seen.insert(user.clone(), read_user(&mut clients[number % count], user)?);
    }
    let client = clients.last_mut().context("no front door")?;
    let (jobs, accounting, keys) = (all_jobs(client)?, accounting(client)?, keys(client)?);
    let (receipts, ledger) = (BTreeMap::new(), ledger(system)?);
    Ok(Seen { users: seen, jobs, receipts, keys, ledger, accounting })
}

/// The keys that sign receipts.
///
/// # Errors
/// No answer, or not the expected one.
pub fn keys(client: &mut Client) -> Result<Keys> {
    let answer = ask(client, &Request::get("/.well-known/jwks.json"))?;
    ensure!(answer.status == 200, "JWKS: {} {:.500}", answer.status, answer.text());
    Keys::parse(&answer.body)
}

/// The receipt of a completed job.
///
/// # Errors
/// There is none, or no answer.
pub fn receipt(client: &mut Client, job: Uuid) -> Result<String> {
    let request = client.read(&format!("{JOBS}/{job}/receipt"), "");
    let answer = ask(client, &request)?;
    let (status, kind) = (answer.status, answer.header("content-type"));
    let is_token = (status, kind) == (200, Some("application/jwt"));
    ensure!(is_token, "the receipt of {job}: {status} {kind:?} {:.500}", answer.text());
    Ok(answer.text())
}

/// Reads everything of one user.
///
/// # Errors
/// No answer, or not the expected one.
pub fn read_user(client: &mut Client, user: &str) -> Result<UserSeen> {
    let profile = read_profile(client, user)?;
    let devices = read_devices(client, user)?;
    let events = read_events(client, user, 37)?;
    Ok(UserSeen { profile, devices, events })
}

fn read_profile(client: &mut Client, user: &str) -> Result<Option<BTreeMap<String, PropertySeen>>> {
    #[derive(Deserialize)]
    struct Property<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
        timestamp: String,
    }
    #[derive(Deserialize)]
    struct Profile<'a> {
        user_id: String,
        #[serde(borrow)]
        properties: BTreeMap<String, Property<'a>>,
        created_at: String,
        updated_at: String,
    }
    let path = format!("/v1/api/users/{}", percent_encode(user));
    let request = client.read(&path, "");
    let answer = ask(client, &request)?;
    if answer.status == 404 {
        return Ok(None);
    }
    ensure!(answer.status == 200, "{path}: {} {:.500}", answer.status, answer.text());
    let profile: Profile<'_> = answer.json()?;
    ensure!(profile.user_id == user, "asked for {user:?}, got {:?}", profile.user_id);
    time_us(&profile.created_at)?;
    time_us(&profile.updated_at)?;
    let mut properties = BTreeMap::new();
    for (name, property) in profile.properties {
        let (value, time_us) = (property.value.get().to_owned(), time_us(&property.timestamp)?);
        properties.insert(name, PropertySeen { value, time_us });
    }
    Ok(Some(properties))
}

fn read_devices(
    client: &mut Client,
    user: &str,
) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    #[derive(Deserialize)]
    struct Devices<'a> {
        #[serde(borrow)]
        devices: Vec<BTreeMap<String, &'a RawValue>>,
    }
    let path = format!("/v1/api/users/{}/devices", percent_encode(user));
    let request = client.read(&path, "");
    let answer = ask(client, &request)?;
    ensure!(answer.status == 200, "{path}: {} {:.500}", answer.status, answer.text());
    let mut devices = BTreeMap::new();
    for device in answer.json::<Devices<'_>>()?.devices {
        let mut cells = BTreeMap::new();
        let mut device_id = None;
        for (name, raw) in device {
            match name.as_str() {
                "device_id" => device_id = Some(serde_json::from_str::<String>(raw.get())?),
                "updated_at" => drop(time_us(&serde_json::from_str::<String>(raw.get())?)?),
                "properties" => {
                    let properties: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get())?;
                    for (name, raw) in properties {
                        cells.insert(format!("properties.{name}"), raw.get().to_owned());
                    }
                }
                _ if raw.get() == "null" => {}
                _ => {
                    let text: String = serde_json::from_str(raw.get())?;
                    cells.insert(name, serde_json::to_string(&text)?);
                }
            }
        }
        let device_id = device_id.context("a device without device_id")?;
        let twice = devices.insert(device_id, cells);
        ensure!(twice.is_none(), "{path}: a device is listed twice");
    }
    Ok(devices)
}

/// Reads all events of a user in pages of `limit`.
///
/// # Errors
/// No answer, or not the expected one.
pub fn read_events(client: &mut Client, user: &str, limit: usize) -> Result<Vec<EventSeen>> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        events: Vec<BTreeMap<String, &'a RawValue>>,
        next_cursor: Option<String>,
    }
    let path = format!("/v1/api/users/{}/events", percent_encode(user));
    let mut events: Vec<EventSeen> = Vec::new();
    let mut query = format!("&limit={limit}");
    loop {
        let request = client.read(&path, &query);
        let answer = ask(client, &request)?;
        ensure!(answer.status == 200, "{path}: {} {:.500}", answer.status, answer.text());
        let page: Page<'_> = answer.json()?;
        ensure!(page.events.len() <= limit, "a page of {} with limit {limit}", page.events.len());
        for event in page.events {
            events.push(event_seen(event)?);
        }
        let Some(cursor) = page.next_cursor else { return Ok(events) };
        ensure!(events.len() < 1_000_000, "{path}: the pages do not end");
        query = format!("&limit={limit}&cursor={}", percent_encode(&cursor));
    }
}

fn event_seen(mut event: BTreeMap<String, &RawValue>) -> Result<EventSeen> {
    let mut string = |name: &str| -> Result<String> {
        let raw = event.remove(name).with_context(|| format!("an event without {name}"))?;
        Ok(serde_json::from_str(raw.get())?)
    };
    let (id, name) = (string("id")?, string("name")?);
    let time_us_of = time_us(&string("timestamp")?)?;
    time_us(&string("received_at")?)?;
    let properties = event.remove("properties").map(|raw| raw.get().to_owned());
    let properties = properties.filter(|text| text != "{}" && text != "null");
    let extra = event.into_iter().map(|(name, raw)| (name, raw.get().to_owned())).collect();
    Ok(EventSeen { id, name, time_us: time_us_of, properties, extra })
}

/// Reads jobs, the newest first, until all of these are among them or there are no more.
///
/// # Errors
/// No answer, or not the expected one.
pub fn jobs(client: &mut Client, wanted: &BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, JobSeen>> {
    pages_of_jobs(client, |jobs| wanted.iter().all(|job| jobs.contains_key(job)))
}

fn all_jobs(client: &mut Client) -> Result<BTreeMap<Uuid, JobSeen>> {
    pages_of_jobs(client, |_| false)
}

fn pages_of_jobs(
    client: &mut Client,
    enough: impl Fn(&BTreeMap<Uuid, JobSeen>) -> bool,
) -> Result<BTreeMap<Uuid, JobSeen>> {
    #[derive(Deserialize)]
    struct Page {
        jobs: Vec<JobSeen>,
        next_cursor: Option<String>,
    }
    let mut jobs = BTreeMap::new();
    let mut query = String::new();
    loop {
        let page: Page = get(client, JOBS, &query)?;
        for job in page.jobs {
            let id = job.job_id;
            ensure!(jobs.insert(id, job).is_none(), "job {id} is listed twice");
        }
        let Some(cursor) = page.next_cursor.filter(|_| !enough(&jobs)) else { return Ok(jobs) };
        query = format!("&cursor={}", percent_encode(&cursor));
    }
}
