//! Jobs that could not be completed: each is left alone for a while, longer every time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::JobKey;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// How long each was put off last, and until when.
#[derive(Default)]
pub(super) struct PutOff(HashMap<JobKey, (Duration, Instant)>);

impl PutOff {
    /// Puts a job off once more.
    pub(super) fn add(&mut self, job: JobKey, now: Instant) {
        let last = self.0.get(&job).map(|(delay, _)| *delay);
        let delay = last.map_or(FIRST, |delay| delay.saturating_mul(2)).min(LONGEST);
        self.0.insert(job, (delay, now + delay));
    }

    pub(super) fn holds(&self, job: &JobKey, now: Instant) -> bool {
        self.0.get(job).is_some_and(|(_, until)| now < *until)
    }

    /// Forgets all jobs but these.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&JobKey) -> bool) {
        self.0.retain(|job, _| is_kept(job));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_job_is_put_off_twice_as_long_each_time_and_five_minutes_at_most() {
        let job = ("p".to_owned(), Uuid::nil());
        let other = ("p".to_owned(), Uuid::max());
        let mut put_off = PutOff::default();
        let mut now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..11 {
            put_off.add(job.clone(), now);
            let held = (1..).find(|s| !put_off.holds(&job, now + Duration::from_secs(*s)));
            delays.push(held.unwrap());
            assert!(!put_off.holds(&other, now));
            now += LONGEST;
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        put_off.retain(|job| *job == other);
        assert!(!put_off.holds(&job, now));
    }
}
