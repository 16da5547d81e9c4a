//! The clock of the accounts: the one on the wall, or a test's.

use std::fmt;
use std::sync::Arc;

use millrace_schema::time::{Micros, wall_clock_us};

use crate::claims::US_PER_SECOND;

/// Tells the time, microseconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Micros + Send + Sync>);

impl Clock {
    /// A clock that says what `now_us` says.
    pub fn new(now_us: impl Fn() -> Micros + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_us))
    }

    pub(crate) fn now_us(&self) -> Micros {
        (self.0)()
    }

    /// Whole seconds, as JWTs count them.
    pub(crate) fn now_s(&self) -> i64 {
        self.now_us().div_euclid(US_PER_SECOND)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(wall_clock_us)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
