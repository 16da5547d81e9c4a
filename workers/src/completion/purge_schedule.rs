//! When to purge: a purge rewrites files whether it is for one job or for a hundred, so jobs are
//! gathered for it, and it never takes more than a share of the time.

use std::time::Duration;

use tokio::time::Instant;

/// When the next purge may begin.
pub(super) struct PurgeSchedule {
    /// How long the first job waits for others, at most.
    gather_max: Duration,
    /// How many times the duration of a purge must pass between its end and the next one.
    rest: u32,
    /// Since when a job waits.
    waiting_since: Option<Instant>,
    /// The end of the last purge and how long it took.
    last: Option<(Instant, Duration)>,
}

impl PurgeSchedule {
    pub(super) fn new(gather_max: Duration, rest: u32) -> Self {
        Self { gather_max, rest, waiting_since: None, last: None }
    }

    /// Whether to purge now, given that a job waits for it, and that others are still on their way.
    pub(super) fn is_due(&mut self, now: Instant, waits: bool, others: bool) -> bool {
        if !waits {
            self.waiting_since = None;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        let gathered = !others || now.saturating_duration_since(since) >= self.gather_max;
        let rested = self.last.is_none_or(|(ended, took)| {
            now.saturating_duration_since(ended) >= took.saturating_mul(self.rest)
        });
        gathered && rested
    }

    /// A purge has ended, well or not.
    pub(super) fn purged(&mut self, began: Instant, ended: Instant) {
        self.waiting_since = None;
        self.last = Some((ended, ended.saturating_duration_since(began)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> (PurgeSchedule, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let at = move |seconds| start + Duration::from_secs(seconds);
        (PurgeSchedule::new(Duration::from_secs(10), 4), at)
    }

    #[test]
    fn a_job_alone_does_not_wait() {
        let (mut schedule, at) = schedule();
        assert!(!schedule.is_due(at(0), false, true));
        assert!(schedule.is_due(at(1), true, false));
    }

    #[test]
    fn a_job_waits_for_others_but_not_for_ever() {
        let (mut schedule, at) = schedule();
        assert!(!schedule.is_due(at(5), true, true));
        assert!(!schedule.is_due(at(14), true, true));
        assert!(schedule.is_due(at(14), true, false), "the others have come");
        assert!(schedule.is_due(at(15), true, true));
    }

    #[test]
    fn who_waits_anew_waits_from_the_beginning() {
        let (mut schedule, at) = schedule();
        assert!(!schedule.is_due(at(0), true, true));
        assert!(!schedule.is_due(at(9), false, true), "its partition was taken away");
        assert!(!schedule.is_due(at(10), true, true));
        assert!(schedule.is_due(at(20), true, true));
    }

    #[test]
    fn a_purge_rests_four_times_as_long_as_it_took() {
        let (mut schedule, at) = schedule();
        assert!(schedule.is_due(at(0), true, false));
        schedule.purged(at(0), at(3));
        assert!(!schedule.is_due(at(14), true, false));
        assert!(schedule.is_due(at(15), true, false));
        assert!(!schedule.is_due(at(15), true, true), "gathering begins when the last purge ended");
    }
}
