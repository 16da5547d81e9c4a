//! What a partition tells Prometheus.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use millrace_schema::{Counts, Outcome, Topic};

pub(crate) struct Meters {
    records: Vec<(Outcome, Counter)>,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_records: Histogram,
    pub(crate) beginnings: Counter,
    pub(crate) paused: Gauge,
}

impl Meters {
    pub(crate) fn new(topic: Topic, partition: u32) -> Self {
        let topic = topic.short_name();
        let records = |outcome: Outcome| {
            let labels = [("topic", topic), ("outcome", outcome.name())];
            (outcome, counter!("millrace_worker_records_total", &labels))
        };
        let partition = partition.to_string();
        Self {
            records: Outcome::ALL.into_iter().map(records).collect(),
            commit_seconds: histogram!("millrace_worker_commit_seconds", "topic" => topic),
            commit_records: histogram!("millrace_worker_commit_records", "topic" => topic),
            beginnings: counter!("millrace_worker_beginnings_total", "topic" => topic),
            paused: gauge!("millrace_worker_paused", "topic" => topic, "partition" => partition),
        }
    }

    pub(crate) fn count(&self, counts: &Counts) {
        let by_outcome = counts.by_outcome();
        for (outcome, counter) in &self.records {
            if let Some(n) = by_outcome.get(outcome) {
                counter.increment(*n);
            }
        }
    }
}
