//! How often a change is tried whose documents others changed meanwhile, and the pause between.

use std::time::Duration;

use millrace_store::StoreError;

/// Tries of one change. Only writers of the same documents collide.
const TRIES: u32 = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// The tries of one change.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// To be called after a change whose expectation failed: waits a little.
    ///
    /// # Errors
    /// It failed too often.
    pub(crate) async fn again(&mut self) -> Result<(), StoreError> {
        self.0 += 1;
        if self.0 >= TRIES {
            let text = format!("others changed the same documents {TRIES} times in a row");
            return Err(StoreError::Unavailable(text));
        }
        let longest = FIRST_PAUSE.saturating_mul(1 << self.0.min(10)).min(LONGEST_PAUSE);
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
        Ok(())
    }
}
