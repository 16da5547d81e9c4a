//! Merging properties: each carries (time, stamp), and the larger pair wins.

use std::collections::BTreeMap;

use millrace_store::{Cell, Cells, Version};
use serde_json::value::RawValue;

/// The members of a JSON object as text, the last of equal names; `None` for `null`.
///
/// # Errors
/// The text is not a JSON object.
pub(crate) fn members(json: &str) -> Result<BTreeMap<String, Option<String>>, serde_json::Error> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
    let text = |value: &RawValue| (value.get() != "null").then(|| value.get().to_owned());
    Ok(members.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// Merges `sent` into `cells` at `version`, and returns the cells that changed.
///
/// An equal version writes again: it is the same record, replayed.
pub(crate) fn merge(
    cells: &mut Cells,
    sent: impl IntoIterator<Item = (String, Option<String>)>,
    version: Version,
) -> Cells {
    let mut changed = Cells::new();
    for (name, value) in sent {
        if cells.get(&name).is_some_and(|present| present.version > version) {
            continue;
        }
        let cell = Cell { version, value };
        cells.insert(name.clone(), cell.clone());
        changed.insert(name, cell);
    }
    changed
}

#[cfg(test)]
mod tests {
    use millrace_store::Stamp;
    use proptest::prelude::*;

    use super::*;

    fn version(time_us: i64, stamp: i64) -> Version {
        Version { time_us, stamp: Stamp(stamp) }
    }

    fn sent(name: &str, value: Option<&str>) -> Vec<(String, Option<String>)> {
        vec![(name.to_owned(), value.map(str::to_owned))]
    }

    #[test]
    fn the_later_time_wins_whatever_the_order_of_arrival() {
        let mut cells = Cells::new();
        merge(&mut cells, sent("a", Some("2")), version(20, 1));
        assert!(merge(&mut cells, sent("a", Some("1")), version(10, 2)).is_empty());
        assert_eq!(cells["a"].value.as_deref(), Some("2"));
    }

    #[test]
    fn a_removal_is_remembered_and_beats_older_values() {
        let mut cells = Cells::new();
        merge(&mut cells, sent("a", None), version(20, 1));
        assert!(merge(&mut cells, sent("a", Some("1")), version(10, 2)).is_empty());
        assert_eq!(cells["a"].value, None);
    }

    #[test]
    fn members_keep_their_text_and_the_last_of_equal_names() {
        let members = members(r#"{"a": 1e2 , "b":null,"a": 123456789012345678901234567890}"#);
        let members = members.unwrap();
        assert_eq!(members["a"].as_deref(), Some("123456789012345678901234567890"));
        assert_eq!(members["b"], None);
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_order(
            changes in prop::collection::vec((0..3u8, 0..4i64, prop::option::of(0..9u8)), 0..12),
            seed in any::<u64>(),
        ) {
            let apply = |order: &[usize]| {
                let mut cells = Cells::new();
                for i in order {
                    let (name, time, value) = &changes[*i];
                    let value = value.map(|v| v.to_string());
                    let stamp = i64::try_from(*i).unwrap();
                    merge(&mut cells, vec![(name.to_string(), value)], version(*time, stamp));
                }
                cells
            };
            let forward: Vec<usize> = (0..changes.len()).collect();
            let mut shuffled = forward.clone();
            shuffled.sort_by_key(|i| (*i as u64 + 1).wrapping_mul(seed | 1));
            prop_assert_eq!(apply(&forward), apply(&shuffled));
        }
    }
}
