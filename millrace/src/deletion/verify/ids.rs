//! Whether a receipt is about a list of ids, or about a part of it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use millrace_schema::receipt::{IDS_HASH_ALGORITHM, IdsHash, Receipt, ids_hash, unhex};

use crate::cli::InputOptions;
use crate::deletion::input::{Cutter, Source, entries};
use crate::deletion::text::{counted, grouped};
use crate::deletion::thread::apart;

/// What is found in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// All of it.
    Whole,
    /// A part: its number from 1, its first and last line.
    Part(u64, (u64, u64)),
    /// Nothing.
    Nothing,
}

/// Why a receipt is about a list, or why not.
///
/// # Errors
/// The list cannot be read.
pub(super) async fn check(
    receipt: &Receipt,
    list: &Path,
    input: &InputOptions,
) -> Result<Result<String, String>> {
    let IdsHash { alg, salt, hash } = receipt.ids.clone();
    let Some(salt) = unhex(&salt).filter(|_| alg == IDS_HASH_ALGORITHM) else {
        return Ok(Err(format!("this version does not know the hash {alg}")));
    };
    let wanted = Wanted { salt, hash, users: receipt.users };
    let (path, options) = (list.to_owned(), input.clone());
    let name = list.display();
    let (found, parts) = apart(move || wanted.find(&path, &options)).await?;
    let users = counted(receipt.users, "user");
    Ok(match found {
        Found::Whole => Ok(format!("about the {users} of {name}, and no others")),
        Found::Part(part, (first, last)) => Ok(format!(
            "about the {users} of lines {} to {} of {name}, part {} of {}, and no others",
            grouped(first),
            grouped(last),
            grouped(part),
            grouped(parts)
        )),
        Found::Nothing => Err(format!(
            "its {users} are neither those of {name} nor those of one of its {} of up to {} ids; \
             if it was submitted with another --ids-per-job, --skip-bad or --keep-spaces, say so",
            counted(parts, "part"),
            grouped(input.ids_per_job.get() as u64)
        )),
    })
}

/// What a receipt says of its ids.
struct Wanted {
    salt: Vec<u8>,
    hash: String,
    users: u64,
}

impl Wanted {
    /// Looks for the receipt's ids; also the number of parts of the list.
    fn find(&self, path: &Path, options: &InputOptions) -> Result<(Found, u64)> {
        let what = || path.display().to_string();
        let list = match Source::open(path)? {
            Source::File(file) => entries(file, path, options),
            Source::Stream(from) => entries(from, path, options),
        };
        let mut cutter = Cutter::new(list.with_context(what)?, options.ids_per_job.get());
        let found = self.search(&mut cutter).with_context(what)?;
        if cutter.faults.total > 0 && !options.skip_bad {
            let (lines, listing) =
                (counted(cutter.faults.total, "bad line"), cutter.faults.listing());
            bail!("{} has {lines}; leave them out with --skip-bad:{listing}", path.display());
        }
        Ok(found)
    }

    fn search(&self, cutter: &mut Cutter) -> Result<(Found, u64)> {
        let (mut found, mut parts) = (Found::Nothing, 0);
        // Of the whole list, until it is too many.
        let mut all = Some(BTreeSet::new());
        for chunk in cutter {
            let chunk = chunk?;
            parts += 1;
            let lines = chunk.lines();
            let ids: BTreeSet<String> = chunk.ids.into_iter().map(|(_, id)| id).collect();
            if found == Found::Nothing && self.are(&ids) {
                found = Found::Part(parts, lines);
            }
            if let Some(whole) = &mut all {
                whole.extend(ids);
                if whole.len() as u64 > self.users {
                    all = None;
                }
            }
        }
        if all.is_some_and(|all| self.are(&all)) {
            found = Found::Whole;
        }
        Ok((found, parts))
    }

    fn are(&self, ids: &BTreeSet<String>) -> bool {
        ids.len() as u64 == self.users
            && ids_hash(&self.salt, ids.iter().map(String::as_str)) == self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deletion::input::Entry;

    fn wanted(ids: &[&str]) -> Wanted {
        let salt = vec![7, 8];
        let hash = ids_hash(&salt, ids.iter().copied());
        Wanted { salt, hash, users: ids.len() as u64 }
    }

    fn find(wanted: &Wanted, list: &[&'static str], ids_max: usize) -> (Found, u64) {
        let ids = list.to_vec();
        let entries = (1..).zip(ids).map(|(line, id)| Ok(Entry { line, id: Ok(id.to_owned()) }));
        wanted.search(&mut Cutter::new(Box::new(entries), ids_max)).unwrap()
    }

    #[test]
    fn a_list_is_found_in_any_order_and_with_repetitions() {
        let wanted = wanted(&["a", "b", "c"]);
        assert_eq!(find(&wanted, &["c", "a", "b", "a"], 9), (Found::Whole, 1));
        assert_eq!(find(&wanted, &["c", "a", "b", "a"], 1), (Found::Whole, 4));
        assert_eq!(find(&wanted, &["a", "b"], 9), (Found::Nothing, 1));
        assert_eq!(find(&wanted, &["a", "b", "d"], 9), (Found::Nothing, 1));
        assert_eq!(find(&wanted, &["a", "b", "c", "d"], 9), (Found::Nothing, 1));
    }

    #[test]
    fn a_part_of_a_list_is_found_with_its_lines() {
        let list = ["x", "y", "b", "a", "z"];
        assert_eq!(find(&wanted(&["a", "b"]), &list, 2), (Found::Part(2, (3, 4)), 3));
        assert_eq!(find(&wanted(&["z"]), &list, 2), (Found::Part(3, (5, 5)), 3));
        assert_eq!(find(&wanted(&["a", "b"]), &list, 3), (Found::Nothing, 2));
    }
}
