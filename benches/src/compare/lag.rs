//! How far the workers are behind, and until when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ledger;

/// Workers are given so long to catch up before the measurement goes on.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often they are looked at meanwhile.
const POLL: Duration = Duration::from_millis(50);

/// How the workers stood when a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lag {
    /// Records that they had not reached.
    pub(super) records: u64,
    /// Until they had; `None` if they did not in [`PATIENCE`].
    pub(super) caught_up: Option<Duration>,
}

/// Reads the lag, and waits until there is none.
pub(super) fn settle(admin: SocketAddr) -> Result<Lag> {
    let started = Instant::now();
    let records = ledger::read(admin)?.behind();
    let mut now = records;
    while now > 0 {
        if started.elapsed() > PATIENCE {
            return Ok(Lag { records, caught_up: None });
        }
        std::thread::sleep(POLL);
        now = ledger::read(admin)?.behind();
    }
    Ok(Lag { records, caught_up: Some(started.elapsed()) })
}
