//! Seeded random traffic: bodies, and the model of what they say.
//!
//! Owns what is sent. Must not know what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::encoding::Encoding;
use crate::model::{At, Call, Device, Event, Item, Kind, Profile, Sent};

/// The five calls.
pub mod path {
    /// Update profiles.
    pub const PROFILES: &str = "/v1/api/profile/user";
    /// Collect events.
    pub const EVENTS: &str = "/v1/api/events";
    /// Update devices.
    pub const DEVICES: &str = "/v1/api/profile/user/device/bulk";
    /// Delete one user.
    pub const DELETE: &str = "/v1/api/profile/user/deletion-job";
    /// Delete many users.
    pub const DELETE_BULK: &str = "/v1/api/profile/user/deletion-job/bulk";
}

/// Who and what the traffic is about; shared by all senders, so that they meet.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Users.
    pub users: Vec<String>,
    /// Devices.
    pub devices: Vec<String>,
}

impl Cast {
    /// Users and devices of one scene, with odd ids among them.
    pub fn new(scene: &str, users: usize) -> Self {
        const ODD: [&str; 6] = ["", "/a b?c=d&e#f", "ü-사용자", "😀%2F", "\"quo\\te\"", "\u{1}ctl"];
        let user = |n: usize| format!("{scene}-u{n}{}", ODD[n % ODD.len()]);
        let device = |n: usize| format!("gaid:{scene}-d{n}{}", ODD[n % ODD.len()]);
        Self {
            users: (0..users).map(user).collect(),
            devices: (0..users.div_ceil(2)).map(device).collect(),
        }
    }

    /// The users as a set.
    pub fn user_set(&self) -> BTreeSet<String> {
        self.users.iter().cloned().collect()
    }
}

/// What the traffic is like.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Of 100 requests, how many delete.
    pub deletions: u32,
    /// Of 100 requests, how many repeat an earlier one.
    pub retries: u32,
    /// Whether some bodies are large.
    pub large: bool,
    /// How long a sender rests between two requests.
    pub rest: Duration,
}

impl Default for Mix {
    fn default() -> Self {
        Self { deletions: 10, retries: 12, large: true, rest: Duration::ZERO }
    }
}

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The call.
    pub path: &'static str,
    /// The body as text, before any encoding.
    pub text: String,
    /// One item a line.
    pub ndjson: bool,
    /// Some items are bad and the request says `handling=lenient`.
    pub lenient: bool,
    /// Its `Idempotency-Key`.
    pub key: Option<String>,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// What it says.
    pub call: Arc<Call>,
}

/// A source of requests.
#[derive(Debug)]
pub struct Generator {
    rng: Rng,
    cast: Cast,
    mix: Mix,
    name: String,
    nonce: u64,
    now_us: i64,
    recent: Vec<Prepared>,
}

impl Generator {
    /// A source of its own; `name` is unique among all that send to one project.
    pub fn new(seed: u64, name: &str, cast: Cast, mix: Mix) -> Self {
        let rng = Rng::with_seed(seed);
        let now_us = millrace_schema::time::wall_clock_us();
        Self { rng, cast, mix, name: name.into(), nonce: 0, now_us, recent: Vec::new() }
    }

    /// How long to rest between two requests.
    pub const fn rest(&self) -> Duration {
        self.mix.rest
    }

    /// The next request.
    pub fn next_request(&mut self) -> Prepared {
        if !self.recent.is_empty() && self.percent(self.mix.retries) {
            let at = self.rng.usize(..self.recent.len());
            let mut again = self.recent[at].clone();
            again.encoding = Encoding::pick(&mut self.rng);
            return again;
        }
        let prepared =
            if self.percent(self.mix.deletions) { self.deletion() } else { self.items() };
        if self.recent.len() >= 16 {
            let at = self.rng.usize(..self.recent.len());
            self.recent.swap_remove(at);
        }
        self.recent.push(prepared.clone());
        prepared
    }

