//! What can be wrong with a line, and what is said of all of them.

use std::fmt::Write;

use millrace_schema::limits::{RESERVED_USER_ID_PREFIX, USER_ID_BYTES};

/// Bad lines that are listed; the rest is counted.
const LISTED_MAX: usize = 20;
/// Bytes of one line, or row, about.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::deletion) enum Fault {
    /// Nothing stands where the id should.
    #[error("the id is empty")]
    Empty,
    /// Too long for an id.
    #[error("the id has {0} bytes; at most {USER_ID_BYTES} are allowed")]
    TooLong(usize),
    /// Of somebody else than the id without it.
    #[error(
        "the id begins or ends with white space: take it out, or use --keep-spaces if it belongs \
         to the id"
    )]
    Spaces,
    /// Of the server's own.
    #[error("ids that begin with `{RESERVED_USER_ID_PREFIX}` are reserved")]
    Reserved,
    /// Some other encoding.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Longer than any id with what may stand around it.
    #[error("it has more than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// Not the JSON that it should be.
    #[error("{0}")]
    Json(String),
    /// An object without an id.
    #[error("it has no `user_id`")]
    NoUserId,
    /// What holds for a job stands in a line.
    #[error("`erase` holds for all users of a job; take it out, and use --erase")]
    Erase,
    /// A row that is too short.
    #[error("it has {columns} columns, and the ids are in column {wanted}")]
    NoColumn {
        /// How many it has.
        columns: usize,
        /// From 1.
        wanted: usize,
    },
}

/// Refuses what the server would; and white space around an id, unless it is to be kept: the server
/// takes it for a part of the id, and erases nobody.
pub(super) fn checked(id: &str, keep_spaces: bool) -> Result<String, Fault> {
    match id.len() {
        0 => Err(Fault::Empty),
        bytes if bytes > USER_ID_BYTES => Err(Fault::TooLong(bytes)),
        _ if id.starts_with(RESERVED_USER_ID_PREFIX) => Err(Fault::Reserved),
        _ if !keep_spaces && id.trim() != id => Err(Fault::Spaces),
        _ => Ok(id.to_owned()),
    }
}

/// The bad lines of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::deletion) struct Faults {
    pub(in crate::deletion) total: u64,
    first: Vec<(u64, Fault)>,
}

impl Faults {
    pub(in crate::deletion) fn add(&mut self, line: u64, fault: Fault) {
        self.total += 1;
        if self.first.len() < LISTED_MAX {
            self.first.push((line, fault));
        }
    }

    /// One line of text for each that is listed.
    pub(in crate::deletion) fn listing(&self) -> String {
        let mut text = String::new();
        for (line, fault) in &self.first {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  line {line}: {fault}");
        }
        let more = self.total - self.first.len() as u64;
        if more > 0 {
            let _ = write!(text, "\n  and {more} more");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_refused_as_the_server_would() {
        assert_eq!(checked(&"é".repeat(128), true), Ok("é".repeat(128)));
        assert_eq!(checked(&"é".repeat(129), true), Err(Fault::TooLong(258)));
        assert_eq!(checked("", true), Err(Fault::Empty));
        assert_eq!(checked("ad_log:x", true), Err(Fault::Reserved));
    }

    #[test]
    fn white_space_around_an_id_is_a_fault_unless_it_is_to_be_kept() {
        for id in [" a", "a ", "a\t", "a\r", "\u{3000}a", "a\u{a0}", " "] {
            assert_eq!(checked(id, false), Err(Fault::Spaces), "{id:?}");
            assert_eq!(checked(id, true), Ok(id.to_owned()));
        }
        assert_eq!(checked("a b", false), Ok("a b".to_owned()));
    }

    #[test]
    fn twenty_bad_lines_are_listed_and_the_rest_is_counted() {
        let mut faults = Faults::default();
        for line in 1..=23 {
            faults.add(line, Fault::Empty);
        }
        let text = faults.listing();
        assert_eq!(text.lines().count(), 22);
        assert!(text.contains("line 20: the id is empty\n  and 3 more"), "{text}");
    }
}
