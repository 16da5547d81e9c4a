//! Items a second that one project may send. Must not know what an item is.
//!
//! A bucket that may go into debt (GCRA): a request passes while the project is not in debt, and
//! is charged once its items are counted, so that no batch is too large to pass at all.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::ApiError;

/// How far ahead of its rate a project may be.
const BURST: Duration = Duration::from_secs(1);

/// The rate and, for each project that sent something, when what it sent is paid off. There are no
/// more entries than projects, because only good keys come here.
#[derive(Debug)]
pub(crate) struct Rates {
    items_per_s: NonZeroU32,
    paid_off: Mutex<HashMap<String, Instant>>,
}

impl Rates {
    pub(crate) fn new(items_per_s: NonZeroU32) -> Self {
        Self { items_per_s, paid_off: Mutex::default() }
    }

    /// Whether a project may send now.
    ///
    /// # Errors
    /// 429 until its debt is paid off.
    pub(crate) fn check(&self, project: &str, now: Instant) -> Result<(), ApiError> {
        let paid_off = self.lock().get(project).copied().unwrap_or(now);
        let ahead = paid_off.saturating_duration_since(now);
        if ahead <= BURST {
            return Ok(());
        }
        let items_per_s = self.items_per_s.get();
        Err(ApiError::RateLimited { items_per_s, retry_after: ahead - BURST })
    }

    /// Charges a project for what it sent.
    pub(crate) fn charge(&self, project: &str, items: usize, now: Instant) {
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        let cost = Duration::from_secs(u64::from(items)) / self.items_per_s.get();
        let mut all = self.lock();
        match all.get_mut(project) {
            Some(paid_off) => *paid_off = (*paid_off).max(now) + cost,
            None => {
                all.insert(project.to_owned(), now + cost);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.paid_off.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_in_debt_waits_until_it_is_paid_off_and_others_do_not() {
        let rates = Rates::new(NonZeroU32::new(100).unwrap());
        let start = Instant::now();
        assert_eq!(rates.check("a", start), Ok(()));
        rates.charge("a", 100, start);
        assert_eq!(rates.check("a", start), Ok(()), "one second ahead is allowed");
        rates.charge("a", 250, start);
        let error = rates.check("a", start).unwrap_err();
        assert_eq!(error.retry_after_s(), Some(3), "2.5 s, rounded up");
        assert_eq!(rates.check("b", start), Ok(()));
        assert_eq!(rates.check("a", start + Duration::from_millis(2_500)), Ok(()));
    }
}
