//! A server as a child process: started, told to end, and killed in `Drop`.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

/// How long a server may take to end in order.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// A running server.
#[derive(Debug)]
pub(crate) struct Child(process::Child);

impl Child {
    /// Starts a server and waits for its first line on stdout: what it says of itself, as JSON. It
    /// dies with this thread, where the system can do that.
    pub(crate) fn start<T: DeserializeOwned>(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
    ) -> Result<(Self, T)> {
        let mut command = bound_to_us(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let what = || {
            let arguments = arguments.iter().map(|argument| argument.as_ref().to_string_lossy());
            format!("{} {}", program.display(), arguments.collect::<Vec<_>>().join(" "))
        };
        let mut child = Self(command.spawn().with_context(what)?);
        let line = child.first_line().with_context(what)?;
        let said = serde_json::from_str(&line).context("its first line is not as expected");
        Ok((child, said.with_context(what)?))
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Has it end in order; kills it if it does not.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let since = Instant::now();
        while self.0.try_wait()?.is_none() && since.elapsed() < PATIENCE {
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn first_line(&mut self) -> Result<String> {
        let stdout = self.0.stdout.take().context("no stdout")?;
        let mut line = String::new();
        if BufReader::new(stdout).read_line(&mut line)? == 0 {
            bail!("ended before it was ready: {}", self.0.wait()?);
        }
        Ok(line)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Linux has it in util-linux. Not setpriv of BusyBox, which knows no death signal.
fn bound_to_us(program: &Path) -> Command {
    let version = Command::new("setpriv").arg("--version").output();
    if version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("util-linux")) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        return command;
    }
    Command::new(program)
}
