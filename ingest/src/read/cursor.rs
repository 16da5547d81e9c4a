//! Cursors: where a page ended, opaque to clients. Whatever was not made here is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_schema::limits::ID_BYTES;
use millrace_schema::time::Micros;
use uuid::Uuid;

/// The cursor after an event: time (8 bytes, big-endian), id.
pub(super) fn after_event(time_us: Micros, id: &str) -> String {
    encode(time_us, id.as_bytes())
}

/// The event that a cursor stands after.
pub(super) fn event(cursor: &str) -> Option<(Micros, String)> {
    let (time_us, id) = decode(cursor)?;
    let known = (1..=ID_BYTES).contains(&id.len());
    Some((time_us, String::from_utf8(id).ok().filter(|_| known)?))
}

/// The cursor after a job: time of acceptance (8 bytes, big-endian), id.
pub(super) fn after_job(accepted_us: Micros, job: Uuid) -> String {
    encode(accepted_us, job.as_bytes())
}

/// The job that a cursor stands after.
pub(super) fn job(cursor: &str) -> Option<(Micros, Uuid)> {
    let (accepted_us, id) = decode(cursor)?;
    Some((accepted_us, Uuid::from_slice(&id).ok()?))
}

fn encode(time_us: Micros, id: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([&time_us.to_be_bytes(), id].concat())
}

fn decode(cursor: &str) -> Option<(Micros, Vec<u8>)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (time, id) = bytes.split_first_chunk::<8>()?;
    Some((Micros::from_be_bytes(*time), id.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_stands_after_what_it_was_made_of() {
        let job_id = Uuid::from_u128(7);
        assert_eq!(event(&after_event(-1, "é/1")), Some((-1, "é/1".to_owned())));
        assert_eq!(job(&after_job(i64::MAX, job_id)), Some((i64::MAX, job_id)));
    }

    #[test]
    fn whatever_else_is_refused() {
        let long = after_event(1, &"x".repeat(ID_BYTES + 1));
        let not_utf8 = encode(1, &[0xff]);
        let bad = ["", "!", "AAAA", &after_event(1, ""), &long, &not_utf8, "AAAAAAAAAAB=", "é"];
        for cursor in bad {
            assert_eq!(event(cursor), None, "{cursor}");
        }
        assert_eq!(job(&after_event(1, "x")), None);
    }
}
