//! `millrace deletion receipt`: the token of a completed job, or what it says.

use std::fs;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::api::Api;
use crate::cli::ReceiptOptions;
use crate::print::stdout;

/// Gets a receipt.
///
/// # Errors
/// There is none (yet), or it cannot be written.
pub(super) async fn run(api: &Api, options: &ReceiptOptions) -> Result<()> {
    let token = api.receipt(options.job).await?;
    let text = if options.decoded {
        serde_json::to_string_pretty(&claims(&token).context("the server sent no receipt")?)?
    } else {
        token
    };
    match &options.output {
        Some(path) => fs::write(path, format!("{text}\n"))
            .with_context(|| format!("cannot write {}", path.display())),
        None => Ok(stdout(&format!("{text}\n"))?),
    }
}

/// What a token says, unchecked.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_token_is_what_it_says() {
        let token = format!("x.{}.y", URL_SAFE_NO_PAD.encode(r#"{"number":1}"#));
        assert_eq!(claims(&token), Some(serde_json::json!({"number": 1})));
        assert_eq!(claims("x"), None);
        assert_eq!(claims("x.y.z"), None);
    }
}
