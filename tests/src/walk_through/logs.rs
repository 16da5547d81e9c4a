//! The two log calls.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::json;

use super::ApiKey;
use super::walker::Walker;
use crate::accounts::json_request;

/// Logs a conversion of this ad log, and a purchase.
pub(super) fn walk(walker: &mut Walker<'_>, key: &ApiKey, ad_log: &str) -> Result<()> {
    walker.secrets.hide_token(&key.0);
    let conversion = json!({"type": "ad_log", "action": "conv", "ad_log": ad_log, "price": 39000});
    let log = json_request("POST", "/app/v0/log", conversion.to_string()).bearer(&key.0);
    walker.call("Log a conversion", &log, 200)?;
    let purchase = json!({
        "schema": "activity.purchase",
        "channel": "web",
        "device_id": "device-1",
        "timestamp": SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        "user_id": "walk-through",
        "revenue": {"currency": "KRW", "revenue": 39000},
        "catalogs": [{"id": "SKU-1"}],
    });
    let log = json_request("POST", "/app/v0/log/activity", purchase.to_string()).bearer(&key.0);
    walker.call("Log a purchase", &log, 200)?;
    Ok(())
}
