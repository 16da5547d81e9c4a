//! What holds and what does not, for people and for machines.

use anyhow::{Result, bail};
use millrace_schema::receipt::Receipt;
use serde_json::json;

use crate::deletion::job::reaches;
use crate::deletion::text::{counted, grouped};
use crate::print::stdout;
use crate::table::table;

/// What was checked.
#[derive(Default)]
pub(super) struct Report {
    /// If it is genuine.
    pub(super) receipt: Option<Receipt>,
    checks: Vec<(&'static str, Result<String, String>)>,
}

impl Report {
    /// A check: why it holds, or why not.
    pub(super) fn add(&mut self, check: &'static str, verdict: Result<String, String>) {
        self.checks.push((check, verdict));
    }

    /// Prints it.
    ///
    /// # Errors
    /// Something does not hold.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        stdout(&if json { format!("{}\n", self.json()) } else { self.text() })?;
        let failed: Vec<_> =
            self.checks.iter().filter(|(_, v)| v.is_err()).map(|(check, _)| *check).collect();
        if !failed.is_empty() {
            bail!("the receipt does not hold: {}", failed.join(", "));
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let checks = self.checks.iter().map(|(check, verdict)| {
            let (Ok(text) | Err(text)) = verdict;
            json!({ "check": check, "holds": verdict.is_ok(), "text": text })
        });
        let holds = self.checks.iter().all(|(_, verdict)| verdict.is_ok());
        let checks: Vec<_> = checks.collect();
        json!({ "holds": holds, "checks": checks, "receipt": self.receipt })
    }

    fn text(&self) -> String {
        let checks = self.checks.iter().map(|(check, verdict)| {
            let (Ok(text) | Err(text)) = verdict;
            let word = if verdict.is_ok() { "holds" } else { "FAILS" };
            vec![word.to_owned(), (*check).to_owned(), text.clone()]
        });
        let checks = table(&checks.collect::<Vec<_>>(), 3);
        let receipt = self.receipt.as_ref().map(summary).unwrap_or_default();
        format!("{receipt}{checks}")
    }
}

fn summary(receipt: &Receipt) -> String {
    let read_back = &receipt.read_back;
    let mut lines = vec![
        ("receipt", format!("{} of project {}", grouped(receipt.number), receipt.project_id)),
        ("job", receipt.job_id.to_string()),
        ("users", grouped(receipt.users)),
        ("erased", reaches(&receipt.erased)),
        ("accepted", receipt.accepted_at.clone()),
        ("settled", receipt.settled_at.clone()),
        ("completed", receipt.completed_at.clone()),
        (
            "read back",
            format!("{}, {} found", counted(read_back.sampled, "user"), grouped(read_back.found)),
        ),
    ];
    lines.extend(receipt.residuals.iter().map(|residual| {
        let until = residual.until.as_deref().unwrap_or("a time that cannot be said");
        ("remains", format!("{} until {until}: {}", residual.place, residual.note))
    }));
    let rows: Vec<_> =
        lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    format!("{}\n", table(&rows, 2))
}
