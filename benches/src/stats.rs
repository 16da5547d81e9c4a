//! What was measured: counts, latencies, and how they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency told apart, microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Latencies are exact to so many digits.
const LATENCY_DIGITS: u8 = 2;

/// What one connection, or all of them, have measured.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    latency_us: Histogram<u64>,
    accepted: u64,
    items: u64,
    refused: BTreeMap<u16, u64>,
    broken: u64,
}

impl Stats {
    pub(crate) fn new() -> Result<Self> {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, LATENCY_DIGITS)?;
        Ok(Self { latency_us, accepted: 0, items: 0, refused: BTreeMap::new(), broken: 0 })
    }

    /// Counts an answer. Anything but 202 is a refusal, and none of its items count.
    pub(crate) fn answered(&mut self, status: u16, items: usize, latency: Duration) {
        self.latency_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        if status == 202 {
            self.accepted += 1;
            self.items += items as u64;
        } else {
            *self.refused.entry(status).or_default() += 1;
        }
    }

    /// Counts a connection that broke.
    pub(crate) fn broke(&mut self) {
        self.broken += 1;
    }

    /// Adds what another has measured.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.latency_us.add(&other.latency_us)?;
        self.accepted += other.accepted;
        self.items += other.items;
        self.broken += other.broken;
        for (status, n) in &other.refused {
            *self.refused.entry(*status).or_default() += n;
        }
        Ok(())
    }

    /// Accepted requests.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// What it comes to over `elapsed`.
    pub(crate) fn report(&self, elapsed: Duration) -> Report {
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        let quantile_ms = |q| self.latency_us.value_at_quantile(q) as f64 / 1e3;
        Report {
            seconds,
            requests: self.accepted,
            requests_per_s: self.accepted as f64 / seconds,
            items_per_s: self.items as f64 / seconds,
            p50_ms: quantile_ms(0.50),
            p99_ms: quantile_ms(0.99),
            max_ms: self.latency_us.max() as f64 / 1e3,
            refused: self.refused.clone(),
            broken_connections: self.broken,
        }
    }
}

/// A measurement, as it is told. Rates count accepted requests only.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) requests_per_s: f64,
    pub(crate) items_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Answers other than 202, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    pub(crate) broken_connections: u64,
}

impl Report {
    /// What went wrong, in words; `None` if nothing did.
    pub(crate) fn trouble(&self) -> Option<String> {
        let refused = self.refused.iter().map(|(status, n)| format!("{n} answers of {status}"));
        let broken = (self.broken_connections > 0)
            .then(|| format!("{} broken connections", self.broken_connections));
        let all: Vec<String> = refused.chain(broken).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_requests_count_and_others_are_named() {
        let mut all = Stats::new().unwrap();
        let mut one = Stats::new().unwrap();
        one.answered(202, 100, Duration::from_millis(2));
        one.answered(503, 100, Duration::from_millis(1));
        one.broke();
        all.merge(&one).unwrap();
        all.merge(&one).unwrap();
        let report = all.report(Duration::from_secs(2));
        assert_eq!((report.requests_per_s, report.items_per_s), (1.0, 100.0));
        assert_eq!(report.trouble().unwrap(), "2 answers of 503, 2 broken connections");
        assert_eq!(Stats::new().unwrap().report(Duration::from_secs(1)).trouble(), None);
    }
}
