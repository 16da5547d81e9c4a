//! The three positions of a partition: frontier ≥ settled ≥ resume point.
//!
//! A store that acknowledged may still forget what is younger than `settle`. So a position is
//! *settled* when it was acknowledged more than `settle` ago, and the *resume point* is what has
//! been settled for as long again: beginning there writes everything once more that can have been
//! lost, and a marker's second step always has a settled first step under it.

use std::collections::VecDeque;
use std::time::Duration;

use millrace_schema::Counts;
use millrace_schema::time::Micros;
use millrace_store::{LedgerRow, Write};
use tokio::time::Instant;

/// How finely the way from frontier to resume point is cut.
const MARKS_PER_SETTLE: u32 = 16;

pub(crate) struct Positions {
    settle: Duration,
    row: LedgerRow,
    /// Frontiers on their way to the resume point, oldest first.
    marks: VecDeque<Mark>,
    /// The latest acknowledged frontier, if no mark stands for it yet.
    latest: Option<Mark>,
    /// Second steps that wait for the first to settle, oldest first.
    waiting: VecDeque<SecondStep>,
    /// Second steps that were written, until they have settled: (acknowledged, offset).
    closing: VecDeque<(Instant, u64)>,
    /// What the commit that is under way contains.
    under_way: UnderWay,
}

#[derive(Clone)]
struct Mark {
    acknowledged: Instant,
    frontier: u64,
    time_us: Micros,
    counts: Counts,
}

struct SecondStep {
    acknowledged: Instant,
    offset: u64,
    write: Write,
}

#[derive(Default)]
struct UnderWay {
    first_steps: Vec<(u64, Write)>,
    second_steps: Vec<u64>,
}

/// What a batch of records did to the frontier.
#[derive(Default)]
pub(crate) struct Progressed {
    pub(crate) frontier: u64,
    pub(crate) time_us: Micros,
    pub(crate) counts: Counts,
    /// Second steps by the offset of their marker.
    pub(crate) after_settling: Vec<(u64, Write)>,
}

impl Positions {
    pub(crate) fn new(settle: Duration, row: LedgerRow) -> Self {
        Self {
            settle,
            row,
            marks: VecDeque::new(),
            latest: None,
            waiting: VecDeque::new(),
            closing: VecDeque::new(),
            under_way: UnderWay::default(),
        }
    }

    pub(crate) fn row(&self) -> &LedgerRow {
        &self.row
    }

    /// The next row to commit after a batch, and the second steps that are due with it.
    pub(crate) fn after(
        &mut self,
        now: Instant,
        progressed: Progressed,
    ) -> (LedgerRow, Vec<Write>) {
        let row = &mut self.row;
        row.sequence += 1;
        row.frontier = progressed.frontier;
        row.time_us = progressed.time_us;
        row.counts.merge(&progressed.counts);
        if self.settle.is_zero() {
            row.settled = row.frontier;
            row.resume = row.frontier;
            row.resume_time_us = row.time_us;
            row.resume_counts.clone_from(&row.counts);
            let steps = progressed.after_settling.into_iter();
            return (row.clone(), steps.map(|(_, write)| write).collect());
        }
        self.under_way.first_steps = progressed.after_settling;
        let due = self.due_second_steps(now);
        self.advance(now);
        (self.row.clone(), due)
    }

    /// The row to commit though no record came: positions move and second steps fall due with
    /// time alone. `None`: nothing has changed.
    pub(crate) fn idle(&mut self, now: Instant) -> Option<(LedgerRow, Vec<Write>)> {
        if self.settle.is_zero() {
            return None;
        }
        let due = self.due_second_steps(now);
        let moved = self.advance(now);
        if due.is_empty() && !moved {
            return None;
        }
        self.row.sequence += 1;
        Some((self.row.clone(), due))
    }

    /// The store has acknowledged the commit.
    pub(crate) fn acknowledged(&mut self, now: Instant) {
        if self.settle.is_zero() {
            return;
        }
        let UnderWay { first_steps, second_steps } = std::mem::take(&mut self.under_way);
        self.closing.extend(second_steps.into_iter().map(|offset| (now, offset)));
        let wait = |(offset, write)| SecondStep { acknowledged: now, offset, write };
        self.waiting.extend(first_steps.into_iter().map(wait));
        let newest = self.latest.as_ref().or(self.marks.back()).map_or(0, |mark| mark.frontier);
        if self.row.frontier > newest.max(self.row.resume) {
            self.latest = Some(Mark {
                acknowledged: now,
                frontier: self.row.frontier,
                time_us: self.row.time_us,
                counts: self.row.counts.clone(),
            });
        }
        self.mark(now);
    }

    /// Turns the latest frontier into a mark, unless the last mark is still close.
    fn mark(&mut self, now: Instant) {
        let grain = self.settle / MARKS_PER_SETTLE;
        let close = |mark: &Mark| now.saturating_duration_since(mark.acknowledged) < grain;
        if !self.marks.back().is_some_and(close) {
            self.marks.extend(self.latest.take());
        }
    }

    fn due_second_steps(&mut self, now: Instant) -> Vec<Write> {
        let mut due = Vec::new();
        while let Some(step) = self.waiting.front() {
            if now.saturating_duration_since(step.acknowledged) < self.settle {
                break;
            }
            if let Some(step) = self.waiting.pop_front() {
                self.under_way.second_steps.push(step.offset);
                due.push(step.write);
            }
        }
        due
    }

