//! Who is loaded and then erased: ids, and the bodies that make a user.

use std::fmt::Write as _;

use millrace_schema::time::{Micros, format_us, wall_clock_us};

use crate::workload::KINDS;

/// Events of each user.
pub(super) const EVENTS: u64 = 10;
/// Items of a request.
const ITEMS: u64 = 1_000;
/// Between two events of a user.
const STEP_US: Micros = 3 * 24 * 3600 * 1_000_000;
/// A prime: neighbours in time are no neighbours in the store.
const STRIDE: u64 = 2_654_435_761;
/// What is sent of each user: events, the profile, the device.
const PASSES: u64 = EVENTS + 2;

/// Users that differ from those of other names.
#[derive(Clone, Copy, Debug)]
pub(super) struct People {
    name: char,
    number: u32,
    pub(super) count: u64,
    now_us: Micros,
}

/// One request's worth.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) path: &'static str,
    pub(super) text: String,
}

impl People {
    pub(super) fn new(name: char, number: u32, count: u64) -> Self {
        Self { name, number, count, now_us: wall_clock_us() }
    }

    /// The id of one of them.
    pub(super) fn id(&self, nth: u64) -> String {
        format!("{}{:03}-{nth:08}", self.name, self.number)
    }

    /// Their ids, in calls of `most` each.
    pub(super) fn calls(&self, most: u64) -> impl Iterator<Item = Vec<String>> {
        let starts = (0..self.count).step_by(usize::try_from(most).unwrap_or(usize::MAX));
        starts.map(move |start| self.range(start, most).map(|nth| self.id(nth)).collect())
    }

    /// Which of them, from a place in the order in which they are loaded.
    pub(super) fn range(&self, start: u64, most: u64) -> impl Iterator<Item = u64> {
        let count = self.count;
        (start..count.min(start.saturating_add(most)))
            .map(move |at| at.wrapping_mul(STRIDE) % count)
    }

    /// How many bodies there are.
    pub(super) fn bodies(&self) -> u64 {
        PASSES * self.count.div_ceil(ITEMS)
    }

    /// One of the bodies: first all events, then all profiles, then all devices.
    pub(super) fn body(&self, number: u64) -> Body {
        let each = self.count.div_ceil(ITEMS).max(1);
        let (pass, start) = (number / each, number % each * ITEMS);
        let (path, list) = match pass {
            0..EVENTS => ("/v1/api/events", "events"),
            EVENTS => ("/v1/api/profile/user", "profiles"),
            _ => ("/v1/api/profile/user/device/bulk", "devices"),
        };
        let mut text = format!("{{\"{list}\":[");
        for (place, nth) in self.range(start, ITEMS).enumerate() {
            if place > 0 {
                text.push(',');
            }
            match pass {
                0..EVENTS => self.event(&mut text, nth, pass),
                EVENTS => self.profile(&mut text, nth),
                _ => self.device(&mut text, nth),
            }
        }
        text.push_str("]}");
        Body { path, text }
    }

    /// An event as it is sent.
    pub(super) fn event(&self, out: &mut String, nth: u64, pass: u64) {
        let at = format_us(self.event_us(pass));
        let Some((name, properties)) = KINDS.iter().cycle().nth((nth + pass) as usize % 4) else {
            return;
        };
        // Writing to a string does not fail.
        let _ = write!(
            out,
            r#"{{"id":"{}","name":"{name}","user_id":"{}","timestamp":"{at}","properties":{properties}}}"#,
            self.event_id(nth, pass),
            self.id(nth),
        );
    }

    /// When a user's event of a pass was.
    pub(super) fn event_us(&self, pass: u64) -> Micros {
        self.now_us - STEP_US * (pass.min(EVENTS) as Micros + 1)
    }

    /// Its id.
    pub(super) fn event_id(&self, nth: u64, pass: u64) -> String {
        format!("{nth:08x}-{pass:04x}-4000-8000-{:012x}", self.number)
    }

    fn profile(&self, out: &mut String, nth: u64) {
        let _ = write!(
            out,
            r#"{{"user_id":"{}","properties":{{"mkt_name":"Mina {nth}","mkt_email":"mina{nth}@mail.example","mkt_phone_number":"+82-10-{nth:08}","mkt_grade":"gold","mkt_email_opt_in":true}}}}"#,
            self.id(nth),
        );
    }

    /// The id of a user's device.
    pub(super) fn device_id(&self, nth: u64) -> String {
        format!("gaid:{}", self.id(nth))
    }

    fn device(&self, out: &mut String, nth: u64) {
        let _ = write!(
            out,
            r#"{{"device_id":"{}","user_id":"{}","platform":"android","token":"t-{nth:032}","properties":{{"os_version":"16","app_version":"3.1.4"}}}}"#,
            self.device_id(nth),
            self.id(nth),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millrace_schema::limits::Limits;
    use millrace_schema::parse::{Format, Parser};

    use super::*;

    #[test]
    fn every_user_has_ten_events_a_profile_and_a_device_and_is_erased_once() {
        let people = People::new('t', 7, 2_500);
        let (mut parser, limits, now_us) = (Parser::new(), Limits::default(), wall_clock_us());
        let mut seen: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for number in 0..people.bodies() {
            let Body { path, text } = people.body(number);
            let mut see = |user: &str| *seen.entry((path, user.to_owned())).or_default() += 1;
            let bytes = text.as_bytes();
            if path.ends_with("events") {
                let parsed = parser.events(bytes, Format::Json, &limits, now_us).unwrap();
                assert_eq!(parsed.errors.total, 0);
                parsed.items.iter().for_each(|item| see(item.user));
            } else {
                let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                let lists = json.as_object().unwrap().values();
                let items = lists.flat_map(|list| list.as_array().unwrap());
                items.for_each(|item| see(item["user_id"].as_str().unwrap()));
            }
        }
        let of = |path: &str, n: u64| {
            seen.iter().filter(|((at, _), count)| *at == path && **count == n).count()
        };
        assert_eq!(of("/v1/api/events", EVENTS), 2_500);
        assert_eq!(of("/v1/api/profile/user", 1), 2_500);
        assert_eq!(of("/v1/api/profile/user/device/bulk", 1), 2_500);
        let mut ids: Vec<String> = people.calls(1_000).flatten().collect();
        assert_eq!(people.calls(1_000).count(), 3);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2_500);
    }
}
