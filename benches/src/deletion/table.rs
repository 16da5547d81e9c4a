//! The outcome, as a table for people and as JSON for machines.

use serde::Serialize;

use super::erase::{Erased, Times};
use super::ingestion::{Kept, Rates};
use super::on_cluster::OnCluster;
use crate::spread::Spread;

/// All that was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) users: Vec<Erased>,
    pub(super) ingestion: Option<Kept>,
    pub(super) cluster: Option<OnCluster>,
}

impl Outcome {
    pub(super) fn print(&self) {
        if !self.users.is_empty() {
            print_users(&self.users);
        }
        if let Some(kept) = &self.ingestion {
            kept.print();
        }
        if let Some(cluster) = &self.cluster {
            cluster.print();
        }
    }
}

fn print_users(all: &[Erased]) {
    println!("Embedded engines: ten events, a profile and a device each; seconds, MiB");
    println!(
        "{:>10}{:>10}{:>12}{:>10}{:>11}{:>10}{:>20}{:>8}{:>8}{:>11}",
        "users",
        "ids/s",
        "submitted",
        "erased",
        "completed",
        "users/s",
        "alone (rows, comp.)",
        "ratio",
        "t/t",
        "alone t/t"
    );
    let mut smaller: Option<&Erased> = None;
    for one in all {
        let Times { submitted_s, erased_s, completed_s } = one.times;
        let growth = |of: fn(&Erased) -> f64| {
            smaller.map_or("-".to_owned(), |before| format!("{:.1}", of(one) / of(before)))
        };
        println!(
            "{:>10}{:>10.0}{submitted_s:>12.2}{erased_s:>10.2}{completed_s:>11.2}{:>10.0}{:>20}{:>8.2}{:>8}{:>11}",
            one.users,
            one.users as f64 / submitted_s,
            one.users_per_s,
            format!(
                "{:.2} ({:.2}, {:.2})",
                one.raw.seconds(),
                one.raw.written_s,
                one.raw.compacted_s
            ),
            one.to_raw,
            growth(|of| of.times.completed_s),
            growth(|of| of.raw.seconds()),
        );
        smaller = Some(one);
    }
    println!("ratio: completed over the engine alone; t/t: over the line before\n");
    println!(
        "{:>10}{:>10}{:>10}{:>14}{:>14}{:>22}{:>22}",
        "users",
        "loaded",
        "rested",
        "memory before",
        "at most",
        "store before, after",
        "log before, after"
    );
    for one in all {
        println!(
            "{:>10}{:>10.1}{:>10.1}{:>14.0}{:>14.0}{:>22}{:>22}",
            one.users,
            one.loaded_s,
            one.rested_s,
            one.resident_before_mib,
            one.resident_peak_mib,
            format!("{:.0}, {:.0}", one.before.store_mib, one.after.store_mib),
            format!("{:.0}, {:.0}", one.before.log_mib, one.after.log_mib),
        );
    }
    println!();
}

impl Kept {
    fn print(&self) {
        println!(
            "Ingestion while {} users are erased, and without; events/s",
            self.users_per_round
        );
        println!(
            "{:>10}{:>10}{:>12}{:>12}{:>14}{:>12}{:>12}",
            "", "seconds", "accepted", "applied", "without: s", "accepted", "applied"
        );
        for (nth, round) in self.rounds.iter().enumerate() {
            let Rates { seconds, accepted_per_s, applied_per_s } = round.with_job;
            println!(
                "{:>10}{seconds:>10.1}{accepted_per_s:>12.0}{applied_per_s:>12.0}{:>14.1}{:>12.0}{:>12.0}",
                format!("round {}", nth + 1),
                round.without.seconds,
                round.without.accepted_per_s,
                round.without.applied_per_s,
            );
        }
        print_ratio("accepted", self.accepted);
        print_ratio("applied", self.applied);
        println!();
    }
}

impl OnCluster {
    fn print(&self) {
        println!(
            "Kafka and Cassandra: {} users a round, {} statements each, --cql-settle-ms {}; seconds",
            self.users_per_round, self.statements_per_user, self.settle_ms
        );
        println!(
            "{:>10}{:>10}{:>10}{:>12}{:>10}{:>11}{:>22}{:>8}{:>9}",
            "",
            "loaded",
            "rested",
            "submitted",
            "erased",
            "completed",
            "driver (deletes only)",
            "ratio",
            "deletes"
        );
        for (nth, round) in self.rounds.iter().enumerate() {
            let Times { submitted_s, erased_s, completed_s } = round.times;
            println!(
                "{:>10}{:>10.0}{:>10.0}{submitted_s:>12.2}{erased_s:>10.2}{completed_s:>11.2}{:>22}{:>8.2}{:>9.2}",
                format!("round {}", nth + 1),
                round.loaded_s,
                round.rested_s,
                format!("{:.2} ({:.2})", round.alone.seconds(), round.alone.deleted_s),
                round.to_alone(),
                round.to_deletes(),
            );
        }
        print_ratio("erased / alone", self.to_alone);
        print_ratio("/ deletes only", self.to_deletes);
        println!("erased: the workers have passed all markers; completed: that has settled, too\n");
    }
}

fn print_ratio(name: &str, Spread { median, least, most }: Spread) {
    println!("{name:>16}{median:>8.2}   ({least:.2} to {most:.2} in single rounds)");
}
