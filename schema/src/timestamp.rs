//! Timestamps as clients send them: RFC 3339 with a zone, within the limits. Strict: what other
//! dialects of ISO 8601 allow (no zone, a space for the `T`, week dates, annotations) is refused.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::limits;
use crate::time::{Micros, format_us};

const FUTURE_HOURS: i64 = limits::FUTURE_US / 3_600_000_000;

/// Why a text is not a timestamp of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not the shape of RFC 3339, section 5.6.
    #[error("must be RFC 3339 with a zone, such as 2025-01-17T05:39:22Z")]
    Shape,
    /// The zone is missing.
    #[error("has no zone; append Z or an offset such as +09:00")]
    NoZone,
    /// There is no such day or time of day.
    #[error("names a day, a time or an offset that does not exist")]
    NoSuchTime,
    /// Before [`limits::EARLIEST_US`].
    #[error("lies before {}, the earliest that is accepted", format_us(limits::EARLIEST_US))]
    TooEarly,
    /// Beyond [`limits::FUTURE_US`].
    #[error("lies more than {FUTURE_HOURS} hours in the future; check the clock and the zone")]
    TooLate,
}

/// Reads a timestamp that was received at `received_us`. Digits beyond the microsecond are cut
/// off; a leap second counts as the second before it.
///
/// # Errors
/// Any other shape (RFC 3339, section 5.6), or a time outside the limits.
pub fn parse_us(text: &str, received_us: Micros) -> Result<Micros, TimestampError> {
    let (date_time, rest) = split_date_time(text.as_bytes())?;
    let (nanos, zone) = split_fraction(rest)?;
    let offset = parse_zone(zone)?;
    let local = to_civil(date_time, nanos)?;
    // The only civil times that jiff cannot place are the last hours of 9999.
    let time = offset.to_timestamp(local).map_err(|_| TimestampError::TooLate)?;
    let time_us = time.as_microsecond();
    if time_us < limits::EARLIEST_US {
        return Err(TimestampError::TooEarly);
    }
    if time_us > received_us.saturating_add(limits::FUTURE_US) {
        return Err(TimestampError::TooLate);
    }
    Ok(time_us)
}

