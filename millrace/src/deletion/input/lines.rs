//! One id a line, or one `{"user_id": …}` a line.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Entry;
use super::fault::{Fault, LINE_BYTES_MAX, checked};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Id,
    Object,
}

/// The lines of a list.
pub(super) struct Lines {
    from: Box<dyn BufRead + Send>,
    kind: Kind,
    /// Nobody said that a line is an id.
    guessed: bool,
    keep_spaces: bool,
    /// The last line's number.
    line: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// One id a line. If that is only `guessed`, the first line must not look like something else.
    pub(super) fn ids(from: Box<dyn BufRead + Send>, guessed: bool, keep_spaces: bool) -> Self {
        Self { from, kind: Kind::Id, guessed, keep_spaces, line: 0, buffer: Vec::new() }
    }

    /// One object a line. Empty lines are none, as for the server.
    pub(super) fn ndjson(from: Box<dyn BufRead + Send>, keep_spaces: bool) -> Self {
        Self { from, kind: Kind::Object, guessed: false, keep_spaces, line: 0, buffer: Vec::new() }
    }

    /// Reads a line; its end and a byte order mark are left out. `None` at the end.
    fn read(&mut self) -> io::Result<Option<Result<&[u8], Fault>>> {
        self.buffer.clear();
        let mut limited = self.from.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        let bytes = limited.read_until(b'\n', &mut self.buffer)?;
        if bytes == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes > LINE_BYTES_MAX && self.buffer.last() != Some(&b'\n') {
            skip_line(&mut self.from)?;
            return Ok(Some(Err(Fault::LineTooLong)));
        }
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let first = self.line == 1;
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| first).unwrap_or(line);
        Ok(Some(Ok(line)))
    }

    fn entry(&mut self) -> io::Result<Option<Entry>> {
        let (kind, keep_spaces) = (self.kind, self.keep_spaces);
        let unsure = self.guessed && self.line == 0;
        loop {
            let Some(line) = self.read()? else { return Ok(None) };
            let id = line.and_then(|line| match kind {
                Kind::Id => plain(line, keep_spaces).map(Some),
                Kind::Object => object(line, keep_spaces),
            });
            let Some(id) = id.transpose() else { continue };
            if let Ok(id) = &id
                && unsure
            {
                doubt(id)?;
            }
            return Ok(Some(Entry { line: self.line, id }));
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry().transpose()
    }
}

/// Refuses a first line that no list of ids begins with. Unknown users are no error, so a wrong
/// guess would erase nobody and look as if it had.
fn doubt(id: &str) -> io::Result<()> {
    let looks = if id.starts_with('[') {
        "JSON"
    } else if id.contains([',', ';', '\t']) {
        "a table"
    } else {
        return Ok(());
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "line 1 looks like {looks}, not like an id: say what the list is, with --format lines, \
             --format ndjson, or --format csv and --column"
        ),
    ))
}

fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let read = from.fill_buf()?;
        if read.is_empty() {
            return Ok(());
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        let bytes = end.map_or(read.len(), |end| end + 1);
        from.consume(bytes);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn plain(line: &[u8], keep_spaces: bool) -> Result<String, Fault> {
    checked(std::str::from_utf8(line).map_err(|_| Fault::NotUtf8)?, keep_spaces)
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    erase: Option<IgnoredAny>,
}

/// The id of an object; `None` if the line is empty.
fn object(line: &[u8], keep_spaces: bool) -> Result<Option<String>, Fault> {
    let text = std::str::from_utf8(line).map_err(|_| Fault::NotUtf8)?;
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let object: Object = serde_json::from_str(text).map_err(|error| json_fault(&error))?;
    if object.erase.is_some() {
        return Err(Fault::Erase);
    }
    checked(&object.user_id.ok_or(Fault::NoUserId)?, keep_spaces).map(Some)
}

fn json_fault(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    Fault::Json(format!("{what}, in column {}", error.column()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{options, read};
    use super::*;
    use crate::cli::{FormatName, InputOptions};

    fn good(id: &str) -> Result<String, Fault> {
        Ok(id.to_owned())
    }

    #[test]
    fn lines_end_as_on_any_system_and_begin_after_a_byte_order_mark() {
        let read = read("ids", b"\xef\xbb\xbfa\r\nb c\nlast", &options()).unwrap();
        assert_eq!(read, [(1, good("a")), (2, good("b c")), (3, good("last"))]);
    }

    #[test]
    fn bad_lines_are_named_by_number_and_the_next_ones_are_read() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let content = [b"a\n\n\xff\n".as_slice(), long.as_bytes(), b"\nb\n"].concat();
        let read = read("ids", &content, &options()).unwrap();
        let expected = [
            (1, good("a")),
            (2, Err(Fault::Empty)),
            (3, Err(Fault::NotUtf8)),
            (4, Err(Fault::LineTooLong)),
            (5, good("b")),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn white_space_around_an_id_is_named_by_its_line() {
        let (lines, objects) = (b" a\r\nb", b"{\"user_id\":\"a \"}\n{ \"user_id\": \"b\" } ");
        let keep = InputOptions { keep_spaces: true, ..options() };
        for (name, content, id) in [("ids", &lines[..], " a"), ("x.ndjson", &objects[..], "a ")] {
            let refused = read(name, content, &options()).unwrap();
            assert_eq!(refused, [(1, Err(Fault::Spaces)), (2, good("b"))]);
            assert_eq!(read(name, content, &keep).unwrap(), [(1, good(id)), (2, good("b"))]);
        }
    }

    #[test]
    fn the_longest_line_is_read_whole() {
        let fault = |bytes: usize| {
            let content = format!("{}\nb", "x".repeat(bytes));
            read("ids", content.as_bytes(), &options()).unwrap()
        };
        let (last, limit) = ((2, good("b")), LINE_BYTES_MAX);
        assert_eq!(fault(limit), [(1, Err(Fault::TooLong(limit))), last.clone()]);
        assert_eq!(fault(limit + 1), [(1, Err(Fault::LineTooLong)), last]);
    }

    #[test]
    fn objects_give_their_id_and_empty_lines_nothing() {
        let content = br#"{"user_id":"a\n\u00e9","name":"x"}

 {"name": {"user_id": 1}, "user_id": "b"}
{"user_id": 7}
{"id": "c"}
{"user_id": "d", "erase": ["events"]}
{"user_id": "e"
"#;
        let read = read("x.ndjson", content, &options()).unwrap();
        let lines: Vec<u64> = read.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7]);
        let ids: Vec<_> = read.into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids[..2], [good("a\né"), good("b")]);
        let texts: Vec<String> =
            ids[2..].iter().map(|id| id.clone().unwrap_err().to_string()).collect();
        assert!(
            texts[0].contains("expected a string") && texts[0].contains("column 13"),
            "{texts:?}"
        );
        assert_eq!(texts[1], "it has no `user_id`");
        assert!(texts[2].contains("--erase"));
        assert!(texts[3].contains("EOF"), "{texts:?}");
    }

    #[test]
    fn a_first_line_that_is_no_id_is_not_guessed_to_be_one() {
        for (content, looks) in [("u1,Mina\nu2,Jun\n", "a table"), ("[\"a\",\n", "JSON")] {
            let error = read("ids.txt", content.as_bytes(), &options()).unwrap_err().to_string();
            assert!(error.contains(looks) && error.contains("--format lines"), "{error}");
            let lines = InputOptions { format: Some(FormatName::Lines), ..options() };
            assert!(read("ids.txt", content.as_bytes(), &lines).unwrap()[0].1.is_ok());
        }
    }
}
