//! A list of ids: from a file or a pipe, compressed or not, in one of three formats.
//!
//! Owns reading it line by line in bounded memory. Must not know what becomes of the ids.

mod csv;
mod cutter;
mod decode;
mod fault;
mod lines;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};

pub(super) use self::cutter::{Chunk, Cutter};
pub(super) use self::fault::{Fault, Faults};
use crate::cli::{FormatName, InputOptions};

/// A line of the list: its number from 1, and its id.
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) id: Result<String, Fault>,
}

/// The lines of a list. An error of reading ends it.
pub(super) type Entries = Box<dyn Iterator<Item = io::Result<Entry>> + Send>;

/// Where a list comes from.
pub(super) enum Source {
    /// Can be read again.
    File(File),
    /// Can be read once.
    Stream(Box<dyn Read + Send>),
}

impl Source {
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stream(Box::new(io::stdin())));
        }
        let what = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(what)?;
        let metadata = file.metadata().with_context(what)?;
        if metadata.is_dir() {
            bail!("{} is a folder; name a file with ids", path.display());
        }
        Ok(if metadata.is_file() { Self::File(file) } else { Self::Stream(Box::new(file)) })
    }
}

/// Reads a list.
///
/// # Errors
/// It cannot be read, or is not what it is said to be.
pub(super) fn entries(
    raw: impl Read + Send + 'static,
    path: &Path,
    options: &InputOptions,
) -> Result<Entries> {
    let mut from = decode::decoded(raw).context("cannot be read")?;
    let by_name = options.format.or_else(|| {
        if options.column.is_some() { Some(FormatName::Csv) } else { format_of_name(path) }
    });
    let format = match by_name {
        Some(format) => format,
        None => match from.fill_buf()?.first() {
            Some(b'{') => FormatName::Ndjson,
            _ => FormatName::Lines,
        },
    };
    let keep_spaces = options.keep_spaces;
    Ok(match format {
        FormatName::Lines => Box::new(lines::Lines::ids(from, by_name.is_none(), keep_spaces)),
        FormatName::Ndjson => Box::new(lines::Lines::ndjson(from, keep_spaces)),
        FormatName::Csv => Box::new(csv::Rows::new(from, options)?),
    })
}

fn format_of_name(path: &Path) -> Option<FormatName> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    match Path::new(name).extension()?.to_str()? {
        "csv" => Some(FormatName::Csv),
        "ndjson" | "jsonl" => Some(FormatName::Ndjson),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;
    use crate::cli::Column;

    pub(super) fn options() -> InputOptions {
        InputOptions {
            format: None,
            column: None,
            delimiter: b',',
            skip_bad: false,
            keep_spaces: false,
            ids_per_job: "100000".parse().unwrap(),
        }
    }

    pub(super) type Read = Vec<(u64, Result<String, Fault>)>;

    pub(super) fn read(name: &str, content: &[u8], options: &InputOptions) -> Result<Read> {
        let entries = entries(Cursor::new(content.to_vec()), Path::new(name), options)?;
        let read: io::Result<Read> = entries.map(|e| e.map(|e| (e.line, e.id))).collect();
        Ok(read?)
    }

    fn ids(name: &str, content: &[u8]) -> Vec<String> {
        let read = read(name, content, &options()).unwrap();
        read.into_iter().map(|(_, id)| id.unwrap()).collect()
    }

    fn gz(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_format_is_that_of_the_name_or_of_the_first_character() {
        assert_eq!(ids("ids.txt", b"a\nb\n"), ["a", "b"]);
        assert_eq!(ids("-", br#"{"user_id":"a"}"#), ["a"]);
        assert_eq!(ids("x.csv", b"user_id\na\n"), ["a"]);
        assert_eq!(ids("X.CSV.GZ", b"user_id\na\n"), ["a"]);
        assert_eq!(ids("x.jsonl.zst", b"{\"user_id\":\"a\"}\n"), ["a"]);
        assert_eq!(ids("ids", b""), [""; 0]);
    }

    #[test]
    fn what_is_said_goes_before_what_it_looks_like() {
        let lines = InputOptions { format: Some(FormatName::Lines), ..options() };
        let content = br#"{"user_id":"a"}"#;
        let id = String::from_utf8(content.to_vec()).unwrap();
        assert_eq!(read("x.csv", content, &lines).unwrap(), [(1, Ok(id))]);
        let column = Some(Column::Named("b".to_owned()));
        let csv = InputOptions { column, ..options() };
        assert_eq!(read("-", b"a,b\n1,2\n", &csv).unwrap(), [(2, Ok("2".to_owned()))]);
    }

    #[test]
    fn compressed_lists_are_recognised_by_their_first_bytes() {
        assert_eq!(ids("ids.txt", &gz(b"a\nb\n")), ["a", "b"]);
        let members = [gz(b"a\nb"), gz(b"c\n")].concat();
        assert_eq!(ids("ids.txt", &members), ["a", "bc"]);
        let frame = |content: &[u8]| zstd::stream::encode_all(content, 1).unwrap();
        assert_eq!(ids("-", &[frame(b"a\n"), frame(b"b\n")].concat()), ["a", "b"]);
        assert_eq!(ids("x.gz", b"a\n"), ["a"]);
    }

    #[test]
    fn a_compressed_list_that_is_cut_off_is_an_error() {
        let lines: String = (0..1_000).map(|n| format!("user-{n}\n")).collect();
        for whole in [gz(lines.as_bytes()), zstd::stream::encode_all(lines.as_bytes(), 1).unwrap()]
        {
            let cut = whole.get(..whole.len() - 9).unwrap();
            assert!(read("ids", cut, &options()).is_err());
        }
    }
}
