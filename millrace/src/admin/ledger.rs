//! Whether the accounting of every partition adds up.

use millrace_ingest::PartitionLedger;

/// The first identity that does not hold, in words.
pub(crate) fn broken_identity(partitions: &[PartitionLedger]) -> Option<String> {
    partitions.iter().find_map(|p| {
        let place = format!("{}/{}", p.topic.short_name(), p.partition);
        let sum: u64 = p.outcomes.values().sum();
        if sum != p.frontier {
            return Some(format!("{place}: outcomes add up to {sum}, frontier is {}", p.frontier));
        }
        (p.frontier > p.log_end).then(|| {
            format!("{place}: frontier {} lies beyond the log's end {}", p.frontier, p.log_end)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millrace_schema::{Outcome, Topic};

    use super::*;

    fn partition(frontier: u64, log_end: u64, stored: u64, dead: u64) -> PartitionLedger {
        let outcomes = BTreeMap::from([(Outcome::Stored, stored), (Outcome::Dead, dead)]);
        PartitionLedger {
            topic: Topic::Events,
            partition: 1,
            log_start: 0,
            log_end,
            frontier,
            outcomes,
        }
    }

    #[test]
    fn outcomes_that_add_up_to_the_frontier_hold() {
        assert_eq!(broken_identity(&[partition(5, 9, 4, 1), partition(0, 0, 0, 0)]), None);
    }

    #[test]
    fn a_record_that_is_missing_or_counted_twice_is_named() {
        for stored in [3, 5] {
            let broken = broken_identity(&[partition(5, 9, 4, 1), partition(5, 9, stored, 1)]);
            assert!(broken.unwrap().starts_with("events/1: outcomes add up to"));
        }
    }

    #[test]
    fn a_frontier_beyond_the_log_is_named() {
        let broken = broken_identity(&[partition(5, 4, 4, 1)]);
        assert_eq!(broken.unwrap(), "events/1: frontier 5 lies beyond the log's end 4");
    }
}
