//! Where every partition stands: the workers' positions against the ends of the log.

use std::collections::{BTreeMap, HashMap};

use millrace_log::{Bounds, Log, LogError};
use millrace_schema::{Outcome, Topic};
use millrace_store::{LedgerRow, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Where a partition's workers stand, and where its log does.
pub struct Standing {
    /// The newest row of its ledger; an empty one before its first.
    pub row: LedgerRow,
    /// The log's bounds, read after the row.
    pub bounds: Bounds,
}

/// The accounting of a partition, of all projects: `outcomes` add up to `frontier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLedger {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// The first offset that the log still holds.
    pub log_start: u64,
    /// The next offset that the log will give.
    pub log_end: u64,
    /// Every record below is applied.
    pub frontier: u64,
    /// What became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
}

/// Why it cannot be said where the partitions stand.
#[derive(Debug, thiserror::Error)]
pub enum StandingsError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not say its bounds.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Every partition that is consumed. The log is asked after the ledger, so that nothing accepted
/// before the call is neither counted nor pending.
///
/// # Errors
/// The store or the log is away.
pub async fn standings(log: &dyn Log, store: &dyn Store) -> Result<Vec<Standing>, StandingsError> {
    let rows = store.ledger().await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|r| ((r.topic, r.partition), r)).collect();
    let mut standings = Vec::new();
    for topic in Topic::CONSUMED {
        for (partition, bounds) in (0..).zip(log.bounds(topic).await?) {
            let row = rows.remove(&(topic, partition));
            let row = row.unwrap_or_else(|| LedgerRow::new(topic, partition));
            standings.push(Standing { row, bounds });
        }
    }
    Ok(standings)
}

impl Standing {
    /// Records that the workers have not reached yet.
    pub const fn pending(&self) -> u64 {
        self.bounds.end.saturating_sub(self.row.frontier)
    }
}

impl From<Standing> for PartitionLedger {
    fn from(Standing { row, bounds }: Standing) -> Self {
        Self {
            topic: row.topic,
            partition: row.partition,
            log_start: bounds.start,
            log_end: bounds.end,
            frontier: row.frontier,
            outcomes: row.counts.by_outcome(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcomes_of_a_partition_add_up_to_its_frontier() {
        let mut row = LedgerRow::new(Topic::Events, 0);
        row.counts.add("p", Outcome::Stored, 5);
        row.counts.add("", Outcome::Skipped, 1);
        row.frontier = row.counts.total();
        let ledger = PartitionLedger::from(Standing { row, bounds: Bounds { start: 1, end: 9 } });
        assert_eq!(
            serde_json::to_value(ledger).unwrap(),
            serde_json::json!({
                "topic": "millrace.events",
                "partition": 0,
                "log_start": 1,
                "log_end": 9,
                "frontier": 6,
                "outcomes": {"stored": 5, "skipped": 1},
            })
        );
    }
}
