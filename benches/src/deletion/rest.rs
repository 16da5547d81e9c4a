//! Waits until servers have nothing to do, so that what is measured next is not measured beside
//! what was left over from loading.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process;

/// How long processor time is summed up.
const INTERVAL: Duration = Duration::from_secs(1);
/// Of one processor: a database at rest is asked by the workers of many partitions every second.
const SHARE_MAX: f64 = 0.5;
/// Intervals of rest in a row.
const QUIET: u32 = 3;
/// Who works on for so long has work of its own.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until these processes rest; seconds.
pub(super) fn rest(pids: &[u32]) -> Result<f64> {
    let since = Instant::now();
    let mut quiet = 0;
    while quiet < QUIET && since.elapsed() < PATIENCE {
        let before = used(pids)?;
        sleep(INTERVAL);
        let most = before.iter().zip(used(pids)?).map(|(before, now)| now.saturating_sub(*before));
        let rests = most.max().is_none_or(|most| most < INTERVAL.mul_f64(SHARE_MAX));
        quiet = if rests { quiet + 1 } else { 0 };
    }
    if quiet < QUIET {
        eprintln!("the servers did not come to rest within {} s", PATIENCE.as_secs());
    }
    Ok(since.elapsed().as_secs_f64())
}

fn used(pids: &[u32]) -> Result<Vec<Duration>> {
    pids.iter().map(|pid| process::cpu_time(*pid)).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_works_is_waited_for() {
        let busy = ["-c", "n=0; while [ $n -lt 600000 ]; do n=$((n+1)); done; sleep 60"];
        let mut child = Command::new("sh").args(busy).stdout(Stdio::null()).spawn().unwrap();
        let rested = rest(&[child.id()]).map(|_| process::cpu_time(child.id()).unwrap());
        let after = process::cpu_time(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(rested.unwrap() > Duration::ZERO && after.as_secs_f64() > 0.1);
    }
}
