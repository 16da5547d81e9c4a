//! The real binaries as child processes: started on free ports, killed in `Drop`.
//!
//! Owns finding, building, starting and ending processes. Must not know what they are asked.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::client::{Client, Connection, Request};

/// How long a process may take to start, to become ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of built binaries: `target/debug`.
///
/// # Errors
/// The test executable lies somewhere else than cargo puts it.
pub fn target_folder() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let deps = own.ancestors().find(|folder| folder.ends_with("deps"));
    let folder = deps.and_then(Path::parent).or_else(|| own.parent());
    Ok(folder.context("the test executable has no folder")?.to_owned())
}

/// The `millrace` binary: `MILLRACE_BIN`, else the one beside the test executable, built first.
///
/// # Errors
/// It cannot be built.
pub fn millrace_binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    find_or_build(&BUILT, "MILLRACE_BIN", ("millrace", "millrace"))
}

/// The binary that breaks a rule: `MILLRACE_BROKEN_BIN`, else built first.
///
/// # Errors
/// It cannot be built.
pub fn broken_binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    find_or_build(&BUILT, "MILLRACE_BROKEN_BIN", (env!("CARGO_PKG_NAME"), "broken"))
}

fn find_or_build(
    built: &OnceLock<Result<PathBuf, String>>,
    variable: &str,
    (package, name): (&str, &str),
) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let built = built.get_or_init(|| build(package, name).map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build(package: &str, name: &str) -> Result<PathBuf> {
    let folder = target_folder()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "-p", package, "--bin", name]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status()?;
    ensure!(status.success(), "cargo build -p {package} --bin {name}: {status}");
    Ok(folder.join(name))
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub binary: PathBuf,
    /// Its command and arguments; `--json` is added.
    pub args: Vec<String>,
    /// Where its standard error goes.
    pub folder: PathBuf,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

/// What the server says of itself on standard output. A worker has no API, and only `millrace dev`
/// makes a project.
#[derive(Clone, Debug, Deserialize)]
struct Greeting {
    url: Option<String>,
    admin_url: String,
    #[serde(default)]
    project_id: String,
    #[serde(default)]
    api_key: String,
}

impl Launch {
    /// `millrace dev` on a data folder.
    ///
    /// # Errors
    /// The binary cannot be built.
    pub fn dev(data: &Path) -> Result<Self> {
        let folder = data.parent().context("the data folder has no parent")?.to_owned();
        let launch = Self { binary: millrace_binary()?, args: vec![], folder, env: vec![] };
        let data = data.to_str().context("the data folder's name is not text")?;
        let anywhere = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        Ok(launch.args(&["dev", "--data", data]).args(&anywhere))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts it without waiting for anything.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(&self) -> Result<Starting> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stderr = self.folder.join(format!("stderr-{number}.log"));
        let mut command = Command::new(&self.binary);
        command.args(&self.args).arg("--json");
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&stderr)?);
        let child = command.spawn().with_context(|| format!("start {:?}", self.binary))?;
        let stdout = Arc::default();
        Ok(Starting { child: Owned(child), stdout, stderr, launch: self.clone() })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in time; the error holds its standard error.
    pub fn start(&self) -> Result<Server> {
        self.spawn()?.ready()
    }
}

/// A child that is killed and reaped when it is let go.
#[derive(Debug)]
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Owned {
    fn wait(&mut self) -> Result<ExitStatus> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("process {} did not end within {PATIENCE:?}", self.0.id())
    }
}

/// A process that has been started and may not be ready.
#[derive(Debug)]
pub struct Starting {
    child: Owned,
    stdout: Arc<Mutex<String>>,
    stderr: PathBuf,
    launch: Launch,
}

impl Starting {
    /// Waits until the server is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in time.
    pub fn ready(self) -> Result<Server> {
        let server = self.greeted()?;
        server.wait_ready()?;
        Ok(server)
    }

    /// Waits until the server has said where it listens.
    ///
    /// # Errors
    /// It ended, or did not in time.
    pub fn greeted(mut self) -> Result<Server> {
        let greeting = match self.greeting() {
            Ok(greeting) => greeting,
            Err(error) => bail!("{error:#}\nstandard error:\n{}", tail(&self.stderr)),
        };
        let Self { child, stdout, stderr, launch } = self;
        let admin = address_of(&greeting.admin_url)?;
        let address = greeting.url.as_deref().map_or(Ok(admin), address_of)?;
        let (project, key) = (greeting.project_id, greeting.api_key);
        Ok(Server { child, stdout, stderr, launch, address, admin, project, key })
    }

