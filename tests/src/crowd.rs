//! Many users with a little of everything each: what is sent of them, and their deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::encoding::Encoding;
use crate::generator::{Prepared, path};
use crate::model::{At, Call, Device, Event, Item, Kind, Profile, Sent};

/// Items of a request.
const ITEMS: usize = 1_000;
/// A time long before any run.
const LONG_AGO: &str = "2026-01-17T05:39:22Z";
const LONG_AGO_US: i64 = 1_768_628_362_000_000;

/// The text of a user's item, and what it says.
type MakeItem = fn(&str) -> (String, Item);

/// Users of one name, numbered.
#[derive(Clone, Debug)]
pub struct Crowd {
    name: String,
    count: usize,
}

impl Crowd {
    /// `count` users that nobody else speaks of.
    pub fn new(name: &str, count: usize) -> Self {
        Self { name: name.to_owned(), count }
    }

    /// Their ids.
    pub fn users(&self) -> Vec<String> {
        (0..self.count).map(|n| format!("{}-{n:06}", self.name)).collect()
    }

    /// Some of them, by chance.
    pub fn sample(&self, rng: &mut fastrand::Rng, count: usize) -> BTreeSet<String> {
        let mut users = self.users();
        rng.shuffle(&mut users);
        users.truncate(count);
        users.into_iter().collect()
    }

    /// An event, a profile and a device of each. Sent again, it is the same.
    pub fn load(&self) -> Vec<Prepared> {
        let users = self.users();
        let kinds: [(&str, &str, MakeItem); 3] = [
            (path::EVENTS, "events", event),
            (path::PROFILES, "profiles", profile),
            (path::DEVICES, "devices", device),
        ];
        let mut requests = Vec::new();
        for (path, list, item) in kinds {
            for users in users.chunks(ITEMS) {
                let items = users.iter().enumerate().map(|(index, user)| {
                    let (json, item) = item(user);
                    Sent { index, json, item }
                });
                let items: Vec<Sent> = items.collect();
                let texts: Vec<&str> = items.iter().map(|sent| sent.json.as_str()).collect();
                let text = format!("{{\"{list}\":[{}]}}", texts.join(","));
                requests.push(prepared(path, text, Call::Items(items)));
            }
        }
        requests
    }

    /// The deletion of all of them, each named `times` times.
    pub fn deletion(&self, times: usize) -> Prepared {
        deletion(&self.users(), times)
    }
}

/// The deletion of some users in one request, each named `times` times.
pub fn deletion(users: &[String], times: usize) -> Prepared {
    let named: Vec<&str> =
        users.iter().flat_map(|user| std::iter::repeat_n(user.as_str(), times)).collect();
    let text = serde_json::json!({ "user_ids": named }).to_string();
    let users = users.iter().cloned().collect();
    prepared(path::DELETE_BULK, text, Call::Delete { users, reach: Kind::ALL.into() })
}

/// A request that says this.
pub fn prepared(path: &'static str, text: String, call: Call) -> Prepared {
    let (encoding, call) = (Encoding::Plain, Arc::new(call));
    Prepared { path, text, ndjson: false, lenient: false, key: None, encoding, call }
}

fn long_ago() -> Option<At> {
    Some(At { text: LONG_AGO.to_owned(), us: LONG_AGO_US })
}

fn event(user: &str) -> (String, Item) {
    let (id, name, properties) = (format!("id-{user}"), format!("mkt_login {user}"), "{\"a\":1}");
    let json = format!(
        r#"{{"id":"{id}","name":"{name}","user_id":"{user}","timestamp":"{LONG_AGO}","properties":{properties}}}"#
    );
    let (id, properties) = (Some(id), Some(properties.to_owned()));
    let (user, extra) = (user.to_owned(), BTreeMap::new());
    (json, Item::Event(Event { user, id, name, at: long_ago(), properties, extra }))
}

fn profile(user: &str) -> (String, Item) {
    let value = format!("\"{user}\"");
    let json = format!(
        r#"{{"user_id":"{user}","timestamp":"{LONG_AGO}","properties":{{"mkt_name":{value}}}}}"#
    );
    let properties = BTreeMap::from([("mkt_name".to_owned(), Some(value))]);
    (json, Item::Profile(Profile { user: user.to_owned(), at: long_ago(), properties }))
}

fn device(user: &str) -> (String, Item) {
    let device_id = format!("gaid:{user}");
    let json = format!(
        r#"{{"device_id":"{device_id}","user_id":"{user}","platform":"web","timestamp":"{LONG_AGO}"}}"#
    );
    let cells = BTreeMap::from([("platform".to_owned(), Some("\"web\"".to_owned()))]);
    let (user, at) = (Some(user.to_owned()), long_ago());
    (json, Item::Device(Device { user, device_id, at, cells, unlink: false }))
}
