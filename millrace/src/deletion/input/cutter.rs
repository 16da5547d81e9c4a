//! Cuts a list into the parts that become jobs: always the same parts of the same list.

use std::io;
use std::iter::Peekable;

use bytes::Bytes;
use millrace_schema::record::Reach;
use serde::Serialize;

use super::{Entries, Entry, Faults};

/// Bytes of the ids of one body. A server takes bodies of 10 MiB, unless it was told otherwise.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::deletion) struct Chunk {
    /// From 0.
    pub(in crate::deletion) number: u64,
    /// As they come in the list, each with its line.
    pub(in crate::deletion) ids: Vec<(u64, String)>,
}

impl Chunk {
    /// Its first and its last line.
    pub(in crate::deletion) fn lines(&self) -> (u64, u64) {
        let line = |id: Option<&(u64, String)>| id.map_or(0, |(line, _)| *line);
        (line(self.ids.first()), line(self.ids.last()))
    }

    /// The body of the call that makes a job of it.
    ///
    /// # Errors
    /// None that is known.
    pub(in crate::deletion) fn body(&self, erase: &[Reach]) -> serde_json::Result<Bytes> {
        #[derive(Serialize)]
        struct Body<'a> {
            user_ids: Vec<&'a str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            erase: &'a [Reach],
        }
        let user_ids = self.ids.iter().map(|(_, id)| id.as_str()).collect();
        serde_json::to_vec(&Body { user_ids, erase }).map(Bytes::from)
    }
}

/// The parts of a list. Bad lines are left out and kept in [`Cutter::faults`].
pub(in crate::deletion) struct Cutter {
    entries: Peekable<Entries>,
    ids_max: usize,
    next: u64,
    /// Of the parts so far.
    pub(in crate::deletion) faults: Faults,
}

impl Cutter {
    pub(in crate::deletion) fn new(entries: Entries, ids_max: usize) -> Self {
        Self { entries: entries.peekable(), ids_max, next: 0, faults: Faults::default() }
    }

    fn chunk(&mut self) -> io::Result<Chunk> {
        let mut chunk = Chunk { number: self.next, ids: Vec::new() };
        let mut bytes = 0;
        let fits = |entry: &io::Result<Entry>, chunk: &Chunk, bytes: usize| match entry {
            Ok(Entry { id: Ok(id), .. }) => {
                chunk.ids.len() < self.ids_max && bytes + json_bytes(id) <= BODY_BYTES_MAX
            }
            _ => true,
        };
        while let Some(entry) = self.entries.next_if(|entry| fits(entry, &chunk, bytes)) {
            let Entry { line, id } = entry?;
            match id {
                Ok(id) => {
                    bytes += json_bytes(&id);
                    chunk.ids.push((line, id));
                }
                Err(fault) => self.faults.add(line, fault),
            }
        }
        self.next += 1;
        Ok(chunk)
    }
}

impl Iterator for Cutter {
    type Item = io::Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chunk().map(|chunk| Some(chunk).filter(|chunk| !chunk.ids.is_empty())).transpose()
    }
}

/// Bytes of an id in a JSON array.
fn json_bytes(id: &str) -> usize {
    let bytes = id.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    });
    "\"\",".len() + bytes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::*;

    fn cut(ids: Vec<Result<String, Fault>>, ids_max: usize) -> Cutter {
        let entries = (1..).zip(ids).map(|(line, id)| Ok(Entry { line, id }));
        Cutter::new(Box::new(entries), ids_max)
    }

    fn parts(cutter: &mut Cutter) -> Vec<(u64, Vec<String>, (u64, u64))> {
        let ids = |chunk: &Chunk| chunk.ids.iter().map(|(_, id)| id.clone()).collect();
        cutter.map(|chunk| chunk.unwrap()).map(|c| (c.number, ids(&c), c.lines())).collect()
    }

    fn id(n: u32) -> Result<String, Fault> {
        Ok(n.to_string())
    }

    #[test]
    fn a_list_is_cut_by_number_and_bad_lines_count_for_none() {
        let mut cutter = cut(vec![id(1), Err(Fault::Empty), id(2), id(3), id(4), id(5)], 2);
        let two = |a: u32, b: u32| vec![a.to_string(), b.to_string()];
        let expected =
            [(0, two(1, 2), (1, 3)), (1, two(3, 4), (4, 5)), (2, vec!["5".to_owned()], (6, 6))];
        assert_eq!(parts(&mut cutter), expected);
        assert_eq!(cutter.faults.total, 1);
    }

    #[test]
    fn a_list_without_an_id_has_no_part() {
        let mut cutter = cut(vec![Err(Fault::Empty); 3], 2);
        assert_eq!(parts(&mut cutter), []);
        assert_eq!(cutter.faults.total, 3);
        assert_eq!(parts(&mut cut(vec![id(1), id(2)], 2)).len(), 1);
    }

    #[test]
    fn ids_that_take_much_room_make_smaller_parts() {
        let long = Ok("\u{1}".repeat(256));
        let mut cutter = cut(vec![long; 12_000], 100_000);
        let chunks: Vec<Chunk> = cutter.by_ref().map(|chunk| chunk.unwrap()).collect();
        assert_eq!(chunks.iter().map(|chunk| chunk.ids.len()).sum::<usize>(), 12_000);
        for chunk in chunks {
            let bytes = chunk.body(&Reach::ALL).unwrap().len();
            assert!(bytes < BODY_BYTES_MAX + 1_000, "{bytes}");
        }
    }

    #[test]
    fn the_bytes_of_an_id_are_those_that_are_sent() {
        for id in ["", "a", "é", "\"\\/\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}"] {
            assert_eq!(json_bytes(id), serde_json::to_string(id).unwrap().len() + 1, "{id:?}");
        }
    }

    #[test]
    fn a_body_says_what_to_erase_only_if_it_is_not_everything() {
        let chunk = Chunk { number: 0, ids: vec![(1, "a\"".to_owned())] };
        assert_eq!(chunk.body(&[]).unwrap(), r#"{"user_ids":["a\""]}"#);
        let narrowed = r#"{"user_ids":["a\""],"erase":["events"]}"#;
        assert_eq!(chunk.body(&[Reach::Events]).unwrap(), narrowed);
    }
}