    /// Moves settled and resume point as far as time allows; whether either moved.
    fn advance(&mut self, now: Instant) -> bool {
        self.mark(now);
        let (settle, before) = (self.settle, (self.row.settled, self.row.resume));
        let age = |acknowledged: Instant| now.saturating_duration_since(acknowledged);
        self.closing.retain(|(acknowledged, _)| age(*acknowledged) < settle);
        let settled = self.marks.iter().rev().find(|mark| age(mark.acknowledged) >= settle);
        self.row.settled = settled.map_or(self.row.settled, |mark| mark.frontier);
        let limit = self.resume_limit();
        while let Some(mark) = self.marks.front() {
            if age(mark.acknowledged) < settle * 2 || mark.frontier > limit {
                break;
            }
            if let Some(mark) = self.marks.pop_front() {
                self.row.resume = mark.frontier;
                self.row.resume_time_us = mark.time_us;
                self.row.resume_counts = mark.counts;
            }
        }
        before != (self.row.settled, self.row.resume)
    }

    /// A marker whose second step is not settled holds the resume point back.
    fn resume_limit(&self) -> u64 {
        let waiting = self.waiting.iter().map(|step| step.offset);
        let closing = self.closing.iter().map(|(_, offset)| *offset);
        let under_way = self.under_way.second_steps.iter().copied();
        waiting.chain(closing).chain(under_way).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use millrace_schema::{Outcome, Topic, UserKey};
    use millrace_store::{Change, Stamp};

    use super::*;

    const SETTLE: Duration = Duration::from_secs(30);

    fn progressed(frontier: u64, n: u64) -> Progressed {
        let mut counts = Counts::default();
        counts.add("p", Outcome::Stored, n);
        Progressed { frontier, time_us: 7, counts, after_settling: Vec::new() }
    }

    fn positions(settle: Duration) -> Positions {
        Positions::new(settle, LedgerRow::new(Topic::Devices, 0))
    }

    fn of(row: &LedgerRow) -> (u64, u64, u64) {
        (row.frontier, row.settled, row.resume)
    }

    #[test]
    fn without_settling_all_three_are_one() {
        let mut positions = positions(Duration::ZERO);
        let now = Instant::now();
        let (row, _) = positions.after(now, progressed(3, 3));
        assert_eq!(of(&row), (3, 3, 3));
        assert_eq!(row.counts.total(), 3);
        assert_eq!(row.resume_counts, row.counts);
        positions.acknowledged(now);
        assert!(positions.idle(now + SETTLE).is_none());
    }

    #[test]
    fn the_resume_point_follows_after_twice_the_settling_time_with_its_counts() {
        let mut positions = positions(SETTLE);
        let start = Instant::now();
        positions.after(start, progressed(3, 3));
        positions.acknowledged(start);
        positions.after(start + SETTLE / 2, progressed(5, 2));
        positions.acknowledged(start + SETTLE / 2);
        let (row, _) = positions.idle(start + SETTLE).unwrap();
        assert_eq!(of(&row), (5, 3, 0));
        let (row, _) = positions.idle(start + SETTLE * 2).unwrap();
        assert_eq!(of(&row), (5, 5, 3));
        assert_eq!(row.resume_counts.total(), 3);
        let (row, _) = positions.idle(start + SETTLE * 3).unwrap();
        assert_eq!(of(&row), (5, 5, 5));
        assert_eq!(row.counts.total(), 5);
    }

    #[test]
    fn frontiers_that_follow_closely_still_reach_the_resume_point() {
        let mut positions = positions(SETTLE);
        let start = Instant::now();
        for n in 1..=10 {
            let now = start + Duration::from_millis(n);
            positions.after(now, progressed(n, 1));
            positions.acknowledged(now);
        }
        assert_eq!(of(&positions.idle(start + SETTLE * 3).unwrap().0), (10, 10, 10));
    }

    #[test]
    fn a_second_step_runs_when_settled_and_holds_the_resume_point_until_it_has_settled() {
        let mut positions = positions(SETTLE);
        let start = Instant::now();
        let change = Change::EraseDevices { user: UserKey::new("p", "u") };
        let write = Write { stamp: Stamp(1), change };
        let after_settling = vec![(2, write.clone())];
        let (_, due) = positions.after(start, Progressed { after_settling, ..progressed(3, 3) });
        assert!(due.is_empty());
        positions.acknowledged(start);
        assert!(positions.idle(start + SETTLE / 2).is_none());
        let second = start + SETTLE * 5 / 2;
        let (row, due) = positions.idle(second).unwrap();
        assert_eq!((of(&row), due), ((3, 3, 0), vec![write]), "held by the step just written");
        positions.acknowledged(second);
        assert!(positions.idle(second + SETTLE / 2).is_none());
        let (row, _) = positions.idle(second + SETTLE).unwrap();
        assert_eq!(of(&row), (3, 3, 3));
    }

    #[test]
    fn the_sum_of_outcomes_is_the_frontier_at_both_ends() {
        let mut positions = positions(SETTLE);
        let start = Instant::now();
        for n in 1..200_u32 {
            let now = start + Duration::from_secs(u64::from(n));
            let frontier = u64::from(n) * 3;
            let (row, _) = positions.after(now, progressed(frontier, 3));
            positions.acknowledged(now);
            assert_eq!(row.counts.total(), row.frontier);
            assert_eq!(row.resume_counts.total(), row.resume);
            assert!(row.resume <= row.settled && row.settled <= row.frontier);
        }
        assert!(positions.row().resume > 0);
    }
}
