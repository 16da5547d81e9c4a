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

#[cfg(test)]
mod tests {
    use millrace_accounts::ReceiptSigner;
    use millrace_schema::receipt::{IDS_HASH_ALGORITHM, IdsHash, ReadBack};
    use uuid::Uuid;

    use super::*;

    fn receipt(number: u64, previous: Option<Previous>) -> Receipt {
        let ids = IdsHash {
            alg: IDS_HASH_ALGORITHM.to_owned(),
            salt: String::new(),
            hash: String::new(),
        };
        let at = || "2026-01-17T05:39:22Z".to_owned();
        Receipt {
            iss: "millrace".to_owned(),
            iat: 1_768_628_362,
            jti: Uuid::from_u128(1),
            project_id: "shop".to_owned(),
            job_id: job(number),
            accepted_at: at(),
            settled_at: at(),
            completed_at: at(),
            users: 1,
            ids,
            erased: Vec::new(),
            fence: Vec::new(),
            read_back: ReadBack { sampled: 1, found: 0 },
            residuals: Vec::new(),
            number,
            previous,
        }
    }

    fn job(number: u64) -> Uuid {
        Uuid::from_u128(number.into())
    }

    fn signer() -> ReceiptSigner {
        let folder = tempfile::tempdir().unwrap();
        ReceiptSigner::load_or_create(&folder.path().join("receipts.pem")).unwrap()
    }

    #[test]
    fn only_the_first_receipt_has_none_before_it() {
        let previous = || Some(Previous { job_id: job(1), hash: String::new() });
        assert_eq!(step(&receipt(1, None)), Ok(None));
        assert_eq!(step(&receipt(2, previous())), Ok(previous().as_ref()));
        for (number, previous) in [(0, None), (0, previous()), (1, previous()), (2, None)] {
            assert!(step(&receipt(number, previous)).is_err(), "{number}");
        }
    }

    #[test]
    fn what_the_next_receipt_names_must_also_be_signed_and_stand_before_it() {
        let (ours, foreign) = (signer(), signer());
        let keys = Jwks::of(&[ours.receipt_key()]);
        let judged = |before: &Receipt, signer: &ReceiptSigner| {
            let token = signer.sign(before).unwrap();
            let said = Previous { job_id: job(2), hash: token_hash(&token) };
            older(&receipt(3, Some(said.clone())), &said, &token, &keys)
        };
        let good = receipt(2, None);
        assert_eq!(judged(&good, &ours), Ok(good.clone()));
        assert!(judged(&good, &foreign).unwrap_err().contains("fails"));
        let other_job = Receipt { job_id: job(9), ..good.clone() };
        assert!(judged(&other_job, &ours).unwrap_err().contains("is of job"));
        let other_project = Receipt { project_id: "other".to_owned(), ..good };
        assert!(judged(&other_project, &ours).unwrap_err().contains("of other"));
        let gap = Receipt { job_id: job(2), ..receipt(1, None) };
        assert!(judged(&gap, &ours).unwrap_err().contains("says that it is number 1"));
    }
}
