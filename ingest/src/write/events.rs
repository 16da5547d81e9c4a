//! Events become records, each under an id: the client's, a derived one, or a new one.

use std::borrow::Cow;

use millrace_schema::parse::{EventItem, Parser};
use millrace_schema::record::{Body, Event};
use millrace_schema::time::Micros;
use millrace_schema::{Topic, id};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::call::Call;
use super::submit::{Submitted, batch_for, push};
use crate::context::Context;
use crate::error::ApiError;

/// The bits of a UUIDv7 below its variant: random, so they may count (RFC 9562, section 6.2).
const COUNTER_MASK: u128 = (1 << 62) - 1;

/// Parses a body and appends its events.
pub(super) fn submit(
    ctx: &Context,
    call: &Call,
    body: &[u8],
    parser: &mut Parser,
) -> Result<Submitted, ApiError> {
    let received_us = ctx.clock.now_us();
    let parsed = parser.events(body, call.format, &ctx.config.limits, received_us);
    let (items, rejected) = call.judge(ctx, parsed.map_err(ApiError::Invalid)?)?;
    let mut batch = batch_for(items.len(), body);
    let mut ids = Ids::new(call.project(), call.idempotency_key(), received_us);
    for item in items {
        let mut text = [0; Hyphenated::LENGTH];
        let event = ids.identify(item, &mut text);
        let record = Body::Event(event);
        push(&mut batch, ctx.partitions, Topic::Events, call.project(), received_us, record);
    }
    Ok(Submitted::new(ctx, batch, rejected))
}

/// Gives ids to the events of one request.
struct Ids<'c> {
    project: &'c str,
    idempotency_key: Option<&'c [u8]>,
    received_us: Micros,
    /// The last new id; its successors share its random part.
    last: Option<Uuid>,
}

impl<'c> Ids<'c> {
    fn new(project: &'c str, idempotency_key: Option<&'c [u8]>, received_us: Micros) -> Self {
        Self { project, idempotency_key, received_us, last: None }
    }

    /// The event under its id, whose text goes into `text` if it is not the client's.
    fn identify<'a>(
        &mut self,
        item: EventItem<'a>,
        text: &'a mut [u8; Hyphenated::LENGTH],
    ) -> Event<'a> {
        if let Some(id) = item.id {
            return item.into_event(Cow::Borrowed(id));
        }
        if let Some(key) = self.idempotency_key {
            let index = item.index.to_string();
            let parts = [self.project.as_bytes(), key, index.as_bytes(), item.raw.as_bytes()];
            let id = id::derived_id(&parts).hyphenated().encode_lower(text);
            return item.into_event(Cow::Borrowed(id));
        }
        let id = self.next_new().hyphenated().encode_lower(text);
        let mut event = item.into_event(Cow::Borrowed(id));
        // Nobody else can send this id, so nobody needs to look it up.
        event.time_us = event.time_us.or(Some(self.received_us));
        event
    }

    fn next_new(&mut self) -> Uuid {
        let id = match self.last {
            None => id::new_id(self.received_us),
            Some(last) => {
                let bits = last.as_u128();
                Uuid::from_u128((bits & !COUNTER_MASK) | (bits.wrapping_add(1) & COUNTER_MASK))
            }
        };
        self.last = Some(id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED_US: Micros = 1_737_092_362_000_000;

    fn item(index: usize, id: Option<&'static str>, time_us: Option<Micros>) -> EventItem<'static> {
        EventItem {
            index,
            raw: "{}",
            user: "u",
            id,
            name: "n",
            time_us,
            properties: None,
            extra: None,
        }
    }

    fn identified(ids: &mut Ids<'_>, item: EventItem<'static>) -> (String, Option<Micros>) {
        let mut text = [0; Hyphenated::LENGTH];
        let event = ids.identify(item, &mut text);
        (event.id.into_owned(), event.time_us)
    }

    #[test]
    fn a_clients_id_is_kept_and_its_time_is_not_made_up() {
        let mut ids = Ids::new("p", Some(b"key"), RECEIVED_US);
        assert_eq!(identified(&mut ids, item(0, Some("a"), None)), ("a".into(), None));
        assert_eq!(identified(&mut ids, item(0, Some("a"), Some(5))), ("a".into(), Some(5)));
    }

    #[test]
    fn an_idempotency_key_gives_the_same_id_again() {
        let id = |key: &[u8], index| {
            identified(&mut Ids::new("p", Some(key), RECEIVED_US), item(index, None, None))
        };
        assert_eq!(id(b"k", 0), id(b"k", 0));
        assert_eq!(id(b"k", 0).1, None);
        assert_ne!(id(b"k", 0), id(b"k", 1));
        assert_ne!(id(b"k", 0), id(b"l", 0));
        let expected = id::derived_id(&[b"p", b"k", b"0", b"{}"]).to_string();
        assert_eq!(id(b"k", 0).0, expected);
    }

    #[test]
    fn new_ids_differ_are_version_7_and_carry_the_time_of_receipt() {
        let mut ids = Ids::new("p", None, RECEIVED_US);
        ids.last = Some(Uuid::from_u128(id::new_id(RECEIVED_US).as_u128() | COUNTER_MASK));
        let mut seen = std::collections::HashSet::new();
        for index in 0..3 {
            let (id, time_us) = identified(&mut ids, item(index, None, None));
            let uuid = Uuid::parse_str(&id).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
            assert_eq!(id::time_of_id_us(&id, RECEIVED_US), Some(RECEIVED_US));
            assert_eq!(time_us, Some(RECEIVED_US));
            assert!(seen.insert(id));
        }
        assert_eq!(identified(&mut ids, item(9, None, Some(5))).1, Some(5));
    }
}
