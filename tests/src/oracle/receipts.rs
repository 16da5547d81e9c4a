//! Receipts: one for each completed job, true in all that can be known from outside, in one chain.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use millrace_schema::receipt::{IDS_HASH_ALGORITHM, Receipt, ids_hash, token_hash, unhex};
use uuid::Uuid;

use super::{Rule, Violation};
use crate::model::{Call, Op};
use crate::observe::{JobSeen, Seen, time_us};

pub(super) fn check(history: &[Op], seen: &Seen, found: &mut Vec<Violation>) {
    let mut wrong = |detail: String| found.push(Violation { rule: Rule::Receipt, detail });
    let mut chain: BTreeMap<u64, (Uuid, Receipt)> = BTreeMap::new();
    for (id, job) in seen.jobs.iter().filter(|(_, job)| job.status == "completed") {
        let Some(token) = seen.receipts.get(id) else {
            wrong(format!("job {id} has none"));
            continue;
        };
        let receipt = match seen.keys.verify(token) {
            Ok(receipt) => receipt,
            Err(error) => {
                wrong(format!("that of job {id}: {error:#}"));
                continue;
            }
        };
        let op = history.iter().find(|op| op.job == Some(*id));
        if let Err(error) = says(&receipt, job, op).and_then(|()| passed(&receipt, seen)) {
            wrong(format!("that of job {id}: {error:#}: {receipt:?}, {job:?}"));
        }
        let number = receipt.number;
        if let Some((other, _)) = chain.insert(number, (*id, receipt)) {
            wrong(format!("jobs {id} and {other} both have number {number}"));
        }
    }
    let mut before: Option<Uuid> = None;
    for (expected, (number, (job, receipt))) in (1..).zip(&chain) {
        let hash = before.and_then(|job| seen.receipts.get(&job)).map(|token| token_hash(token));
        let named = receipt.previous.as_ref().map(|previous| previous.hash.clone());
        let named_job = receipt.previous.as_ref().map(|previous| previous.job_id);
        if *number != expected || hash != named || named_job != before {
            wrong(format!("after {before:?} ({hash:?}) comes not {expected}, but {receipt:?}"));
        }
        before = Some(*job);
    }
}

/// Whether it says what the job and the request say.
fn says(receipt: &Receipt, job: &JobSeen, op: Option<&Op>) -> Result<()> {
    ensure!(receipt.job_id == job.job_id && receipt.users == job.users, "another job's");
    let erased: Vec<String> = job.erase.iter().cloned().collect();
    let mut named: Vec<String> = Vec::new();
    for reach in &receipt.erased {
        named.push(serde_json::to_value(reach)?.as_str().unwrap_or_default().to_owned());
        let of_topic = receipt.fence.iter().filter(|fence| fence.topic == reach.topic());
        let markers: u64 = of_topic.map(|fence| fence.count).sum();
        ensure!(markers == job.users, "{markers} markers in {}", reach.topic());
    }
    named.sort_unstable();
    ensure!(named == erased, "erased {named:?}, not {erased:?}");
    ensure!(receipt.fence.iter().all(|f| f.first <= f.last && f.count >= 1), "its fence");
    ensure!(receipt.read_back.found == 0, "it has found something");
    ensure!((1..=job.users).contains(&receipt.read_back.sampled), "its sample");
    ensure!(!receipt.residuals.is_empty(), "nothing remains anywhere");
    let completed_at = job.completed_at.as_ref();
    ensure!(
        receipt.accepted_at == job.accepted_at && Some(&receipt.completed_at) == completed_at,
        "its times"
    );
    let times = [&receipt.accepted_at, &receipt.settled_at, &receipt.completed_at];
    let times = times.map(|text| time_us(text));
    let [accepted, settled, completed] = times;
    ensure!(settled? <= completed? && accepted.is_ok(), "settled after it was completed");
    let Some(Call::Delete { users, .. }) = op.map(|op| &*op.call) else { return Ok(()) };
    let salt = unhex(&receipt.ids.salt).unwrap_or_default();
    let hash = ids_hash(&salt, users.iter().map(String::as_str));
    let (alg, own) = (&receipt.ids.alg, &receipt.ids.hash);
    ensure!(alg == IDS_HASH_ALGORITHM && salt.len() >= 16 && *own == hash, "the hash of its ids");
    Ok(())
}

/// Whether the workers have passed its markers.
fn passed(receipt: &Receipt, seen: &Seen) -> Result<()> {
    for fence in &receipt.fence {
        let here = seen.ledger.iter().find(|row| {
            (row.topic.as_str(), row.partition) == (fence.topic.name(), fence.partition)
        });
        ensure!(here.is_some_and(|row| row.frontier > fence.last), "not passed: {fence:?}");
    }
    Ok(())
}