/// `YYYY-MM-DDTHH:MM:SS`, and what follows.
fn split_date_time(text: &[u8]) -> Result<(&[u8; 19], &[u8]), TimestampError> {
    let (head, rest) = text.split_first_chunk::<19>().ok_or(TimestampError::Shape)?;
    let shaped = head.iter().enumerate().all(|(i, byte)| match i {
        4 | 7 => *byte == b'-',
        10 => matches!(byte, b'T' | b't'),
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    shaped.then_some((head, rest)).ok_or(TimestampError::Shape)
}

/// The nanoseconds of a `.fraction`, if there is one, and what follows.
fn split_fraction(rest: &[u8]) -> Result<(i32, &[u8]), TimestampError> {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Ok((0, rest));
    };
    let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, zone) = fraction.split_at_checked(digits).unwrap_or((fraction, &[]));
    if digits.is_empty() {
        return Err(TimestampError::Shape);
    }
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
    Ok((padded.fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')), zone))
}

fn parse_zone(zone: &[u8]) -> Result<Offset, TimestampError> {
    let (sign, [h1, h2, b':', m1, m2]) = (match zone {
        [b'Z' | b'z'] => return Ok(Offset::UTC),
        [] => return Err(TimestampError::NoZone),
        [b'+', hours_minutes @ ..] => (1, hours_minutes),
        [b'-', hours_minutes @ ..] => (-1, hours_minutes),
        _ => return Err(TimestampError::Shape),
    }) else {
        return Err(TimestampError::Shape);
    };
    if ![h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) {
        return Err(TimestampError::Shape);
    }
    let (hours, minutes) = (two_digits(*h1, *h2), two_digits(*m1, *m2));
    if hours > 23 || minutes > 59 {
        return Err(TimestampError::NoSuchTime);
    }
    let seconds = sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60);
    Offset::from_seconds(seconds).map_err(|_| TimestampError::NoSuchTime)
}

fn to_civil(text: &[u8; 19], nanos: i32) -> Result<DateTime, TimestampError> {
    let &[y1, y2, y3, y4, _, mo1, mo2, _, d1, d2, _, h1, h2, _, m1, m2, _, s1, s2] = text;
    let year = i16::from(two_digits(y1, y2)) * 100 + i16::from(two_digits(y3, y4));
    let second = match two_digits(s1, s2) {
        60 => 59,
        second => second,
    };
    DateTime::new(
        year,
        two_digits(mo1, mo2),
        two_digits(d1, d2),
        two_digits(h1, h2),
        two_digits(m1, m2),
        second,
        nanos,
    )
    .map_err(|_| TimestampError::NoSuchTime)
}

/// The number that two ASCII digits write.
const fn two_digits(tens: u8, ones: u8) -> i8 {
    ((tens - b'0') * 10 + (ones - b'0')) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED_US: Micros = 1_737_092_362_000_000;

    fn parse(text: &str) -> Result<Micros, TimestampError> {
        parse_us(text, RECEIVED_US)
    }

    #[test]
    fn rfc_3339_with_a_zone_is_read() {
        let table = [
            ("2025-01-17T05:39:22Z", RECEIVED_US),
            ("2025-01-17t05:39:22z", RECEIVED_US),
            ("2025-01-17T14:39:22+09:00", RECEIVED_US),
            ("2025-01-16T23:39:22-06:00", RECEIVED_US),
            ("2025-01-17T05:39:22-00:00", RECEIVED_US),
            ("2025-01-17T05:39:22.5Z", RECEIVED_US + 500_000),
            ("2025-01-17T05:39:22.1234569999999999Z", RECEIVED_US + 123_456),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
            ("1971-01-01T00:00:00Z", limits::EARLIEST_US),
            ("2025-01-18T05:39:22Z", RECEIVED_US + limits::FUTURE_US),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        use TimestampError::{NoSuchTime, NoZone, Shape, TooEarly, TooLate};
        let table = [
            ("", Shape),
            ("2025-01-17", Shape),
            ("2025-01-17T05:39Z", Shape),
            ("2025-01-17 05:39:22Z", Shape),
            ("20250117T053922Z", Shape),
            ("2025-W03-5T05:39:22Z", Shape),
            ("+002025-01-17T05:39:22Z", Shape),
            ("2025-01-17T05:39:22,5Z", Shape),
            ("2025-01-17T05:39:22.Z", Shape),
            ("2025-01-17T05:39:22+09", Shape),
            ("2025-01-17T05:39:22+0900", Shape),
            ("2025-01-17T05:39:22+09:00:00", Shape),
            ("2025-01-17T05:39:22Z[Europe/Paris]", Shape),
            ("2025-01-17T05:39:22+01:00[Europe/Paris]", Shape),
            ("2025-01-17T05:39:22Z ", Shape),
            (" 2025-01-17T05:39:22Z", Shape),
            ("2025-01-17T05:39:2\u{0662}Z", Shape),
            ("1737092362", Shape),
            ("2025-01-17T05:39:22", NoZone),
            ("2025-01-17T05:39:22.123", NoZone),
            ("2025-02-29T00:00:00Z", NoSuchTime),
            ("2025-13-01T00:00:00Z", NoSuchTime),
            ("2025-00-01T00:00:00Z", NoSuchTime),
            ("2025-01-17T24:00:00Z", NoSuchTime),
            ("2025-01-17T23:60:00Z", NoSuchTime),
            ("2025-01-17T23:59:61Z", NoSuchTime),
            ("2025-01-17T05:39:22+24:00", NoSuchTime),
            ("2025-01-17T05:39:22+09:60", NoSuchTime),
            ("0000-01-01T00:00:00Z", TooEarly),
            ("1970-12-31T23:59:59.999999Z", TooEarly),
            ("2025-01-18T05:39:22.000001Z", TooLate),
            ("9999-12-31T00:00:00Z", TooLate),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
