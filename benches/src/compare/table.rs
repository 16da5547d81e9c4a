//! The outcome, as a table for people and as JSON for machines.

use std::time::Duration;

use serde::Serialize;

use super::lag::Lag;
use crate::process::Memory;
use crate::spread::Spread;
use crate::stats::Report;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) connections: u16,
    pub(super) threads: usize,
    pub(super) rounds: u32,
    /// The median time of one `fdatasync`.
    pub(super) sync_ms: f64,
    pub(super) shapes: Vec<Shape>,
    pub(super) memory: MemoryMib,
    pub(super) lags: Vec<LagLine>,
}

/// What was measured with requests of one size.
#[derive(Debug, Serialize)]
pub(super) struct Shape {
    pub(super) items_per_request: usize,
    pub(super) lines: Vec<Line>,
    pub(super) real_to_null: Spread,
    pub(super) real_to_parse_only: Spread,
}

/// One server under requests of one size.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) server: &'static str,
    #[serde(flatten)]
    pub(super) report: Report,
    /// Processor time of the server, microseconds a request; of the real one with its workers, as
    /// far as they work while requests come.
    pub(super) cpu_us_per_request: f64,
}

/// Memory of the real server at the end.
#[derive(Debug, Serialize)]
pub(super) struct MemoryMib {
    resident_mib: f64,
    peak_mib: f64,
}

/// How the workers stood after one load of the real server.
#[derive(Debug, Serialize)]
pub(super) struct LagLine {
    pub(super) items_per_request: usize,
    pub(super) records_behind: u64,
    /// `null`: not in the time given.
    pub(super) caught_up_s: Option<f64>,
}

impl From<Memory> for MemoryMib {
    fn from(memory: Memory) -> Self {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Self { resident_mib: mib(memory.resident), peak_mib: mib(memory.peak) }
    }
}

impl LagLine {
    pub(super) fn new(items_per_request: usize, lag: Lag) -> Self {
        let caught_up_s = lag.caught_up.as_ref().map(Duration::as_secs_f64);
        Self { items_per_request, records_behind: lag.records, caught_up_s }
    }
}

impl Outcome {
    pub(super) fn print(&self) {
        println!(
            "{} connections, {} generator threads, {} rounds; one fdatasync takes {:.2} ms\n",
            self.connections, self.threads, self.rounds, self.sync_ms
        );
        println!(
            "{:>24}{:>12}{:>12}{:>10}{:>10}{:>10}{:>12}",
            "", "requests/s", "items/s", "p50 ms", "p99 ms", "max ms", "CPU us/req"
        );
        for shape in &self.shapes {
            shape.print();
        }
        let memory = &self.memory;
        println!(
            "memory of millrace: {:.0} MiB, {:.0} at most",
            memory.resident_mib, memory.peak_mib
        );
        for lag in &self.lags {
            lag.print();
        }
    }
}

impl Shape {
    fn print(&self) {
        println!("{} per request", self.items_per_request);
        for line in &self.lines {
            let report = &line.report;
            println!(
                "{:>24}{:>12.0}{:>12.0}{:>10.2}{:>10.2}{:>10.2}{:>12.1}",
                line.server,
                report.requests_per_s,
                report.items_per_s,
                report.p50_ms,
                report.p99_ms,
                report.max_ms,
                line.cpu_us_per_request
            );
            if let Some(trouble) = report.trouble() {
                println!("{:>24}  {trouble}", "NOT ALL ACCEPTED:");
            }
        }
        let ratios = [
            ("millrace / null", self.real_to_null),
            ("millrace / parse-only", self.real_to_parse_only),
        ];
        for (name, Spread { median, least, most }) in ratios {
            println!("{name:>24}{median:>12.2}   ({least:.2} to {most:.2} in single rounds)");
        }
        println!();
    }
}

impl LagLine {
    fn print(&self) {
        let Self { items_per_request, records_behind, caught_up_s } = self;
        let end = match caught_up_s {
            Some(seconds) => format!("caught up after {seconds:.1} s"),
            None => "and did not catch up in time; what was measured next is worth less".to_owned(),
        };
        println!(
            "workers after a load of {items_per_request} per request: {records_behind} behind, {end}"
        );
    }
}
