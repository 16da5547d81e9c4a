//! The accounting of every partition: what became of each record, and that it adds up.

use std::collections::BTreeMap;

use anyhow::Result;
use millrace_log::Log;
use millrace_schema::{Outcome, Topic};
use millrace_store::Store;
use serde::{Deserialize, Serialize};

/// The accounting of a partition, of all projects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionReply {
    pub(crate) topic: Topic,
    pub(crate) partition: u32,
    pub(crate) log_start: u64,
    pub(crate) log_end: u64,
    pub(crate) frontier: u64,
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
}

/// The accounting of every partition that workers consume.
pub(super) async fn read(log: &dyn Log, store: &dyn Store) -> Result<Vec<PartitionReply>> {
    // The ledger first: the log only grows, so no frontier is beyond an end read later.
    let rows = store.ledger().await?;
    let mut partitions = Vec::new();
    for topic in Topic::CONSUMED {
        for partition in 0..log.partitions() {
            let row = rows.iter().find(|row| row.topic == topic && row.partition == partition);
            let bounds = log.bounds(topic, partition).await?;
            partitions.push(PartitionReply {
                topic,
                partition,
                log_start: bounds.start,
                log_end: bounds.end,
                frontier: row.map_or(0, |row| row.frontier),
                outcomes: row.map(|row| row.counts.by_outcome()).unwrap_or_default(),
            });
        }
    }
    Ok(partitions)
}

/// The first identity that does not hold, in words.
pub(crate) fn broken_identity(partitions: &[PartitionReply]) -> Option<String> {
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
    use super::*;

    fn partition(frontier: u64, log_end: u64, stored: u64, dead: u64) -> PartitionReply {
        let outcomes = BTreeMap::from([(Outcome::Stored, stored), (Outcome::Dead, dead)]);
        PartitionReply {
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
