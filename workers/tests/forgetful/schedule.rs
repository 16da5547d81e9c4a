//! One random schedule: what is sent, and what goes wrong meanwhile. Everything follows from the
//! seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use millrace_log::Batch;
use millrace_schema::record::{
    Body, Device, Event, Fence, HEADER_SPOOLED, Job, Marker, Profile, Reach, Record,
};
use millrace_schema::user::{write_device_key, write_user_key};
use millrace_schema::{Topic, UserKey};
use millrace_workers::{Config, Workers};
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use crate::accounts::receipts;
use crate::client::Client;
use crate::database::{Database, PAUSE_MAX, SETTLE, Sabotage};
use crate::memory_log::{MemoryLog, PARTITIONS, Seat};

pub(crate) const PROJECT: &str = "p";
pub(crate) const USERS: [&str; 4] = ["u0", "u1", "u2", "u3"];
pub(crate) const DEVICES: [&str; 3] = ["X", "Y", "Z"];
pub(crate) const CLOCK_SKEW_US: i64 = 1_000_000;
const START_US: i64 = 1_700_000_000_000_000;

/// A marker of a job: (topic, user, offset).
pub(crate) type Marked = (Topic, UserKey, u64);

/// A deletion whose markers are on their way.
#[derive(Clone)]
struct Deletion {
    id: Uuid,
    received_us: i64,
    users: Vec<&'static str>,
    reach: Vec<Reach>,
    left: VecDeque<(Topic, &'static str)>,
    fence: BTreeMap<(Topic, u32), Fence>,
    marked: Vec<Marked>,
}

/// A job as its first sealed attempt has it.
pub(crate) struct Sealed {
    pub(crate) fence: Vec<Fence>,
    pub(crate) marked: Vec<Marked>,
    pub(crate) users: u64,
}

pub(crate) struct Schedule {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) database: Arc<Database>,
    pub(crate) jobs: BTreeMap<Uuid, Sealed>,
    pub(crate) crashes: Vec<Instant>,
    pub(crate) trace: Vec<String>,
    rng: Rng,
    started: Instant,
    receipts: [i64; 2],
    spool: Vec<(Topic, &'static str, Vec<u8>)>,
    deletions: Vec<Deletion>,
    ended: Vec<Deletion>,
    workers: (Seat, Option<Workers>),
    zombies: Vec<(Seat, Workers)>,
}

impl Schedule {
    pub(crate) fn new(seed: u64, sabotage: Sabotage) -> Self {
        // The workers' delays have a jitter of their own.
        fastrand::seed(seed);
        let log = MemoryLog::new(seed ^ 1);
        let mut schedule = Self {
            database: Database::new(seed ^ 2, sabotage),
            jobs: BTreeMap::new(),
            crashes: Vec::new(),
            trace: Vec::new(),
            rng: Rng::with_seed(seed),
            started: Instant::now(),
            receipts: [0; 2],
            spool: Vec::new(),
            deletions: Vec::new(),
            ended: Vec::new(),
            workers: (Seat::new(log.clone()), None),
            zombies: Vec::new(),
            log,
        };
        schedule.start_workers();
        schedule
    }

    fn say(&mut self, text: String) {
        let at = self.started.elapsed().as_secs_f64();
        self.trace.push(format!("{at:8.3} {text}"));
    }

