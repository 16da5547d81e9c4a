//! A server as a child process: started, looked at through `/proc`, and killed in `Drop`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::request::{Target, address};

/// Clock ticks a second in `/proc` (`USER_HZ`, 100 on every Linux platform that Rust targets).
const TICKS_PER_S: f64 = 100.0;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    pub(super) target: Target,
    pub(super) admin: Option<SocketAddr>,
}

/// What a server says on stdout when it is ready.
#[derive(Deserialize)]
struct Ready {
    url: String,
    admin_url: Option<String>,
    #[serde(default)]
    project_id: String,
    #[serde(default)]
    api_key: String,
}

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident now.
    pub(super) resident: u64,
    /// Resident at most.
    pub(super) peak: u64,
}

impl Server {
    /// Starts a server, and waits until it says where it listens.
    pub(super) fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let what = || format!("{} {}", program.display(), arguments.join(" "));
        let mut process = command.spawn().with_context(what)?;
        match ready(&mut process).with_context(what) {
            Ok((target, admin)) => Ok(Self { process, target, admin }),
            Err(error) => {
                end(&mut process);
                Err(error)
            }
        }
    }

    /// Processor time used so far, by all threads.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.read_proc("stat")?).context("/proc/<pid>/stat is not as expected")
    }

    /// Memory in use.
    pub(super) fn memory(&self) -> Result<Memory> {
        Ok(memory(&self.read_proc("status")?))
    }

    fn read_proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.process.id());
        fs::read_to_string(&path).context(path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}

fn ready(process: &mut Child) -> Result<(Target, Option<SocketAddr>)> {
    let stdout = process.stdout.take().context("no stdout")?;
    let mut line = String::new();
    if BufReader::new(stdout).read_line(&mut line)? == 0 {
        bail!("ended before it was ready: {}", process.wait()?);
    }
    let ready: Ready = serde_json::from_str(&line).context("its first line is not what it was")?;
    let target =
        Target { address: address(&ready.url)?, project: ready.project_id, api_key: ready.api_key };
    Ok((target, ready.admin_url.as_deref().map(address).transpose()?))
}

/// `utime` and `stime`, proc_pid_stat(5): the 12th and 13th field after the name, which is in
/// parentheses and may hold anything.
fn cpu_time(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64((f64::from(user) + f64::from(system)) / TICKS_PER_S))
}

/// `VmRSS` and `VmHWM`, proc_pid_status(5), in kB.
fn memory(status: &str) -> Memory {
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
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_time("42 (x) S"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let status = "Name:\tmillrace\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(memory(status), Memory { resident: 1 << 20, peak: 2 << 20 });
    }
}
