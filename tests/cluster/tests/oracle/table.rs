//! What came of the rounds, as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use millrace_tests::model::{Op, Outcome};
use millrace_tests::oracle::{Rule, Violation};
use millrace_tests::sender::{CUT_SHORT, UNREACHABLE};

const HEAD: &str = "\
| fault | rounds | requests | acknowledged | lost | doubled | resurrected | other | longest not ready: door, worker (s) | what clients saw |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// One fault, in one round or several.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) fault: String,
    rounds: u64,
    requests: usize,
    acknowledged: usize,
    lost: usize,
    doubled: usize,
    resurrected: usize,
    other: usize,
    door: Duration,
    worker: Duration,
    answers: BTreeMap<String, u64>,
}

impl Row {
    /// Of one round.
    pub(crate) fn new(
        fault: &str,
        ops: &[Op],
        found: &[Violation],
        (door, worker): (Duration, Duration),
    ) -> Self {
        let of = |rule| found.iter().filter(|violation| violation.rule == rule).count();
        let (lost, doubled, resurrected) = (of(Rule::Lost), of(Rule::Twice), of(Rule::Erased));
        let mut answers = BTreeMap::new();
        for op in ops {
            *answers.entry(answer(op)).or_default() += 1;
        }
        Self {
            fault: fault.to_owned(),
            rounds: 1,
            requests: ops.len(),
            acknowledged: ops.iter().filter(|op| op.accepted()).count(),
            lost,
            doubled,
            resurrected,
            other: found.len() - lost - doubled - resurrected,
            door,
            worker,
            answers,
        }
    }

    fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.requests += other.requests;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.resurrected += other.resurrected;
        self.other += other.other;
        self.door = self.door.max(other.door);
        self.worker = self.worker.max(other.worker);
        for (answer, n) in other.answers {
            *self.answers.entry(answer).or_default() += n;
        }
    }

    fn line(&self) -> String {
        let answers: Vec<String> =
            self.answers.iter().map(|(answer, n)| format!("{answer}: {n}")).collect();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.1}, {:.1} | {} |",
            self.fault,
            self.rounds,
            self.requests,
            self.acknowledged,
            self.lost,
            self.doubled,
            self.resurrected,
            self.other,
            self.door.as_secs_f64(),
            self.worker.as_secs_f64(),
            answers.join(", "),
        )
    }
}

/// What the client of an operation saw.
fn answer(op: &Op) -> String {
    match &op.outcome {
        Outcome::Accepted => "202".into(),
        Outcome::Refused(CUT_SHORT) => "hung up".into(),
        Outcome::Refused(UNREACHABLE) => "refused connection".into(),
        Outcome::Refused(status) => status.to_string(),
        Outcome::Unknown(why) if why == "503" || why == "hung up" => why.clone(),
        Outcome::Unknown(_) => "no answer".into(),
    }
}

/// All rounds so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a round, to those of the same fault.
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", row.line());
        match self.rows.iter_mut().find(|known| known.fault == row.fault) {
            Some(known) => known.add(row),
            None => self.rows.push(row),
        }
    }

    /// Prints it, and writes it to the file that `MILLRACE_CLUSTER_TABLE` names.
    pub(crate) fn show(&self) -> Result<()> {
        let mut text = HEAD.to_owned();
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.line());
        }
        println!("{text}");
        if let Some(path) = std::env::var_os("MILLRACE_CLUSTER_TABLE") {
            std::fs::write(PathBuf::from(path), text)?;
        }
        Ok(())
    }
}