    fn chance(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())]
    }

    /// Two front doors, whose clocks are apart but within the skew that is allowed for.
    fn receive(&mut self) -> i64 {
        let door = self.rng.usize(0..2);
        let elapsed_us = self.started.elapsed().as_micros() as i64;
        let now_us = START_US + elapsed_us + [400_000, -400_000][door];
        self.receipts[door] = now_us.max(self.receipts[door] + 1);
        self.receipts[door]
    }

    fn start_workers(&mut self) {
        let config = Config {
            tick: Duration::from_secs(1),
            persist_interval: Duration::from_secs(5),
            completion_interval: Duration::from_millis(700),
            purge_gather_max: Duration::from_secs(2),
            pause_max: PAUSE_MAX,
            retry_max: Duration::from_secs(2),
            clock_skew_us: CLOCK_SKEW_US,
            event_retention_us: i64::MAX / 4,
            ..Config::default()
        };
        let seat = Seat::new(self.log.clone());
        let store = Client { database: self.database.clone(), seat: seat.clone() };
        let (log, store) = (Arc::new(seat.clone()), Arc::new(store));
        let topics = Topic::CONSUMED;
        let workers = millrace_workers::start(config, log, store, &topics, Some(receipts()));
        self.workers = (seat, Some(workers.unwrap()));
    }

    /// One thing happens, and some time passes.
    pub(crate) async fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..=21 => self.event(),
            22..=39 => self.profile(),
            40..=57 => self.device(),
            58..=63 => self.begin_deletion(),
            64..=68 => self.go_on_deleting(),
            69..=72 => self.hand_over(),
            73..=75 => self.poison(),
            76..=78 => self.replay_dead_letter(),
            79..=81 => self.restart(),
            82..=83 => self.make_zombies(),
            84..=86 => self.thaw_zombies(),
            87..=91 => self.crash(),
            _ => tokio::time::sleep(SETTLE.mul_f64(self.rng.f64() * 3.0)).await,
        }
        let ms = self.pick(&[0, 0, 1, 10, 100, 500, 2_000]);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Nothing more goes wrong: all that is open comes to its end.
    pub(crate) fn quiesce(&mut self) {
        self.database.end_faults();
        while !self.deletions.is_empty() {
            self.go_on_deleting();
        }
        while !self.spool.is_empty() {
            self.hand_over();
        }
        self.replay_dead_letter();
        self.thaw_zombies();
    }

    fn send(&mut self, topic: Topic, user: &'static str, received_us: i64, body: Body<'_>) {
        let mut value = Vec::new();
        Record { project: PROJECT.into(), received_us, body }.encode(&mut value);
        if self.chance(6) {
            self.say(format!("spooled {topic} {user} {}", String::from_utf8_lossy(&value)));
            self.spool.push((topic, user, value));
            return;
        }
        self.append(topic, user, &value, Vec::new());
    }

    /// The offset. A user named "" is nobody: the key is the device's.
    fn append(
        &mut self,
        topic: Topic,
        user: &str,
        value: &[u8],
        headers: Vec<(String, String)>,
    ) -> (u32, u64) {
        let mut batch = Batch::default();
        let header = headers.iter().map(|(name, value)| format!(" {name}={value}"));
        let header: String = header.collect();
        let key = |out: &mut Vec<u8>| match user.strip_prefix("device ") {
            Some(device) => write_device_key(out, PROJECT, device),
            None => write_user_key(out, PROJECT, user),
        };
        let value_of = |out: &mut Vec<u8>| out.extend_from_slice(value);
        batch.push_with_headers(topic, PARTITIONS, headers, key, value_of);
        let partition = batch.entries().next().unwrap().partition;
        let offset = self.log.push(&batch)[0];
        let text = String::from_utf8_lossy(value);
        self.say(format!("{topic}/{partition}@{offset} {text}{header}"));
        (partition, offset)
    }

    fn event(&mut self) {
        let received_us = self.receive();
        let user = self.pick(&USERS);
        let n = self.rng.u8(0..3);
        let time_us = [Some(START_US + i64::from(n) * 1_000_000), None][self.rng.usize(0..2)];
        let id = match time_us {
            None if self.chance(3) => v7(received_us / 1_000 - i64::from(n), n),
            None => format!("bare{n}"),
            Some(_) => format!("id{}", self.rng.u8(0..2)),
        };
        let name = format!("n{}", self.rng.u8(..));
        let (properties, extra) = (None, None);
        let (user_id, id, name) = (user.into(), id.into(), name.into());
        let body = Event { user: user_id, id, name, time_us, properties, extra };
        self.send(Topic::Events, user, received_us, Body::Event(body));
    }

    /// A time that competes with others, or none.
    fn client_time(&mut self) -> Option<i64> {
        self.rng.bool().then(|| START_US + self.rng.i64(-3..40) * 1_000_000)
    }

    fn properties(&mut self) -> Option<String> {
        let name = self.pick(&["a", "b"]);
        let value = self.rng.u16(..);
        match self.rng.u8(0..6) {
            0 => None,
            1 => Some(format!("{{\"{name}\":null}}")),
            2 => Some(format!("{{\"a\":{value},\"b\":{value}}}")),
            _ => Some(format!("{{\"{name}\":{value}}}")),
        }
    }

    fn profile(&mut self) {
        let received_us = self.receive();
        let user = self.pick(&USERS);
        let (time_us, properties) = (self.client_time(), self.properties().map(Into::into));
        let body = Profile { user: user.into(), time_us, properties };
        self.send(Topic::Profiles, user, received_us, Body::Profile(body));
    }

    fn device(&mut self) {
        let received_us = self.receive();
        let user = self.pick(&USERS);
        let device = self.pick(&DEVICES);
        let (time_us, properties) = (self.client_time(), self.properties().map(Into::into));
        let unlink = self.chance(4);
        let nobody = unlink && self.chance(2);
        let key = match (nobody, device) {
            (false, _) => user,
            (true, "X") => "device X",
            (true, "Y") => "device Y",
            (true, _) => "device Z",
        };
        let body = Device {
            user: (!nobody).then_some(user.into()),
            device_id: device.into(),
            time_us,
            fields: Vec::new(),
            properties,
            unlink,
        };
        self.send(Topic::Devices, key, received_us, Body::Device(body));
    }

    fn begin_deletion(&mut self) {
        let received_us = self.receive();
        let again = self.chance(2) && !self.ended.is_empty();
        let (id, users, reach) = if again {
            let n = self.rng.usize(0..self.ended.len());
            let before = &self.ended[n];
            (before.id, before.users.clone(), before.reach.clone())
        } else {
            let n = self.rng.usize(1..=USERS.len());
            let users = self.rng.choose_multiple(USERS, n);
            let all = self.rng.u8(0..3) > 0;
            let reach = Reach::ALL.into_iter().filter(|_| all || self.rng.bool()).collect();
            (Uuid::from_u128(self.rng.u128(..)), users, reach)
        };
        let reach = if reach.is_empty() { vec![Reach::Profile] } else { reach };
        let topics = Topic::DATA.into_iter().filter(|t| reach.iter().any(|r| r.topic() == *t));
        let left = topics.flat_map(|topic| users.iter().map(move |user| (topic, *user))).collect();
        let (fence, marked) = (BTreeMap::new(), Vec::new());
        self.deletions.push(Deletion { id, received_us, users, reach, left, fence, marked });
        if self.rng.bool() {
            self.go_on_deleting();
        }
    }

    /// Some markers of a deletion, perhaps all and the seal; or its front door dies.
    fn go_on_deleting(&mut self) {
        if self.deletions.is_empty() {
            return;
        }
        let n = self.rng.usize(0..self.deletions.len());
        let mut deletion = self.deletions.swap_remove(n);
        if self.chance(20) {
            self.ended.push(deletion);
            return;
        }
        for _ in 0..self.rng.usize(1..20) {
            let Some((topic, user)) = deletion.left.pop_front() else {
                self.seal(deletion);
                return;
            };
            let mut value = Vec::new();
            let body = Body::Marker(Marker { user: user.into(), job: deletion.id });
            let received_us = deletion.received_us;
            Record { project: PROJECT.into(), received_us, body }.encode(&mut value);
            let (partition, offset) = self.append(topic, user, &value, Vec::new());
            let first = Fence { topic, partition, first: offset, last: offset, count: 0 };
            let fence = deletion.fence.entry((topic, partition)).or_insert(first);
            fence.last = offset;
            fence.count += 1;
            deletion.marked.push((topic, UserKey::new(PROJECT, user), offset));
        }
        self.deletions.push(deletion);
    }

    fn seal(&mut self, deletion: Deletion) {
        let fence: Vec<Fence> = deletion.fence.values().cloned().collect();
        let users = deletion.users.len() as u64;
        let job = Job {
            job: deletion.id,
            users,
            erase: deletion.reach.clone(),
            fence: fence.clone(),
            sample: deletion.users.iter().map(|user| (*user).to_owned()).collect(),
            ..Job::default()
        };
        let mut value = Vec::new();
        let (received_us, body) = (deletion.received_us, Body::Job(job));
        Record { project: PROJECT.into(), received_us, body }.encode(&mut value);
        self.append(Topic::Deletions, &deletion.id.to_string(), &value, Vec::new());
        let marked = deletion.marked.clone();
        self.jobs.entry(deletion.id).or_insert(Sealed { fence, marked, users });
        self.ended.push(deletion);
    }

    fn hand_over(&mut self) {
        for (topic, user, value) in std::mem::take(&mut self.spool) {
            let headers = vec![(HEADER_SPOOLED.to_owned(), "1".to_owned())];
            self.append(topic, user, &value, headers);
        }
    }

    /// A record of a version that these workers do not know yet.
    fn poison(&mut self) {
        let received_us = self.receive();
        let user = self.pick(&USERS);
        let time_us = self.client_time();
        let (topic, body) = if self.rng.bool() {
            let id = format!("late{}", self.rng.u8(0..2)).into();
            let (name, properties, extra) = ("n".into(), None, None);
            let event = Event { user: user.into(), id, name, time_us, properties, extra };
            (Topic::Events, Body::Event(event))
        } else {
            let properties = self.properties().map(Into::into);
            let profile = Profile { user: user.into(), time_us, properties };
            (Topic::Profiles, Body::Profile(profile))
        };
        let mut value = Vec::new();
        Record { project: PROJECT.into(), received_us, body }.encode(&mut value);
        let text = String::from_utf8(value).unwrap().replacen("\"v\":1", "\"v\":2", 1);
        self.append(topic, user, text.as_bytes(), Vec::new());
    }

    /// By now they know it.
    fn replay_dead_letter(&mut self) {
        let topic = self.pick(&[Topic::Events, Topic::Profiles]);
        let partition = self.rng.u32(0..PARTITIONS);
        let dead = self.log.records(topic.dead_letters(), partition);
        if dead.is_empty() {
            return;
        }
        let letter = &dead[self.rng.usize(0..dead.len())];
        let text = String::from_utf8(letter.value.to_vec()).unwrap();
        let value = text.replacen("\"v\":2", "\"v\":1", 1);
        let key = String::from_utf8(letter.key.to_vec()).unwrap();
        let user = key.split_once('\0').unwrap().1;
        self.append(topic, user, value.as_bytes(), letter.headers.clone());
    }

    fn restart(&mut self) {
        self.say("workers are killed, others take over".to_owned());
        self.start_workers();
    }

    /// Stops the workers in order, and lets others take over.
    pub(crate) async fn hand_on(&mut self) -> Result<(), String> {
        if let Some(workers) = self.workers.1.take() {
            workers.stop(Duration::from_secs(30)).await.map_err(|e| e.to_string())?;
        }
        self.start_workers();
        Ok(())
    }

    /// The workers stand still and lose their partitions to others without knowing it.
    fn make_zombies(&mut self) {
        if let Some(workers) = self.workers.1.take() {
            self.say("workers freeze; others take over".to_owned());
            self.workers.0.freeze();
            self.zombies.push((self.workers.0.clone(), workers));
        }
        self.start_workers();
    }

    fn thaw_zombies(&mut self) {
        if !self.zombies.is_empty() {
            self.say("the frozen go on".to_owned());
        }
        for (seat, _) in &self.zombies {
            seat.thaw_as_a_zombie(self.rng.u32(0..4));
        }
        if self.zombies.len() > 2 {
            self.zombies.remove(0);
        }
    }

    fn crash(&mut self) {
        self.say("THE STORE CRASHES AND FORGETS".to_owned());
        self.database.crash();
        self.crashes.push(Instant::now());
    }
}

fn v7(ms: i64, n: u8) -> String {
    Builder::from_unix_timestamp_millis(ms as u64, &[n; 10]).into_uuid().to_string()
}