    fn percent(&mut self, n: u32) -> bool {
        self.rng.u32(..100) < n
    }

    fn nonce(&mut self) -> String {
        self.nonce += 1;
        format!("{}.{}", self.name, self.nonce)
    }

    fn key(&mut self) -> Option<String> {
        self.percent(30).then(|| format!("key-{}", self.nonce()))
    }

    fn user(&mut self) -> String {
        self.cast.users[self.rng.usize(..self.cast.users.len())].clone()
    }

    fn device(&mut self) -> String {
        self.cast.devices[self.rng.usize(..self.cast.devices.len())].clone()
    }

    fn deletion(&mut self) -> Prepared {
        let bulk = self.percent(50);
        let n = if bulk { self.rng.usize(1..4) } else { 1 };
        let listed: Vec<String> = (0..n).map(|_| self.user()).collect();
        let mut reach: BTreeSet<Kind> = Kind::ALL.into();
        let ndjson = bulk && self.percent(20);
        let narrowed = !ndjson && self.percent(30);
        if narrowed {
            reach = Kind::ALL.into_iter().filter(|_| self.rng.bool()).collect();
            if reach.is_empty() {
                reach.insert(Kind::Events);
            }
        }
        let erase = if narrowed {
            let names: Vec<String> = reach.iter().map(|k| format!("\"{}\"", k.name())).collect();
            format!(",\"erase\":[{}]", names.join(","))
        } else {
            String::new()
        };
        let quoted: Vec<String> = listed.iter().map(|u| self.quote(u)).collect();
        let text = match (bulk, ndjson) {
            (false, _) => format!("{{\"user_id\":{}{erase}}}", quoted[0]),
            (true, false) => format!("{{\"user_ids\":[{}]{erase}}}", quoted.join(",")),
            (true, true) => quoted.iter().map(|user| format!("{{\"user_id\":{user}}}\n")).collect(),
        };
        let call = Arc::new(Call::Delete { users: listed.into_iter().collect(), reach });
        let path = if bulk { path::DELETE_BULK } else { path::DELETE };
        let (key, encoding) = (self.key(), Encoding::pick(&mut self.rng));
        Prepared { path, text, ndjson, lenient: false, key, encoding, call }
    }

    fn items(&mut self) -> Prepared {
        let which = self.rng.u32(..100);
        let count = match self.rng.u32(..100) {
            0..60 => 1,
            60..92 => self.rng.usize(2..8),
            92..98 => self.rng.usize(20..60),
            _ if self.mix.large => self.rng.usize(200..500),
            _ => 10,
        };
        let (path, list) = match which {
            0..45 => (path::EVENTS, "events"),
            45..75 => (path::PROFILES, "profiles"),
            _ => (path::DEVICES, "devices"),
        };
        let lenient = self.percent(8);
        let ndjson = self.percent(20);
        let mut texts = Vec::new();
        let mut items = Vec::new();
        for index in 0..count {
            if lenient && self.percent(30) {
                let nonce = self.nonce();
                texts.push(format!("{{\"user_id\":\"\",\"name\":\"bad {nonce}\"}}"));
                continue;
            }
            let (item, json) = match list {
                "events" => self.event(),
                "profiles" => self.profile(),
                _ => self.device_item(),
            };
            texts.push(json.clone());
            items.push(Sent { index, json, item });
        }
        let text = if ndjson {
            texts.iter().map(|text| format!("{text}\n")).collect()
        } else {
            format!("{{\"{list}\":[{}]}}", texts.join(","))
        };
        let call = Arc::new(Call::Items(items));
        let (key, encoding) = (self.key(), Encoding::pick(&mut self.rng));
        Prepared { path, text, ndjson, lenient, key, encoding, call }
    }

