//! What deletions tell Prometheus: each process of the jobs that it completes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use millrace_schema::time::{Micros, wall_clock_us};
use millrace_store::JobRow;

use super::Resumes;

/// How often the age of the oldest job is set.
const AGE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Meters {
    users_erased: Counter,
    /// Jobs that left data behind.
    pub(super) jobs_failed: Counter,
    /// How many times a user had more events than were looked at.
    pub(super) read_back_cut: Counter,
    users_pending: Gauge,
    oldest_unfinished_seconds: Gauge,
    /// When the oldest unfinished job was accepted, as it was last read.
    oldest_us: Mutex<Option<Micros>>,
    seconds: Histogram,
    pub(super) purge_seconds: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            users_erased: counter!("millrace_deletion_users_erased_total"),
            jobs_failed: counter!("millrace_deletion_jobs_failed_total"),
            read_back_cut: counter!("millrace_deletion_read_back_cut_total"),
            users_pending: gauge!("millrace_deletion_users_pending"),
            oldest_unfinished_seconds: gauge!("millrace_deletion_oldest_unfinished_seconds"),
            oldest_us: Mutex::default(),
            seconds: histogram!("millrace_deletion_seconds"),
            purge_seconds: histogram!("millrace_deletion_purge_seconds"),
        }
    }

    /// The jobs that are open.
    pub(super) fn open(&self, jobs: &[JobRow], resumes: &Resumes) {
        let done = |job: &JobRow| job.users_done(|topic, partition| resumes.at(topic, partition));
        let pending = jobs.iter().map(|job| job.job.users.saturating_sub(done(job)));
        self.users_pending.set(pending.fold(0, u64::saturating_add) as f64);
        let oldest_us = jobs.iter().map(|job| job.accepted_us).min();
        // A plain value: whole even if a holder panicked.
        *self.oldest_us.lock().unwrap_or_else(PoisonError::into_inner) = oldest_us;
        self.age();
    }

    /// Lets the oldest job grow older for ever, whether it can be read again or not.
    pub(super) async fn keep_age(&self) {
        loop {
            tokio::time::sleep(AGE_EVERY).await;
            self.age();
        }
    }

    fn age(&self) {
        let oldest_us = *self.oldest_us.lock().unwrap_or_else(PoisonError::into_inner);
        let age = oldest_us.map(|us| since(us, wall_clock_us())).unwrap_or_default();
        self.oldest_unfinished_seconds.set(age.as_secs_f64());
    }

    /// A job that is completed.
    pub(super) fn completed(&self, job: &JobRow, completed_us: Micros) {
        self.users_erased.increment(job.job.users);
        self.seconds.record(since(job.accepted_us, completed_us));
    }
}

/// Clocks may differ.
fn since(from_us: Micros, to_us: Micros) -> Duration {
    Duration::from_micros(u64::try_from(to_us.saturating_sub(from_us)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
    use millrace_schema::Topic;
    use millrace_schema::record::{Fence, Job, Reach};
    use uuid::Uuid;

    use super::*;

    fn job(users: u64, accepted_us: Micros) -> JobRow {
        let (topic, first, count) = (Topic::Events, 10, users);
        let fence = Fence { topic, partition: 0, first, last: first + count - 1, count };
        let job = Job {
            job: Uuid::nil(),
            users,
            erase: vec![Reach::Events],
            fence: vec![fence],
            ..Job::default()
        };
        JobRow { project: "p".to_owned(), accepted_us, job, completion: None }
    }

    /// The values of the metrics without labels, after some were set.
    fn after(set: impl FnOnce(&Meters)) -> HashMap<String, f64> {
        let recorder = PrometheusBuilder::new().build_recorder();
        let meters = metrics::with_local_recorder(&recorder, Meters::new);
        set(&meters);
        values(&recorder)
    }

    fn values(recorder: &PrometheusRecorder) -> HashMap<String, f64> {
        let text = recorder.handle().render();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| line.split_once(' '));
        values.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    #[test]
    fn users_are_pending_until_the_resume_points_have_passed_their_markers() {
        let pending = |resume| {
            let resumes = Resumes([((Topic::Events, 0), resume)].into());
            after(|meters| meters.open(&[job(4, 0), job(2, 0)], &resumes))
        };
        let pending = |resume| pending(resume)["millrace_deletion_users_pending"];
        assert_eq!([0, 11, 12, 14].map(pending), [6.0, 4.0, 2.0, 0.0]);
    }

    #[test]
    fn the_oldest_unfinished_job_is_that_which_was_accepted_first() {
        let minute_us = 60_000_000;
        let now_us = wall_clock_us();
        let jobs = [job(1, now_us), job(1, now_us - minute_us), job(1, now_us + minute_us)];
        let age = |jobs: &[JobRow]| {
            let values = after(|meters| meters.open(jobs, &Resumes::default()));
            values["millrace_deletion_oldest_unfinished_seconds"]
        };
        assert!((60.0..120.0).contains(&age(&jobs)));
        assert_eq!((age(&jobs[2..]), age(&[])), (0.0, 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_job_grows_older_while_no_other_is_read() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let meters = metrics::with_local_recorder(&recorder, Meters::new);
        let now_us = wall_clock_us();
        meters.open(&[job(1, now_us)], &Resumes::default());
        let age = || values(&recorder)["millrace_deletion_oldest_unfinished_seconds"];
        let before = age();
        while wall_clock_us() < now_us + 2_000 {
            std::hint::spin_loop();
        }
        assert!(tokio::time::timeout(AGE_EVERY * 2, meters.keep_age()).await.is_err());
        assert!(age() > before);
    }

    #[test]
    fn a_completed_job_counts_its_users_and_the_time_since_it_was_accepted() {
        let values = after(|meters| {
            meters.completed(&job(3, 1_000_000), 4_500_000);
            meters.completed(&job(2, 1_000_000), 0);
            meters.purge_seconds.record(Duration::from_millis(250));
        });
        assert_eq!(values["millrace_deletion_users_erased_total"], 5.0);
        assert_eq!(values["millrace_deletion_seconds_sum"], 3.5);
        assert_eq!(values["millrace_deletion_seconds_count"], 2.0);
        assert_eq!(values["millrace_deletion_purge_seconds_sum"], 0.25);
    }
}
