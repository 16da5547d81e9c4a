//! What is written past the product: the same events, as records for Kafka and as rows for the
//! database.

use std::borrow::Cow;

use anyhow::{Context, Result};
use millrace_schema::Record;
use millrace_schema::limits::Limits;
use millrace_schema::parse::{Format, Parser};
use millrace_schema::record::{self, Profile};
use millrace_schema::time::{Micros, wall_clock_us};
use millrace_schema::topic::partition_of;
use millrace_schema::user::write_user_key;

use crate::workload::{Body, bodies};

/// The project of everything here.
pub(super) const PROJECT: &str = "bench";
/// Events that are made at once.
const CHUNK: usize = 100;

/// A record as the front door would append it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) partition: u32,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// An event: its record, and what else its row has.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) entry: Entry,
    pub(super) user: String,
    pub(super) id: String,
    pub(super) time_us: Micros,
}

/// Makes events; no two share an id.
pub(super) struct Source {
    bodies: Vec<Body>,
    parser: Parser,
    partitions: u32,
    sequence: u64,
}

impl Source {
    pub(super) fn new(partitions: u32, users: u64) -> Self {
        // Milliseconds, 32 bits of them, tell one run from the next; generators' connections are
        // far below the last number.
        let run = (wall_clock_us() / 1_000).cast_unsigned();
        let bodies = bodies(CHUNK, run << 16 | u64::from(u16::MAX), users);
        Self { bodies, parser: Parser::new(), partitions, sequence: 0 }
    }

    /// The next events, in the order of the log.
    pub(super) fn events(&mut self, count: usize) -> Result<Vec<Event>> {
        let mut events = Vec::with_capacity(count + CHUNK);
        while events.len() < count {
            for body in &mut self.bodies {
                body.renew(&mut self.sequence);
                let now = wall_clock_us();
                let limits = Limits::default();
                let parsed = self.parser.events(&body.bytes, Format::Json, &limits, now);
                let parsed = parsed.ok().filter(|parsed| parsed.errors.total == 0);
                let parsed = parsed.context("a body of the generator is not valid")?;
                for item in parsed.items {
                    let id = Cow::from(item.id.context("an event without an id")?);
                    let event = item.into_event(id);
                    let (user, id) = (event.user.to_string(), event.id.to_string());
                    let time_us = event.time_us.context("an event without a time")?;
                    let entry = entry(self.partitions, &user, now, record::Body::Event(event));
                    events.push(Event { entry, user, id, time_us });
                }
            }
        }
        events.truncate(count);
        Ok(events)
    }
}

/// Changes of profiles, in turn of each of some users.
pub(super) fn profiles(partitions: u32, users: u64, count: usize) -> Vec<Entry> {
    let changes = (0..count as u64).map(|n| {
        let user = format!("user-{:08}", n % users.max(1));
        let now = wall_clock_us();
        let properties = format!(
            r#"{{"mkt_email":"{user}@shop.example","mkt_visits":{n},"mkt_language":"en","mkt_vip":true}}"#
        );
        let profile = Profile {
            user: Cow::from(&user),
            time_us: Some(now),
            properties: Some(properties.into()),
        };
        entry(partitions, &user, now, record::Body::Profile(profile))
    });
    changes.collect()
}

fn entry(partitions: u32, user: &str, received_us: Micros, body: record::Body<'_>) -> Entry {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    write_user_key(&mut key, PROJECT, user);
    Record { project: PROJECT.into(), received_us, body }.encode(&mut value);
    Entry { partition: partition_of(&key, partitions), key, value }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn events_have_ids_of_their_own_and_records_that_can_be_read() {
        let mut source = Source::new(4, 10);
        let events: Vec<Event> =
            [150, 7].into_iter().flat_map(|count| source.events(count).unwrap()).collect();
        assert_eq!(events.len(), 157);
        let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        let users: BTreeSet<_> = events.iter().map(|event| &event.user).collect();
        assert_eq!((ids.len(), users.len()), (157, 10));
        for Event { entry, user, .. } in &events {
            let record = Record::decode(&entry.value).unwrap();
            assert_eq!(record.body.user(), Some(user.as_str()));
            assert_eq!(entry.partition, partition_of(&entry.key, 4));
        }
    }

    #[test]
    fn profiles_have_records_that_can_be_read() {
        for entry in profiles(4, 2, 5) {
            assert!(matches!(Record::decode(&entry.value).unwrap().body, record::Body::Profile(_)));
        }
    }
}
