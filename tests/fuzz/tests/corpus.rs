//! Runs every seed of the corpora, and mutations of them, through its target on stable Rust.

#![cfg(test)]

use std::path::Path;

use proptest::prelude::*;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap();
    let seeds: Vec<Vec<u8>> = files.map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

/// A seed with some bytes replaced, removed or doubled.
fn mutated(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..4u8, any::<u8>());
    (prop::sample::select(seeds(target)), prop::collection::vec(edit, 0..8)).prop_map(
        |(mut bytes, edits)| {
            for (at, how, byte) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, byte),
                    _ => bytes.truncate(at),
                }
            }
            bytes
        },
    )
}

macro_rules! target {
    ($name:ident, $test:ident) => {
        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]
            #[test]
            fn $test(data in mutated(stringify!($name))) {
                millrace_fuzz::$name(&data);
            }
        }
    };
}

target!(body_parser, no_body_breaks_the_parser);
target!(record, no_bytes_break_the_record_format);
target!(segment, no_bytes_break_the_segment_reader);
