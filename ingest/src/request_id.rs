//! The id under which a request is found again: the caller's, or a new one.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use millrace_schema::limits::REQUEST_ID_BYTES;
use millrace_schema::time::wall_clock_us;

/// The header, both ways.
pub(crate) const X_REQUEST_ID: &str = "x-request-id";

/// Makes request ids that differ within this process and, but for clocks that jump, between
/// processes. They are no secret.
#[derive(Debug)]
pub(crate) struct RequestIds {
    started_us: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { started_us: wall_clock_us().unsigned_abs(), next: AtomicU64::new(1) }
    }

    /// The caller's id, if it is printable ASCII within the limit; else a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_usable(given.as_bytes()) => given.clone(),
            _ => self.new_id(),
        }
    }

    fn new_id(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = [b'-'; 2 * HEX_DIGITS + 1];
        write_hex(&mut id[..HEX_DIGITS], self.started_us);
        write_hex(&mut id[HEX_DIGITS + 1..], number);
        HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

/// Digits of each half of an id.
const HEX_DIGITS: usize = 16;

/// Writes the lowest digits of a number.
fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn is_usable(id: &[u8]) -> bool {
    let printable = |b: &u8| b.is_ascii_graphic() || *b == b' ';
    !id.is_empty() && id.len() <= REQUEST_ID_BYTES && id.iter().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usable_id_is_taken_over_and_any_other_replaced() {
        let ids = RequestIds::new();
        let of = |given: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
            ids.of(&headers)
        };
        let longest = [b'a'; REQUEST_ID_BYTES];
        for taken in [&b"abc-1"[..], &b"a b~"[..], &longest] {
            assert_eq!(of(taken).as_bytes(), taken);
        }
        let too_long = [b'a'; REQUEST_ID_BYTES + 1];
        for refused in [&b""[..], "caf\u{e9}".as_bytes(), b"a\tb", &too_long] {
            let new = of(refused);
            assert_ne!(new.as_bytes(), refused);
            assert!(is_usable(new.as_bytes()));
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }
}
