//! A column of a table (RFC 4180).

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::Entry;
use super::fault::{Fault, checked};
use crate::cli::{Column, InputOptions};

const DEFAULT_COLUMN: &str = "user_id";
/// Bytes of one row. A quote that is never closed makes one row of the rest.
const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Names that an error lists.
const NAMES_LISTED_MAX: usize = 20;

/// The rows of a table.
pub(super) struct Rows {
    reader: Reader<Bounded>,
    row: ByteRecord,
    bytes_left: Arc<AtomicUsize>,
    /// Of the ids, from 0.
    column: usize,
    keep_spaces: bool,
}

impl Rows {
    /// # Errors
    /// The first row cannot be read, or does not name the column.
    pub(super) fn new(from: Box<dyn BufRead + Send>, options: &InputOptions) -> Result<Self> {
        let bytes_left = Arc::new(AtomicUsize::new(0));
        let bounded = Bounded { from, bytes_left: Arc::clone(&bytes_left) };
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(options.delimiter)
            // With the default, rows that end in CR LF are numbered one line too low.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(bounded);
        let (row, keep_spaces) = (ByteRecord::new(), options.keep_spaces);
        let mut rows = Self { reader, row, bytes_left, column: 0, keep_spaces };
        rows.column = match &options.column {
            Some(Column::Numbered(number)) => number.get() - 1,
            Some(Column::Named(name)) => rows.find(name)?,
            None => rows.find(DEFAULT_COLUMN)?,
        };
        Ok(rows)
    }

    /// The place of a column that the first row names.
    fn find(&mut self, name: &str) -> Result<usize> {
        self.read()?;
        let found = self.row.iter().position(|cell| cell.trim_ascii() == name.as_bytes());
        found.ok_or_else(|| {
            let cells = self.row.iter().take(NAMES_LISTED_MAX);
            let names: Vec<_> = cells.map(String::from_utf8_lossy).collect();
            anyhow!(
                "the first row names no column `{name}`, but: {}; choose with --column, by number \
                 if the first row holds ids already",
                names.join(", ")
            )
        })
    }

    /// Reads a row; `false` at the end.
    fn read(&mut self) -> io::Result<bool> {
        self.bytes_left.store(ROW_BYTES_MAX, Ordering::Relaxed);
        let line = self.reader.position().line();
        self.reader.read_byte_record(&mut self.row).map_err(|error| {
            let kind = match error.kind() {
                csv::ErrorKind::Io(error) => error.kind(),
                _ => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, format!("the row of line {line}: {error}"))
        })
    }

    fn entry(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if !self.read()? {
                return Ok(None);
            }
            let is_blank = self.row.len() == 1 && self.row.get(0) == Some(b"\r");
            if !is_blank {
                break;
            }
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        Ok(Some(Entry { line, id: self.id() }))
    }

    fn id(&self) -> Result<String, Fault> {
        let (columns, wanted) = (self.row.len(), self.column + 1);
        let cell = self.row.get(self.column).ok_or(Fault::NoColumn { columns, wanted })?;
        let cell = cell.strip_suffix(b"\r").filter(|_| wanted == columns).unwrap_or(cell);
        checked(std::str::from_utf8(cell).map_err(|_| Fault::NotUtf8)?, self.keep_spaces)
    }
}

impl Iterator for Rows {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry().transpose()
    }
}

/// Reads no more for one row than it may have.
struct Bounded {
    from: Box<dyn BufRead + Send>,
    bytes_left: Arc<AtomicUsize>,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes_left.load(Ordering::Relaxed);
        if left == 0 {
            let text = format!("more than {ROW_BYTES_MAX} bytes; is a quote not closed?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let bytes = self.from.read(into)?;
        self.bytes_left.store(left.saturating_sub(bytes), Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{options, read};
    use super::*;

    fn with(column: &str) -> InputOptions {
        InputOptions { column: Some(column.parse().unwrap()), ..options() }
    }

    fn good(id: &str) -> Result<String, Fault> {
        Ok(id.to_owned())
    }

    #[test]
    fn a_column_is_found_by_its_name() {
        let content =
            b"\xef\xbb\xbfname, user_id \r\n\"Kim, Mina\",u1\r\n\"two\nlines\",u2\r\nx,\"u3\"\r\n\r\n";
        let expected = [(2, good("u1")), (3, good("u2")), (5, good("u3"))];
        assert_eq!(read("x.csv", content, &options()).unwrap(), expected);
        let first = b"\xef\xbb\xbfid,b\nu1,x\n";
        assert_eq!(read("x.csv", first, &with("id")).unwrap(), [(2, good("u1"))]);
    }

    #[test]
    fn a_column_is_found_by_its_number_and_then_every_row_counts() {
        let semicolons = InputOptions { delimiter: b';', ..with("2") };
        let expected = [(1, good("u1")), (2, good("u,2"))];
        assert_eq!(read("-", b"a;u1\nb;u,2\n", &semicolons).unwrap(), expected);
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        let error = read("x.csv", b"id,email\nu1,x\n", &options()).unwrap_err().to_string();
        assert!(error.contains("`user_id`") && error.contains("id, email"), "{error}");
    }

    #[test]
    fn rows_without_an_id_are_named() {
        let content = b"name,user_id\na\nb,\nc,\xff\nd,u4\n";
        let expected = [
            (2, Err(Fault::NoColumn { columns: 1, wanted: 2 })),
            (3, Err(Fault::Empty)),
            (4, Err(Fault::NotUtf8)),
            (5, good("u4")),
        ];
        assert_eq!(read("x.csv", content, &options()).unwrap(), expected);
    }

    #[test]
    fn an_id_with_white_space_around_it_is_a_fault_though_its_header_may_have_some() {
        let content = b"name, user_id\r\nMina, u1\r\nJun,u2\r\n";
        let refused = read("x.csv", content, &options()).unwrap();
        assert_eq!(refused, [(2, Err(Fault::Spaces)), (3, good("u2"))]);
        let keep = InputOptions { keep_spaces: true, ..options() };
        let kept = read("x.csv", content, &keep).unwrap();
        assert_eq!(kept, [(2, good(" u1")), (3, good("u2"))]);
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
        let content = format!("user_id\nu1\n\"{}", "u2\n".repeat(ROW_BYTES_MAX));
        let error = read("x.csv", content.as_bytes(), &options()).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("a quote"), "{error}");
    }
}
