//! `millrace deletion verify`: whether a receipt is genuine, and about what it is said to be.

mod chain;
mod ids;
mod report;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use millrace_accounts::{Jwks, verify_receipt};
use millrace_schema::receipt::Receipt;

use self::report::Report;
use super::api::Api;
use crate::cli::VerifyOptions;

/// Bytes of a receipt or of a set of keys, in a file.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Verifies a receipt.
///
/// # Errors
/// Something does not hold, or cannot be had.
pub(super) async fn run(api: &Api, json: bool, options: &VerifyOptions) -> Result<()> {
    let token = token(api, options).await?;
    let keys = keys(api, options).await?;
    let mut report = Report::default();
    if let Some(receipt) = signature(&token, &keys, options, &mut report) {
        if let Some(list) = &options.ids {
            report.add("ids", ids::check(&receipt, list, &options.input).await?);
        }
        if options.chain {
            report.add("chain", chain::check(api, &receipt, &keys).await?);
        }
        report.receipt = Some(receipt);
    }
    report.print(json)
}

async fn token(api: &Api, options: &VerifyOptions) -> Result<String> {
    let text = match options.job() {
        Some(job) => api.receipt(job).await?,
        None => file(Path::new(&options.receipt))?,
    };
    Ok(text.trim().to_owned())
}

async fn keys(api: &Api, options: &VerifyOptions) -> Result<Jwks> {
    let named = options.jwks.as_deref();
    let is_url = |named: &str| named.starts_with("http://") || named.starts_with("https://");
    let text = match named.filter(|named| !is_url(named)) {
        Some(path) => file(Path::new(path))?,
        None => api.jwks(named).await.context("the public keys")?,
    };
    let of = named.unwrap_or_else(|| api.server());
    serde_json::from_str(&text).with_context(|| format!("{of}: this is no set of public keys"))
}

/// A receipt that is genuine, and of the job that was named.
fn signature(
    token: &str,
    keys: &Jwks,
    options: &VerifyOptions,
    report: &mut Report,
) -> Option<Receipt> {
    let receipt = match verify_receipt(token, keys) {
        Ok(receipt) => receipt,
        Err(error) => {
            report.add("signature", Err(error.to_string()));
            return None;
        }
    };
    if let Some(job) = options.job().filter(|job| *job != receipt.job_id) {
        report.add("signature", Err(format!("it is of job {}, not of {job}", receipt.job_id)));
        return None;
    }
    let of = options.jwks.as_deref().unwrap_or("the server");
    let text = format!("signed by `{}` with a key of {of}", receipt.iss);
    report.add("signature", Ok(text));
    Some(receipt)
}

fn file(path: &Path) -> Result<String> {
    let what = || format!("cannot read {}", path.display());
    let from: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(what)?)
    };
    let mut text = String::new();
    #[expect(clippy::disallowed_methods, reason = "read under a cap")]
    from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(what)?;
    ensure!(
        text.len() as u64 <= FILE_BYTES_MAX,
        "{} has more than {FILE_BYTES_MAX} bytes; it is no receipt and no set of keys",
        path.display()
    );
    Ok(text)
}
