//! What is left of erased users in the database's files.

use std::time::Duration;

use super::connection::Connection;
use crate::{Residue, StoreError};

/// The tables of which an erasure, or the completion of its job, deletes rows or cells.
const ERASED: [&str; 6] = ["events", "event_times", "profiles", "devices", "claims", "jobs"];

const TOMBSTONES_NOTE: &str = "The database hides erased rows at once, and drops them from its \
                               files when it compacts them, at a time of its own choosing. The \
                               tombstones that hide them name the users. `until` is no end: it is \
                               when the last of them may go at the earliest (the longest \
                               gc_grace_seconds of the tables after the completion); each goes \
                               at the next compaction of its file after that.";

impl Connection {
    pub(super) async fn residues(&self) -> Result<Vec<Residue>, StoreError> {
        let grace = self.rows(&self.statements.gc_grace_seconds, &[]).await?;
        let tombstones =
            Residue { place: "store_tombstones", lasts: longest(&grace), note: TOMBSTONES_NOTE };
        Ok(vec![tombstones, Residue::ERASURES])
    }
}

/// The longest `gc_grace_seconds` of what is erased, from those of all tables.
fn longest(grace: &[(String, Option<i32>)]) -> Option<Duration> {
    let erased = grace.iter().filter(|(table, _)| ERASED.contains(&table.as_str()));
    let seconds = erased.filter_map(|(_, seconds)| u64::try_from((*seconds)?).ok()).max();
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_grace_of_the_erased_tables_dates_their_tombstones() {
        let table = |name: &str, seconds| (name.to_owned(), seconds);
        let grace = [
            table("events", Some(7)),
            table("claims", Some(9)),
            table("profiles", None),
            table("ledger", Some(100)),
        ];
        assert_eq!(longest(&grace), Some(Duration::from_secs(9)));
        assert_eq!(longest(&grace[3..]), None);
    }
}
