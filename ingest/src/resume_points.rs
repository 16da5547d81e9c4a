//! The resume points as clients have seen them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use millrace_schema::Topic;
use millrace_store::LedgerRow;

/// The resume point of every partition that has one.
pub(crate) type Resumes = HashMap<(Topic, u32), u64>;

/// The furthest resume point that was read of every partition. A crash may make the database
/// forget the latest rows of the ledger; what a client was told of a job's progress does not go
/// back with them, because the work behind a resume point is never forgotten.
#[derive(Default)]
pub(crate) struct ResumePoints(Mutex<Resumes>);

impl ResumePoints {
    /// Takes in what the ledger says now; the furthest of all that it has said.
    pub(crate) fn read(&self, ledger: &[LedgerRow]) -> Resumes {
        // Plain numbers: whole even if a holder panicked.
        let mut furthest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for row in ledger {
            let at = furthest.entry((row.topic, row.partition)).or_default();
            *at = row.resume.max(*at);
        }
        furthest.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_has_forgotten_does_not_take_progress_back() {
        let points = ResumePoints::default();
        let ledger = |resume| [LedgerRow { resume, ..LedgerRow::new(Topic::Events, 1) }];
        let read = |resume| points.read(&ledger(resume))[&(Topic::Events, 1)];
        assert_eq!([read(5), read(3), read(7)], [5, 5, 7]);
    }
}