    fn event(&mut self) -> (Item, String) {
        let nonce = self.nonce();
        let user = self.user();
        let name = format!("mkt_purchase {nonce}");
        let (id, at) = match self.rng.u32(..100) {
            0..30 => (Some(format!("it-{}", self.rng.u32(..40))), Some(self.at())),
            30..40 => (Some(format!("it-{nonce}")), Some(self.at())),
            40..60 => (Some(format!("i-{}", self.rng.u32(..200))), None),
            60..70 => (Some(uuid::Uuid::now_v7().to_string()), None),
            70..85 => (None, Some(self.at())),
            _ => (None, None),
        };
        let properties = self.percent(85).then(|| self.properties(&nonce));
        let mut extra = BTreeMap::new();
        if self.percent(15) {
            extra.insert("x_session".to_owned(), self.value(&nonce));
        }
        let mut members = vec![
            format!("\"name\":{}", self.quote(&name)),
            format!("\"user_id\":{}", self.quote(&user)),
        ];
        self.optional(&mut members, "id", id.as_deref());
        self.optional(&mut members, "timestamp", at.as_ref().map(|at| at.text.as_str()));
        self.raw(&mut members, "properties", properties.as_deref());
        members.extend(extra.iter().map(|(name, raw)| format!("\"{name}\": {raw}")));
        let json = self.object(members);
        (Item::Event(Event { user, id, name, at, properties, extra }), json)
    }

    fn profile(&mut self) -> (Item, String) {
        let nonce = self.nonce();
        let user = self.user();
        let at = self.percent(60).then(|| self.at());
        let names = ["mkt_name", "mkt_grade", "mkt_email_opt_in", "점수 \"x\"", "a.b"];
        let mut properties = BTreeMap::new();
        for _ in 0..self.rng.usize(0..4) {
            // Some names always come with a time, some never, some either way.
            let pool = ["m", if at.is_some() { "t" } else { "n" }][self.rng.usize(..2)];
            let name = format!("{pool}_{}", names[self.rng.usize(..names.len())]);
            let value = self.rng.u32(..6).ne(&0).then(|| self.value(&nonce));
            properties.insert(name, value);
        }
        let listed: Vec<String> = properties
            .iter()
            .map(|(n, v)| format!("{}: {}", self.quote(n), v.as_deref().unwrap_or("null")))
            .collect();
        let text = format!("{{ {} }}", listed.join(" , "));
        let mut members = vec![format!("\"user_id\":{}", self.quote(&user))];
        let text = (!properties.is_empty() || self.rng.bool()).then_some(text);
        self.raw(&mut members, "properties", text.as_deref());
        self.optional(&mut members, "timestamp", at.as_ref().map(|at| at.text.as_str()));
        let json = self.object(members);
        (Item::Profile(Profile { user, at, properties }), json)
    }

    fn device_item(&mut self) -> (Item, String) {
        let nonce = self.nonce();
        let device_id = self.device();
        let unlink = self.percent(15);
        let user = (!unlink || self.percent(70)).then(|| self.user());
        let at = self.percent(60).then(|| self.at());
        // The same of a device at all times: what an unlinking item says of it is not specified.
        let platform = ["android", "ios", "web"][device_id.len() % 3];
        let mut members = vec![
            format!("\"device_id\":{}", self.quote(&device_id)),
            format!("\"platform\":\"{platform}\""),
        ];
        let mut cells = BTreeMap::new();
        cells.insert("platform".to_owned(), Some(format!("\"{platform}\"")));
        if !unlink {
            for field in ["token", "idfv"] {
                if self.rng.bool() {
                    let text = format!("{field} {nonce}");
                    members.push(format!("\"{field}\":{}", self.quote(&text)));
                    cells.insert(field.to_owned(), serde_json::to_string(&text).ok());
                }
            }
            let name = if at.is_some() { "app_version" } else { "os_version" };
            let value = self.rng.u32(..6).ne(&0).then(|| self.value(&nonce));
            let raw = value.as_deref().unwrap_or("null");
            members.push(format!("\"properties\":{{\"{name}\":{raw}}}"));
            cells.insert(format!("properties.{name}"), value);
        }
        self.optional(&mut members, "user_id", user.as_deref());
        self.optional(&mut members, "timestamp", at.as_ref().map(|at| at.text.as_str()));
        if unlink || self.percent(10) {
            members.push(format!("\"remove_user_id\":{unlink}"));
        }
        let json = self.object(members);
        (Item::Device(Device { user, device_id, at, cells, unlink }), json)
    }

