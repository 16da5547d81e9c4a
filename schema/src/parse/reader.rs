//! The buffers, and the filling of them: a body, or a line of one, becomes a tape.

use std::mem;

use memchr::memchr;
use simd_json::{Buffers, INPUT_PADDING, Node, Tape, fill_tape_padded};

use super::cursor::Cursor;
use super::fault::Fault;
use super::locate::{self, Text};
use crate::error::ItemErrors;

/// Buffers above this size are not kept.
const KEPT_BYTES: usize = 1024 * 1024;

/// What is kept from one body to the next.
#[derive(Default)]
pub(super) struct Reader {
    /// A copy of the body: simd-json unescapes strings in place.
    scratch: Vec<u8>,
    work: Work,
}

/// What a document needs only until its items are read.
struct Work {
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Default for Work {
    fn default() -> Self {
        Self { buffers: Buffers::new(0), tape: Tape(Vec::new()) }
    }
}

/// A document that was read.
pub(super) struct Document<'t, 'a> {
    text: &'a str,
    tape: &'t Tape<'a>,
    buffers: &'t Buffers,
}

impl<'t, 'a> Document<'t, 'a> {
    pub(super) fn cursor(&self) -> Cursor<'t, 'a> {
        Cursor::new(self.text, self.tape, self.buffers)
    }
}

impl Reader {
    /// Reads a whole body.
    pub(super) fn document<'a, T>(
        &'a mut self,
        body: &'a [u8],
        kind: Text,
        read: impl FnOnce(Document<'_, 'a>) -> T,
    ) -> Result<T, ItemErrors> {
        let Self { scratch, work } = self;
        let scratch = grow(scratch, body.len() + INPUT_PADDING);
        work.with_tape(body.len(), |buffers, tape| match fill(body, scratch, buffers, tape) {
            Ok(text) => Ok(read(Document { text, tape, buffers })),
            Err(byte) => {
                let (item, fault) = locate::locate(body, kind, byte);
                Err(fault.alone(item, None))
            }
        })
    }

    /// Reads each of `count` lines for itself; `read` takes its index with the document or what is
    /// wrong.
    pub(super) fn lines<'a>(
        &'a mut self,
        lines: Lines<'a>,
        count: usize,
        mut read: impl FnMut(usize, Result<Document<'_, 'a>, Fault>),
    ) {
        let Self { scratch, work } = self;
        let bytes = lines.rest.len();
        let mut scratch = grow(scratch, bytes + count * INPUT_PADDING);
        work.with_tape(bytes, |buffers, tape| {
            for (index, line) in lines.take(count).enumerate() {
                let Some((chunk, rest)) =
                    mem::take(&mut scratch).split_at_mut_checked(line.len() + INPUT_PADDING)
                else {
                    return;
                };
                scratch = rest;
                let document = match fill(line, chunk, buffers, tape) {
                    Ok(text) => Ok(Document { text, tape, buffers }),
                    Err(byte) => Err(locate::locate(line, Text::Line, byte).1),
                };
                read(index, document);
            }
        });
    }
}

impl Work {
    /// Lends the buffers for documents of up to `bytes`, and keeps them only if they stay small.
    fn with_tape<'a, T>(
        &mut self,
        bytes: usize,
        fill: impl FnOnce(&mut Buffers, &mut Tape<'a>) -> T,
    ) -> T {
        let mut tape = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let result = fill(&mut self.buffers, &mut tape);
        let node_bytes = tape.0.capacity() * size_of::<Node<'_>>();
        if bytes.max(node_bytes) > KEPT_BYTES {
            *self = Self::default();
        } else {
            self.tape = tape.reset();
        }
        result
    }
}

/// At least `bytes` of scratch; what was kept beyond need and measure is given back.
fn grow(scratch: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if scratch.len() > KEPT_BYTES && bytes <= KEPT_BYTES {
        *scratch = Vec::new();
    }
    if scratch.len() < bytes {
        scratch.resize(bytes, 0);
    }
    scratch
}

/// Reads `text` by way of its copy in `scratch`, which is longer by [`INPUT_PADDING`] or more.
/// Fails with the byte at which the parser gave up.
fn fill<'a>(
    text: &'a [u8],
    scratch: &'a mut [u8],
    buffers: &mut Buffers,
    tape: &mut Tape<'a>,
) -> Result<&'a str, usize> {
    let checked = simdutf8::basic::from_utf8(text).map_err(|_| 0_usize)?;
    if let Some(copy) = scratch.get_mut(..text.len()) {
        copy.copy_from_slice(text);
    }
    fill_tape_padded(scratch, text.len(), buffers, tape).map_err(|error| error.index())?;
    Ok(checked)
}

/// The lines of a body that are not empty.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            let (line, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest.get(1..).unwrap_or_default();
            if !line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                return Some(line);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes_of(reader: &mut Reader, body: &[u8]) -> Result<usize, ItemErrors> {
        reader.document(body, Text::Body { member: "" }, |document| document.tape.0.len())
    }

    #[test]
    fn small_buffers_are_kept_and_large_ones_given_back() {
        let mut reader = Reader::default();
        assert_eq!(nodes_of(&mut reader, b"[1,2]"), Ok(3));
        let kept = reader.work.tape.0.capacity();
        assert!(kept >= 3);
        assert_eq!(nodes_of(&mut reader, b"[1]"), Ok(2));
        assert_eq!(reader.work.tape.0.capacity(), kept);
        let large = format!("[{}1]", "1,".repeat(KEPT_BYTES));
        assert_eq!(nodes_of(&mut reader, large.as_bytes()), Ok(KEPT_BYTES + 2));
        assert_eq!(reader.work.tape.0.capacity(), 0);
        assert_eq!(nodes_of(&mut reader, b"[1]"), Ok(2));
        assert!(reader.scratch.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn what_an_earlier_body_left_in_the_buffers_is_not_read() {
        let mut reader = Reader::default();
        for (body, good) in [
            ("[true,\"\\n\",12345678,1.12345678]", true),
            ("[tru", false),
            ("1.1234567", true),
            ("1.", false),
            ("tru", false),
            ("\"\\ud83d", false),
            ("12", true),
            ("", false),
        ] {
            assert_eq!(nodes_of(&mut reader, body.as_bytes()).is_ok(), good, "{body}");
        }
    }

    #[test]
    fn lines_are_split_where_they_end() {
        let lines = |body: &'static str| {
            Lines::new(body.as_bytes()).map(|l| str::from_utf8(l).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\n\r\n \t\n"), [""; 0]);
        assert_eq!(lines("a\nb"), ["a", "b"]);
        assert_eq!(lines("a\r\n\n b \n"), ["a\r", " b "]);
        assert_eq!(lines("\u{c}\n"), ["\u{c}"]);
    }
}
