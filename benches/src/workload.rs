//! What is sent: bodies of realistic events, made once, with places for what differs.

use millrace_schema::time::{format_us, wall_clock_us};

/// Names and properties, sent in turn: what a shop's pages report.
pub(crate) const KINDS: [(&str, &str); 4] = [
    (
        "mkt_page_view",
        r#"{"mkt_session_id":"s-48213","mkt_page_title":"Spring jackets","mkt_page_path":"/c/jackets","mkt_url":"https://shop.example/c/jackets?sort=new"}"#,
    ),
    (
        "mkt_product_view",
        r#"{"mkt_session_id":"s-48213","mkt_items":[{"mkt_product_id":"P-1007","mkt_product_name":"Rain jacket \"Lake\"","mkt_category1":"Clothes","mkt_category2":"Jackets","mkt_brand":"Mill","mkt_product_price":39000}]}"#,
    ),
    (
        "mkt_add_to_cart",
        r#"{"mkt_session_id":"s-48213","mkt_items":[{"mkt_product_id":"P-1007","mkt_product_name":"Rain jacket","mkt_variant":"blue / M","mkt_product_price":39000,"mkt_quantity":1}]}"#,
    ),
    (
        "mkt_purchase",
        r#"{"mkt_order_id":"20260117-000931","mkt_revenue":64500.5,"mkt_items":[{"mkt_product_id":"P-1007","mkt_product_name":"Rain jacket","mkt_product_price":39000,"mkt_quantity":1},{"mkt_product_id":"P-2210","mkt_product_name":"Wool socks","mkt_product_price":8500.5,"mkt_quantity":3}]}"#,
    ),
];

/// Digits of an id that count, hexadecimal.
const SEQUENCE_DIGITS: usize = 12;
/// Digits of a user's number.
const USER_DIGITS: usize = 8;
/// So many different users, where nobody says.
pub(crate) const USERS: u64 = 100_000;
/// The characters that digits are written in.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Where the numbers of one event stand in a body.
#[derive(Clone, Copy, Debug)]
struct Place {
    sequence: usize,
    user: usize,
}

/// A body of events. Ids and users are renewed in place: a new body costs two numbers an event.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// The JSON text.
    pub(crate) bytes: Vec<u8>,
    places: Vec<Place>,
    users: u64,
}

/// Bodies of `items` events, to be sent in turn so that every kind is sent. No two connections
/// share a `source`, so that no two events share an id. They are of `users` different users.
pub(crate) fn bodies(items: usize, source: u64, users: u64) -> Vec<Body> {
    let count = KINDS.len().div_ceil(items.max(1));
    (0..count).map(|first| Body::new(items, first, source, users)).collect()
}

impl Body {
    fn new(items: usize, first: usize, source: u64, users: u64) -> Self {
        let timestamp = format_us(wall_clock_us());
        let (run, connection) = (source >> 16 & 0xffff_ffff, source & 0xffff);
        let (bytes, places) = (b"{\"events\":[".to_vec(), Vec::with_capacity(items));
        let mut body = Self { bytes, places, users: users.max(1) };
        for (i, (name, properties)) in KINDS.iter().cycle().skip(first).take(items).enumerate() {
            if i > 0 {
                body.push(",");
            }
            body.push(&format!(r#"{{"id":"{run:08x}-{connection:04x}-4000-8000-"#));
            let sequence = body.bytes.len();
            body.push(&"0".repeat(SEQUENCE_DIGITS));
            body.push(&format!(r#"","name":"{name}","user_id":"user-"#));
            let user = body.bytes.len();
            body.push(&"0".repeat(USER_DIGITS));
            body.push(&format!(r#"","timestamp":"{timestamp}","properties":{properties}}}"#));
            body.places.push(Place { sequence, user });
        }
        body.push("]}");
        body
    }

    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Puts a head before the body.
    pub(crate) fn prepend(&mut self, head: &[u8]) {
        self.bytes.splice(0..0, head.iter().copied());
        for place in &mut self.places {
            place.sequence += head.len();
            place.user += head.len();
        }
    }

    /// Gives every event a new id and another user. `sequence` is the connection's own.
    pub(crate) fn renew(&mut self, sequence: &mut u64) {
        for place in &self.places {
            *sequence += 1;
            // Fibonacci hashing: neighbours in time are no neighbours in the store.
            let user = (sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % self.users;
            write_number(&mut self.bytes, place.sequence, SEQUENCE_DIGITS, *sequence, 16);
            write_number(&mut self.bytes, place.user, USER_DIGITS, user, 10);
        }
    }

    /// Number of events.
    pub(crate) fn items(&self) -> usize {
        self.places.len()
    }
}

fn write_number(bytes: &mut [u8], start: usize, digits: usize, mut number: u64, base: u64) {
    for digit in bytes.iter_mut().skip(start).take(digits).rev() {
        *digit = DIGITS[(number % base) as usize];
        number /= base;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_schema::limits::Limits;
    use millrace_schema::parse::{Format, Parser};

    use super::*;

    #[test]
    fn every_event_is_valid_and_no_id_comes_twice() {
        let mut parser = Parser::new();
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        for connection in 0..2 {
            let mut sequence = 0;
            let renewals = [1, 1, 100, 100];
            for items in renewals {
                for mut body in bodies(items, 7 << 16 | connection, USERS) {
                    body.renew(&mut sequence);
                    let limits = Limits::default();
                    let now = wall_clock_us();
                    let parsed = parser.events(&body.bytes, Format::Json, &limits, now).unwrap();
                    assert_eq!((parsed.total, parsed.items.len()), (items, items));
                    for item in parsed.items {
                        assert!(ids.insert(item.id.unwrap().to_owned()), "{:?}", item.id);
                        names.insert(item.name.to_owned());
                    }
                }
            }
        }
        assert_eq!(ids.len(), 2 * (2 * KINDS.len() + 200));
        assert_eq!(names.len(), KINDS.len());
    }

    #[test]
    fn a_head_moves_the_places() {
        let mut body = Body::new(2, 0, 1, USERS);
        let length = body.bytes.len();
        body.prepend(b"HEAD");
        body.renew(&mut 0);
        assert_eq!(body.bytes.len(), length + 4);
        let text = String::from_utf8(body.bytes).unwrap();
        assert!(text.contains("-8000-000000000001\"") && text.contains("-8000-000000000002\""));
    }
}
