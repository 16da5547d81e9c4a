//! `GET /v1/api/accounting` and, for operators, `GET /ledger`: what became of every record.

use std::collections::{BTreeMap, HashMap};

use hyper::StatusCode;
use millrace_log::{Bounds, LogError};
use millrace_schema::time::{format_us, wall_clock_us};
use millrace_schema::{Counts, Outcome, Topic};
use millrace_store::LedgerRow;
use serde::Serialize;

use crate::context::Context;
use crate::error::ApiError;
use crate::response::{Response, json};

#[derive(Serialize)]
struct Accounting {
    topics: BTreeMap<&'static str, Outcomes>,
    pending: u64,
    as_of: String,
}

#[derive(Serialize)]
struct Outcomes {
    outcomes: BTreeMap<Outcome, u64>,
}

#[derive(Serialize)]
struct Ledger {
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct Partition {
    topic: Topic,
    partition: u32,
    log_start: u64,
    log_end: u64,
    frontier: u64,
    outcomes: BTreeMap<Outcome, u64>,
}

/// What became of a project's records.
///
/// # Errors
/// The store or the log is away.
pub(crate) async fn accounting(ctx: &Context, project: &str) -> Result<Response, ApiError> {
    let standings = standings(ctx).await?;
    let accounting = Accounting {
        topics: outcomes_of(project, &standings),
        pending: pending(&standings),
        as_of: format_us(wall_clock_us()),
    };
    Ok(json(StatusCode::OK, &accounting))
}

/// What became of the records of every partition, all projects.
///
/// # Errors
/// The store or the log is away.
pub(crate) async fn ledger(ctx: &Context) -> Result<Response, ApiError> {
    let partitions = standings(ctx).await?.into_iter().map(partition).collect();
    Ok(json(StatusCode::OK, &Ledger { partitions }))
}

/// Where a partition's workers stand, and where its log does.
type Standing = (LedgerRow, Bounds);

/// Every partition that is consumed. The log is asked after the ledger, so that nothing accepted
/// before the call is neither counted nor pending.
async fn standings(ctx: &Context) -> Result<Vec<Standing>, ApiError> {
    let rows = ctx.parts.store.ledger().await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|r| ((r.topic, r.partition), r)).collect();
    let mut standings = Vec::new();
    for topic in Topic::CONSUMED {
        for partition in 0..ctx.parts.log.partitions() {
            let bounds = ctx.parts.log.bounds(topic, partition).await;
            let bounds = bounds.map_err(|error| log_away(&error))?;
            let row = rows.remove(&(topic, partition));
            standings.push((row.unwrap_or_else(|| LedgerRow::new(topic, partition)), bounds));
        }
    }
    Ok(standings)
}

fn log_away(error: &LogError) -> ApiError {
    tracing::warn!(%error, "the log did not say its bounds");
    ApiError::Unavailable("the log is not available; try again shortly")
}

fn outcomes_of(project: &str, standings: &[Standing]) -> BTreeMap<&'static str, Outcomes> {
    let of_topic = |topic| {
        let mut counts = Counts::default();
        for (row, _) in standings.iter().filter(|(row, _)| row.topic == topic) {
            counts.merge(&row.counts);
        }
        Outcomes { outcomes: counts.of(project) }
    };
    Topic::CONSUMED.into_iter().map(|topic| (topic.short_name(), of_topic(topic))).collect()
}

/// What the workers have not reached yet, of all projects.
fn pending(standings: &[Standing]) -> u64 {
    let ahead = standings.iter().map(|(row, bounds)| bounds.end.saturating_sub(row.frontier));
    ahead.fold(0, u64::saturating_add)
}

fn partition((row, bounds): Standing) -> Partition {
    Partition {
        topic: row.topic,
        partition: row.partition,
        log_start: bounds.start,
        log_end: bounds.end,
        frontier: row.frontier,
        outcomes: row.counts.by_outcome(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(
        topic: Topic,
        partition: u32,
        counts: &[(&str, Outcome, u64)],
        end: u64,
    ) -> Standing {
        let mut row = LedgerRow::new(topic, partition);
        for (project, outcome, n) in counts {
            row.counts.add(project, *outcome, *n);
        }
        row.frontier = row.counts.total();
        (row, Bounds { start: 1, end })
    }

    fn standings() -> [Standing; 3] {
        use Outcome::{Erased, Skipped, Stored};
        [
            standing(Topic::Events, 0, &[("p", Stored, 3), ("q", Stored, 2), ("", Skipped, 1)], 9),
            standing(Topic::Events, 1, &[("p", Stored, 1), ("p", Erased, 1)], 2),
            standing(Topic::Devices, 0, &[], 4),
        ]
    }

    #[test]
    fn a_project_sees_its_own_outcomes_of_all_four_topics() {
        let topics = serde_json::to_value(outcomes_of("p", &standings())).unwrap();
        assert_eq!(
            topics,
            serde_json::json!({
                "events": {"outcomes": {"stored": 4, "erased": 1}},
                "profiles": {"outcomes": {}},
                "devices": {"outcomes": {}},
                "deletions": {"outcomes": {}},
            })
        );
    }

    #[test]
    fn pending_is_what_lies_between_the_frontier_and_the_end_of_the_log() {
        assert_eq!(pending(&standings()), (9 - 6) + 4);
    }

    #[test]
    fn the_outcomes_of_a_partition_add_up_to_its_frontier() {
        let [first, ..] = standings();
        assert_eq!(
            serde_json::to_value(partition(first)).unwrap(),
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
