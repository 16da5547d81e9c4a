//! Whether the receipts before one are all there, each as the next one says.

use anyhow::Result;
use hyper::StatusCode;
use millrace_accounts::{Jwks, verify_receipt};
use millrace_schema::receipt::{Previous, Receipt, token_hash};

use crate::deletion::api::Api;
use crate::deletion::text::{counted, grouped};

/// Why all receipts back to the first hold, or why not.
///
/// # Errors
/// The server refuses or stays away.
pub(super) async fn check(
    api: &Api,
    receipt: &Receipt,
    keys: &Jwks,
) -> Result<Result<String, String>> {
    let mut newer = receipt.clone();
    loop {
        let previous = match step(&newer) {
            Ok(Some(previous)) => previous,
            Ok(None) => break,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let token = match api.receipt(previous.job_id).await {
            Ok(token) => token,
            Err(error) => match error.status() {
                Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {
                    let (number, job) = (grouped(newer.number - 1), previous.job_id);
                    return Ok(Err(format!("receipt {number}, of job {job}, is missing: {error}")));
                }
                _ => return Err(error.into()),
            },
        };
        newer = match older(&newer, previous, &token, keys) {
            Ok(older) => older,
            Err(wrong) => return Ok(Err(wrong)),
        };
    }
    let receipts = counted(receipt.number, "receipt");
    Ok(Ok(format!("{receipts} back to number 1, each with the hash that the next one names")))
}

/// What stands before a receipt, by its own words.
fn step(receipt: &Receipt) -> Result<Option<&Previous>, String> {
    match (receipt.number, &receipt.previous) {
        (1, None) => Ok(None),
        (2.., Some(previous)) => Ok(Some(previous)),
        (0, _) => Err("a receipt has number 0".to_owned()),
        (1, Some(_)) => Err("receipt 1 names one before it".to_owned()),
        (number, None) => Err(format!("receipt {} names none before it", grouped(number))),
    }
}

/// A receipt that is what the next one says.
fn older(newer: &Receipt, said: &Previous, token: &str, keys: &Jwks) -> Result<Receipt, String> {
    let number = newer.number - 1;
    let what = format!("receipt {}, of job {},", grouped(number), said.job_id);
    if token_hash(token) != said.hash {
        return Err(format!("{what} is not the one whose hash the next one names"));
    }
    let older = verify_receipt(token, keys).map_err(|error| format!("{what} fails: {error}"))?;
    if (&older.project_id, older.job_id) != (&newer.project_id, said.job_id) {
        return Err(format!("{what} is of job {} of {}", older.job_id, older.project_id));
    }
    if older.number != number {
        return Err(format!("{what} says that it is number {}", grouped(older.number)));
    }
    Ok(older)
}