    /// One of few times long before now, so that some are equal, in many notations.
    fn at(&mut self) -> At {
        const DAY_US: i64 = 24 * 3600 * 1_000_000;
        let day = self.now_us / DAY_US - 2 - self.rng.i64(0..3) * 90;
        let fraction = [0, 0, 500_000, 123_456][self.rng.usize(..4)];
        let us = day * DAY_US + self.rng.i64(0..4) * 1_000_000 + fraction;
        let Ok(time) = Timestamp::from_microsecond(us) else { return self.at() };
        let text = match self.rng.u32(..3) {
            0 => time.to_string(),
            1 => {
                let zone = TimeZone::fixed(Offset::constant(9));
                let zoned = time.to_zoned(zone);
                zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
            }
            _ => {
                let zone = TimeZone::fixed(Offset::constant(-3));
                let zoned = time.to_zoned(zone);
                zoned.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
            }
        };
        At { text, us }
    }

    /// The text of an object that says the nonce.
    fn properties(&mut self, nonce: &str) -> String {
        let mut members = vec![format!("\"nonce\" :  \"{nonce}\"")];
        for name in ["mkt_revenue", "mkt_items", "주문"] {
            if self.rng.bool() {
                members.push(format!("{}:{}", self.quote(name), self.value(nonce)));
            }
        }
        if self.mix.large && self.percent(3) {
            let pad = "x".repeat(self.rng.usize(1_000..50_000));
            members.push(format!("\"pad\":\"{pad}\""));
        }
        self.rng.shuffle(&mut members);
        format!("{{ {} }}", members.join(", "))
    }

    /// The text of a value that says the nonce, in one way or another; rarely one that does not.
    fn value(&mut self, nonce: &str) -> String {
        let number: String = nonce.bytes().map(|b| format!("{:02}", b % 100)).collect();
        match self.rng.u32(..12) {
            0 => "true".into(),
            1 => "false".into(),
            2 => format!("9{number}1234567890123456789012345678901234567890"),
            3 => format!("-1.{number}00"),
            4 => format!("[1, 2.50,\"{nonce}\" ,{{\"deep\":[[[ ]]]}}]"),
            5 => format!("{{\"b\" : \"{nonce}\", \"a\":1E5, \"c\":null}}"),
            6 => format!("\"\\u00fc\\ud83d\\ude00 {nonce} \\/\\n\\\"\""),
            7 => format!("\"한국어 {nonce} 😀\""),
            _ => format!("\"v {nonce}\""),
        }
    }

    /// A JSON string; sometimes with escapes that need not be.
    fn quote(&mut self, text: &str) -> String {
        if self.percent(85) {
            return serde_json::to_string(text).unwrap_or_default();
        }
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{units}\"")
    }

    fn optional(&mut self, members: &mut Vec<String>, name: &str, text: Option<&str>) {
        match text {
            Some(text) => members.push(format!("\"{name}\":{}", self.quote(text))),
            None if self.percent(10) => members.push(format!("\"{name}\":null")),
            None => {}
        }
    }

    fn raw(&mut self, members: &mut Vec<String>, name: &str, text: Option<&str>) {
        match text {
            Some(text) => members.push(format!("\"{name}\":{text}")),
            None if self.percent(10) => members.push(format!("\"{name}\":null")),
            None => {}
        }
    }

    fn object(&mut self, mut members: Vec<String>) -> String {
        self.rng.shuffle(&mut members);
        let space = if self.percent(10) { " " } else { "" };
        format!("{{{space}{}{space}}}", members.join(","))
    }
}
