//! Time, as microseconds since 1970: parsing, printing, and the clock of the front door.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// The time on the wall, which may jump.
pub fn wall_clock_us() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A clock whose readings strictly increase within this process.
#[derive(Debug, Default)]
pub struct ReceiptClock(AtomicI64);

impl ReceiptClock {
    /// The time of receipt of one request, microseconds.
    pub fn now_us(&self) -> Micros {
        let wall = wall_clock_us();
        let next = |last: i64| Some(wall.max(last + 1));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(last) | Err(last) => wall.max(last + 1),
        }
    }
}

/// RFC 3339 in UTC with as many digits as needed: `2025-01-17T05:39:22.5Z`.
pub fn format_us(time_us: Micros) -> String {
    Timestamp::from_microsecond(time_us).map_or_else(|_| time_us.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_strictly_increase() {
        let clock = ReceiptClock::default();
        let mut last = 0;
        for _ in 0..1_000 {
            let now = clock.now_us();
            assert!(now > last);
            last = now;
        }
    }

    #[test]
    fn times_are_printed_in_utc() {
        assert_eq!(format_us(1_737_092_362_500_000), "2025-01-17T05:39:22.5Z");
    }
}
