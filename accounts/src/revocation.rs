//! Keeps a verifier's list of revoked keys fresh.

use std::sync::Arc;
use std::time::Duration;

use millrace_store::AccountStore;
use tokio::time::sleep;

use crate::Verifier;

/// How often the first list is tried for: until it is there, no key is honoured.
const FIRST_EVERY: Duration = Duration::from_millis(250);

/// A period of zero would be a hot loop.
const SHORTEST: Duration = Duration::from_millis(1);

/// Reads the revocations every `period`, for ever. While the store is away the last list holds.
pub async fn watch(verifier: Arc<Verifier>, store: Arc<dyn AccountStore>, period: Duration) {
    let mut away = false;
    loop {
        match verifier.refresh(store.as_ref()).await {
            Ok(()) if away => {
                away = false;
                tracing::info!("revocations are read again");
            }
            Ok(()) => {}
            Err(error) if !away => {
                away = true;
                let until_then = if verifier.has_revocations() {
                    "the last list stays in force"
                } else {
                    "no key is honoured"
                };
                tracing::warn!(%error, "revocations cannot be read; until then {until_then}");
            }
            Err(_) => {}
        }
        let first = !verifier.has_revocations();
        sleep(if first { period.min(FIRST_EVERY) } else { period }.max(SHORTEST)).await;
    }
}
