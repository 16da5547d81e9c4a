//! What a process costs: as the system counts it in `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks a second in `/proc` (`USER_HZ`, 100 on every Linux platform that Rust targets).
const TICKS_PER_S: f64 = 100.0;

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// Resident at most.
    pub(crate) peak: u64,
}

/// Processor time used so far, by all threads.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    parse_cpu_time(&read(pid, "stat")?).context("/proc/<pid>/stat is not as expected")
}

/// Memory in use.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    Ok(parse_memory(&read(pid, "status")?))
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).context(path)
}

/// `utime` and `stime`, proc_pid_stat(5): the 12th and 13th field after the name, which is in
/// parentheses and may hold anything.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64((f64::from(user) + f64::from(system)) / TICKS_PER_S))
}

/// `VmRSS` and `VmHWM`, proc_pid_status(5), in kB.
fn parse_memory(status: &str) -> Memory {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Memory {
        resident: bytes("VmRSS:").unwrap_or_default(),
        peak: bytes("VmHWM:").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "42 (a ) b) S 1 2 3 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu_time("42 (x) S"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let status = "Name:\tmillrace\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse_memory(status), Memory { resident: 1 << 20, peak: 2 << 20 });
    }
}
