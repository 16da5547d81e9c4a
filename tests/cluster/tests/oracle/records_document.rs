//! The tables of `schema/RECORD.md`: which members a record of each kind has.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

const DOCUMENT: &str = include_str!("../../../../schema/RECORD.md");

/// By kind: members, and whether they may be absent.
pub(crate) type Members = BTreeMap<String, BTreeMap<String, bool>>;

/// What the document says of the kinds.
///
/// # Errors
/// It is not as it was.
pub(crate) fn members() -> Result<Members> {
    let mut members = Members::new();
    let mut every = BTreeMap::new();
    for section in DOCUMENT.split("\n### ").skip(1) {
        // A table after the first describes what lies within a member.
        let table = section.split("\n\n").find(|part| part.starts_with("| member"));
        let Some(table) = table else { continue };
        let rows = table.lines().skip(2).filter_map(|line| {
            let mut cells = line.trim_matches('|').split(" | ");
            let name = cells.next()?.trim().trim_matches('`').to_owned();
            Some((name, cells.next()?.contains("optional")))
        });
        let rows: BTreeMap<String, bool> = rows.collect();
        match section.strip_prefix("Kind `").and_then(|rest| rest.split('`').next()) {
            Some(kind) => drop(members.insert(kind.to_owned(), rows)),
            None if section.starts_with("Every kind") => every = rows,
            None => {}
        }
    }
    ensure!(!every.is_empty() && members.len() == 6, "RECORD.md has other sections: {members:?}");
    for rows in members.values_mut() {
        rows.extend(every.clone());
    }
    Ok(members)
}
