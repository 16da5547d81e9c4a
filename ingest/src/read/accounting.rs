//! `GET /v1/api/accounting` and, for operators, `GET /ledger`: what became of every record.

use std::collections::BTreeMap;

use hyper::StatusCode;
use millrace_schema::time::{format_us, wall_clock_us};
use millrace_schema::{Counts, Outcome, Topic};
use serde::Serialize;

use crate::context::Context;
use crate::error::ApiError;
use crate::response::{Response, json};
use crate::standing::{PartitionLedger, Standing, standings};

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
    partitions: Vec<PartitionLedger>,
}

/// What became of a project's records.
///
/// # Errors
/// The store or the log is away.
pub(crate) async fn accounting(ctx: &Context, project: &str) -> Result<Response, ApiError> {
    let standings = standings_of(ctx).await?;
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
    let partitions = standings_of(ctx).await?.into_iter().map(PartitionLedger::from).collect();
    Ok(json(StatusCode::OK, &Ledger { partitions }))
}

async fn standings_of(ctx: &Context) -> Result<Vec<Standing>, ApiError> {
    Ok(standings(&*ctx.parts.log, &*ctx.parts.store).await?)
}

fn outcomes_of(project: &str, standings: &[Standing]) -> BTreeMap<&'static str, Outcomes> {
    let of_topic = |topic| {
        let mut counts = Counts::default();
        for standing in standings.iter().filter(|standing| standing.row.topic == topic) {
            counts.merge(&standing.row.counts);
        }
        Outcomes { outcomes: counts.of(project) }
    };
    Topic::CONSUMED.into_iter().map(|topic| (topic.short_name(), of_topic(topic))).collect()
}

/// What the workers have not reached yet, of all projects.
fn pending(standings: &[Standing]) -> u64 {
    standings.iter().map(Standing::pending).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use millrace_log::Bounds;
    use millrace_store::LedgerRow;

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
        Standing { row, bounds: Bounds { start: 1, end } }
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
}
