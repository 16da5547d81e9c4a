//! The outcome, as a table for people and as JSON for machines.

use serde::Serialize;

use super::door::Shape;
use super::drain::{Drains, Point, Round, Statements};
use super::steady::Steady;
use super::usage::Usage;
use crate::spread::Spread;
use crate::stats::Report;

/// Points of a series that are printed, at most; JSON has all.
const POINTS: usize = 12;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) partitions: u32,
    pub(super) replication_factor: u16,
    pub(super) connections: u16,
    pub(super) threads: usize,
    pub(super) rounds: u32,
    pub(super) users: u64,
    pub(super) to_kafka: Vec<Shape>,
    pub(super) to_database: Drains,
    pub(super) steady: Steady,
}

impl Outcome {
    pub(super) fn print(&self) {
        let Self { partitions, replication_factor, connections, threads, rounds, .. } = self;
        println!(
            "{partitions} partitions, {replication_factor} copies, {threads} client threads\n"
        );
        println!("Front door to Kafka: {connections} requests under way, {rounds} rounds");
        println!(
            "{:>24}{:>12}{:>12}{:>10}{:>10}{:>10}",
            "", "requests/s", "events/s", "p50 ms", "p99 ms", "max ms"
        );
        for shape in &self.to_kafka {
            shape.print();
        }
        self.to_database.print(self.users);
        self.steady.print();
    }
}

impl Shape {
    fn print(&self) {
        println!("{} per request", self.items_per_request);
        for line in &self.lines {
            print_report(line.name, &line.report);
        }
        print_ratio("front door / alone", self.door_to_raw, self.door_to_raw_cpu);
        print_usage_head();
        for line in &self.lines {
            print_usage(line.name, &line.usage);
        }
        println!();
    }
}

impl Drains {
    fn print(&self, users: u64) {
        let Self { events_per_round, .. } = self;
        println!("Workers to the database: {events_per_round} events a round, of {users} users");
        println!(
            "{:>24}{:>14}{:>14}{:>16}{:>16}{:>16}",
            "",
            "worker rows/s",
            "driver rows/s",
            "records/commit",
            "worker rows/st",
            "driver rows/st"
        );
        for (nth, round) in self.rounds.iter().enumerate() {
            println!(
                "{:>24}{:>14.0}{:>14.0}{:>16.1}{:>16.2}{:>16.2}",
                format!("round {}", nth + 1),
                round.worker_rows_per_s,
                round.raw_rows_per_s,
                round.records_per_commit,
                round.worker_rows_per_statement,
                round.raw_rows_per_statement
            );
        }
        print_ratio("worker / alone", self.worker_to_raw, self.worker_to_raw_cpu);
        print_usage_head();
        print_usage("worker", &self.worker_usage);
        print_usage("driver alone", &self.raw_usage);
        for round in self.rounds.iter().rev().take(1) {
            round.print_statements();
        }
        for (nth, round) in self.rounds.iter().enumerate() {
            print_lag(&format!("round {}", nth + 1), &round.lag);
        }
        if let Some(profiles) = &self.profiles {
            println!("{} changes of profiles: {:.0}/s", profiles.records, profiles.records_per_s);
            print_usage("profiles", &profiles.usage);
            print_lag("profiles", &profiles.lag);
        }
        println!();
    }
}

impl Round {
    fn print_statements(&self) {
        let shown = self.statements.iter().map(|statements| {
            let Statements { kind, per_1000_rows, mean_ms } = statements;
            format!("{per_1000_rows:.1} {kind} ({mean_ms:.1} ms)")
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        println!("{:>24} {shown}; a commit {:.0} ms", "statements/1,000 rows", self.commit_ms);
    }
}

impl Steady {
    fn print(&self) {
        println!("Front door and worker at {:.0} events/s", self.events_per_s);
        print_report("front door", &self.report);
        print_usage_head();
        print_usage("", &self.usage);
        print_lag("", &self.lag);
    }
}

fn print_report(name: &str, report: &Report) {
    println!(
        "{name:>24}{:>12.0}{:>12.0}{:>10.2}{:>10.2}{:>10.2}",
        report.requests_per_s, report.items_per_s, report.p50_ms, report.p99_ms, report.max_ms
    );
    if let Some(trouble) = report.trouble() {
        println!("{:>24}  {trouble}", "NOT ALL ACCEPTED:");
    }
}

fn print_ratio(name: &str, Spread { median, least, most }: Spread, cpu: Option<f64>) {
    println!("{name:>24}{median:>12.2}   ({least:.2} to {most:.2} in single rounds)");
    if let Some(cpu) = cpu {
        println!("{:>24}{cpu:>12.2}   without the generator", "in processor time");
    }
}

fn print_usage_head() {
    println!(
        "{:>24}{:>12}{:>12}{:>16}{:>8}{:>8}",
        "", "process", "CPU s", "ms/1,000 events", "MiB", "peak"
    );
}

fn print_usage(of: &str, usages: &[Usage]) {
    for usage in usages {
        let Usage { process, cpu_s, cpu_ms_per_1000_events, resident_mib, peak_mib } = usage;
        println!(
            "{of:>24}{process:>12}{cpu_s:>12.1}{cpu_ms_per_1000_events:>16.2}\
             {resident_mib:>8.0}{peak_mib:>8.0}"
        );
    }
}

fn print_lag(name: &str, lag: &[Point]) {
    let each = lag.len().div_ceil(POINTS).max(1);
    let shown = lag.iter().enumerate().filter(|(nth, _)| nth % each == 0 || nth + 1 == lag.len());
    let shown = shown.map(|(_, Point { seconds, behind })| format!("{seconds:.1} s {behind}"));
    println!("{name:>24} behind after {}", shown.collect::<Vec<_>>().join(", "));
}
