//! Runs the real binary and speaks plain HTTP to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary on a data folder, with nothing of this process's own settings.
pub(crate) fn millrace(data: &Path) -> Command {
    let mut command = binary(env!("CARGO_BIN_EXE_millrace"));
    command.env("MILLRACE_DATA", data);
    command
}

/// A binary with nothing of this process's own settings.
pub(crate) fn binary(path: &str) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MILLRACE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(data: &Path, args: &[&str]) -> Output {
    millrace(data).args(args).output().unwrap()
}

/// Runs a command with something on its stdin.
pub(crate) fn run_with(data: &Path, args: &[&str], input: &str) -> Output {
    let mut command = millrace(data);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that is refused reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs a command that must succeed; what it printed as JSON.
pub(crate) fn run_json(data: &Path, args: &[&str]) -> Value {
    let output = run(data, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `millrace dev --json` on free ports; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
    pub(crate) greeting: Value,
}

impl Server {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub(crate) fn start_with(data: &Path, args: &[&str]) -> Self {
        Self::greeted(spawn(data, &[args, &["--json"]].concat()))
    }

    /// Any command that prints where it listens.
    pub(crate) fn of(mut command: Command) -> Self {
        command.arg("--json");
        Self::greeted(started(command))
    }

    fn greeted((child, mut stdout, stderr): (Child, BufReader<ChildStdout>, ChildStderr)) -> Self {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let greeting = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{error}: {line:?}; run it to see why"));
        Self { child, stdout, stderr, greeting }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.greeting[name].as_str().unwrap()
    }

    pub(crate) fn address(&self) -> &str {
        self.field("url").strip_prefix("http://").unwrap()
    }

    /// A request of an operator.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        let address = self.field("admin_url").strip_prefix("http://").unwrap();
        request(address, "GET", path, "", "")
    }

    pub(crate) fn get(&self, path: &str, key: &str) -> Answer {
        request(self.address(), "GET", path, key, "")
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        request(self.address(), "POST", path, key, body)
    }

    /// Sends SIGTERM and waits; its exit, and what else it wrote to stdout and stderr.
    pub(crate) fn terminate(self) -> (ExitStatus, String, String) {
        self.signal();
        self.ended()
    }

    /// Sends SIGTERM.
    pub(crate) fn signal(&self) {
        terminate(self.child.id());
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> (ExitStatus, String, String) {
        let status = wait(&mut self.child);
        (status, rest(&mut self.stdout), rest(&mut self.stderr))
    }

    /// Ends it as a power switch would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `millrace dev` on free ports without waiting.
pub(crate) fn spawn(data: &Path, args: &[&str]) -> (Child, BufReader<ChildStdout>, ChildStderr) {
    let mut command = millrace(data);
    command.args(["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).args(args);
    started(command)
}

/// Starts a command without waiting.
fn started(mut command: Command) -> (Child, BufReader<ChildStdout>, ChildStderr) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    (child, BufReader::new(stdout), stderr)
}

pub(crate) fn terminate(pid: u32) {
    // Sending a signal takes unsafe code; the shell has it built in.
    let kill = format!("kill -TERM {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    eventually("the process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All that is still to be read.
pub(crate) fn rest(from: &mut impl Read) -> String {
    let mut text = String::new();
    #[expect(clippy::disallowed_methods, reason = "what a test reads is small")]
    from.read_to_string(&mut text).unwrap();
    text
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}

/// One request on a connection of its own.
pub(crate) fn request(address: &str, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let key = format!("Bearer {key}");
    send(address, method, path, &[("Authorization", &key)], body)
}

/// One request with headers of its own.
pub(crate) fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let answer = rest(&mut stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Answer { status, body: body.to_owned() }
}
