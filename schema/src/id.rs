//! Ids: of events and jobs that came without one, and what a client's UUIDv7 says of its time.

use aws_lc_rs::digest::{Context, SHA256};
use uuid::{NoContext, Timestamp, Uuid};

use crate::limits;
use crate::time::Micros;

/// A new UUIDv7 of a time (milliseconds of it are kept, RFC 9562 section 5.7).
pub fn new_id(received_us: Micros) -> Uuid {
    let us = u64::try_from(received_us).unwrap_or_default();
    let nanos = u32::try_from(us % 1_000_000).unwrap_or_default() * 1_000;
    Uuid::new_v7(Timestamp::from_unix(NoContext, us / 1_000_000, nanos))
}

/// The id that an `Idempotency-Key` gives: a UUIDv8 (RFC 9562 section 5.8) of SHA-256 over the
/// parts, each preceded by its length (8 bytes, little-endian).
///
/// Parts of an item: project, key, index (decimal), the item's bytes as sent. Of a job: project,
/// key, body.
pub fn derived_id(parts: &[&[u8]]) -> Uuid {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Uuid::new_v8(bytes)
}

/// The time that an id says of itself: that of a UUIDv7, if it lies within the limits of a
/// timestamp received at `received_us`.
pub fn time_of_id_us(id: &str, received_us: Micros) -> Option<Micros> {
    let uuid = Uuid::try_parse(id).ok().filter(|u| u.get_version_num() == 7)?;
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    let us = i64::try_from(seconds).ok()?.checked_mul(1_000_000)? + i64::from(nanos / 1_000);
    let within = us >= limits::EARLIEST_US && us <= received_us.saturating_add(limits::FUTURE_US);
    within.then_some(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_v7_says_its_time_to_the_millisecond() {
        let us = 1_737_092_362_123_456;
        assert_eq!(time_of_id_us(&new_id(us).to_string(), us), Some(us / 1_000 * 1_000));
    }

    #[test]
    fn other_ids_and_times_outside_the_limits_say_nothing() {
        let us = 1_737_092_362_123_456;
        assert_eq!(time_of_id_us("order-17", us), None);
        assert_eq!(time_of_id_us(&Uuid::from_u128(1).to_string(), us), None);
        let later = new_id(us + limits::FUTURE_US + 1_000_000).to_string();
        assert_eq!(time_of_id_us(&later, us), None);
        assert_eq!(time_of_id_us(&new_id(limits::EARLIEST_US - 1_000_000).to_string(), us), None);
    }

    #[test]
    fn a_derived_id_depends_on_every_part_and_its_place() {
        let id = derived_id(&[b"p", b"key", b"0", b"{}"]);
        assert_eq!(id, derived_id(&[b"p", b"key", b"0", b"{}"]));
        assert_ne!(id, derived_id(&[b"pk", b"ey", b"0", b"{}"]));
        assert_eq!(id.get_version_num(), 8);
    }
}
