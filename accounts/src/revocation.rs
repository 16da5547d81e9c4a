//! Keeps a verifier's list of revoked keys fresh.

use std::sync::Arc;
use std::time::Duration;

use millrace_store::AccountStore;
use tokio::time::{MissedTickBehavior, interval};

use crate::Verifier;

/// Reads the revocations every `period`, for ever. While the store is away the last list holds.
pub async fn watch(verifier: Arc<Verifier>, store: Arc<dyn AccountStore>, period: Duration) {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        ticks.tick().await;
        match verifier.refresh(store.as_ref()).await {
            Ok(()) if away => {
                away = false;
                tracing::info!("revocations are read again");
            }
            Ok(()) => {}
            Err(error) if !away => {
                away = true;
                tracing::warn!(%error, "revocations cannot be read; the last list stays in force");
            }
            Err(_) => {}
        }
    }
}