    /// Waits for its end: a start that must fail.
    ///
    /// # Errors
    /// It did not end.
    pub fn ended(mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        Ok((status, tail(&self.stderr)))
    }

    fn greeting(&mut self) -> Result<Greeting> {
        let stdout = self.child.0.stdout.take().context("no standard output")?;
        let (send, receive) = mpsc::channel();
        let rest = Arc::clone(&self.stdout);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            let _ = send.send(lines.next());
            // Read on, or the process would be stopped by a full pipe.
            for line in lines.map_while(Result::ok) {
                let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
                rest.push_str(&line);
                rest.push('\n');
            }
        });
        let line = receive.recv_timeout(PATIENCE).context("no line on standard output")?;
        let line = line.context("the process ended before it was ready")??;
        serde_json::from_str(&line).with_context(|| format!("not the line of --json: {line}"))
    }
}

/// The status of a route that needs no key.
///
/// # Errors
/// No answer.
pub fn probe(address: SocketAddr, path: &str) -> Result<u16> {
    let mut connection = Connection::open(address)?;
    connection.send(&Request::get(path).header("Connection", "close").bytes())?;
    Ok(connection.answer()?.status)
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let host = url.strip_prefix("http://").context("not an http address")?;
    Ok(host.trim_end_matches('/').parse()?)
}

/// The end of a file.
fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(8 * 1024);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Owned,
    stdout: Arc<Mutex<String>>,
    stderr: PathBuf,
    launch: Launch,
    /// Where the API listens; of a worker, which has none, the same as `admin`.
    pub address: SocketAddr,
    /// Where metrics and the ledger are.
    pub admin: SocketAddr,
    /// The demo project of `millrace dev`.
    pub project: String,
    /// A key of it, with every scope.
    pub key: String,
}

impl Server {
    /// A client of the API.
    pub fn client(&self) -> Client {
        Client::new(self.address, &self.project, &self.key)
    }

    /// A client of the admin address.
    pub fn admin_client(&self) -> Client {
        Client::new(self.admin, &self.project, &self.key)
    }

    /// How it was started; to start it again.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// All it wrote to standard error (the last 8 KiB).
    pub fn stderr(&self) -> String {
        tail(&self.stderr)
    }

    /// All that it wrote so far, to standard output after its greeting and to standard error.
    ///
    /// # Errors
    /// Its standard error cannot be read.
    pub fn output(&self) -> Result<String> {
        let stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(stdout + &String::from_utf8_lossy(&fs::read(&self.stderr)?))
    }

    /// Whether it wrote of a panic.
    ///
    /// # Errors
    /// Its standard error cannot be read.
    pub fn panicked(&self) -> Result<bool> {
        let bytes = fs::read(&self.stderr)?;
        Ok(String::from_utf8_lossy(&bytes).contains("panicked at"))
    }

    /// Resident memory now, bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_kib("VmRSS:").map(|kib| kib * 1024)
    }

    /// The most memory that was ever resident, bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident_bytes_max(&self) -> Result<u64> {
        self.status_kib("VmHWM:").map(|kib| kib * 1024)
    }

    fn status_kib(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        Ok(number.context("no such line in /proc/PID/status")?.parse()?)
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_ready(&self) -> Result<()> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if self.probe("/readyz").is_ok_and(|status| status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("not ready within {PATIENCE:?}; standard error:\n{}", self.stderr())
    }

    /// The status of a route that needs no key.
    ///
    /// # Errors
    /// No answer.
    pub fn probe(&self, path: &str) -> Result<u16> {
        probe(self.address, path)
    }

    /// Kills it as a power switch would, but for what the kernel still holds.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill_9(mut self) -> Result<Launch> {
        self.child.0.kill()?;
        self.child.wait()?;
        Ok(self.launch.clone())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(mut self) -> Result<(ExitStatus, Launch)> {
        self.signal("TERM")?;
        Ok((self.child.wait()?, self.launch.clone()))
    }

    /// Stops its clock: its connections stay open, and silent.
    ///
    /// # Errors
    /// It has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// A signal other than kill needs unsafe code; the shell has it built in.
    fn signal(&self, name: &str) -> Result<()> {
        let kill = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &kill]).status()?;
        ensure!(status.success(), "{kill}: {status}");
        Ok(())
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// It does not end.
    pub fn ended(mut self) -> Result<(ExitStatus, Launch)> {
        Ok((self.child.wait()?, self.launch.clone()))
    }
}
