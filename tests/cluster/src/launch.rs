//! Starting supervisors, and finding those that run.
//!
//! A cluster that several processes use is found by a file below the target folder that names its
//! temporary folder. A lock on it lets one process at a time look there and start what is missing.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::plan::{Plan, Shape};
use crate::protocol;

/// How long a supervisor may take to open its socket.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster somebody else may be using too.
pub(crate) struct Known {
    name: &'static str,
}

/// What all tests share; it outlives the last lease by a minute, for the next test executable.
pub(crate) const SHARED: Known = Known { name: "shared" };

/// What `up` started and `down` ends.
pub(crate) const BY_HAND: Known = Known { name: "by-hand" };

/// A connection to a supervisor, which keeps its cluster alive.
pub(crate) struct Lease {
    pub(crate) plan: Plan,
    pub(crate) stream: UnixStream,
}

impl Known {
    /// The one that runs, or a new one of that shape; and whether it is new.
    pub(crate) fn find_or_start(
        &self,
        shape: Shape,
        linger_s: Option<u64>,
    ) -> Result<(Lease, bool)> {
        let lock = File::create(cache()?.join(format!("{}.lock", self.name)))?;
        lock.lock()?;
        if let Some(lease) = self.find()? {
            return Ok((lease, false));
        }
        let (lease, _supervisor) = start(plan(shape, linger_s)?)?;
        fs::write(self.pointer()?, lease.plan.folder.as_os_str().as_encoded_bytes())?;
        Ok((lease, true))
    }

    /// The one that runs.
    pub(crate) fn find(&self) -> Result<Option<Lease>> {
        let Ok(folder) = fs::read_to_string(self.pointer()?) else { return Ok(None) };
        let folder = PathBuf::from(folder);
        // A supervisor that was killed leaves a socket that nobody answers.
        let Ok(stream) = UnixStream::connect(protocol::socket(&folder)) else { return Ok(None) };
        Ok(Plan::read(&folder).ok().map(|plan| Lease { plan, stream }))
    }

    fn pointer(&self) -> Result<PathBuf> {
        Ok(cache()?.join(self.name))
    }
}

/// The plan of a new cluster.
pub(crate) fn plan(shape: Shape, linger_s: Option<u64>) -> Result<Plan> {
    Plan::new(shape, linger_s, &cache()?)
}

/// Starts a supervisor and takes the first lease.
pub(crate) fn start(plan: Plan) -> Result<(Lease, Child)> {
    plan.write()?;
    let log = plan.folder.join("supervisor.log");
    let mut command = Command::new(binary()?);
    command.arg("supervise").arg(&plan.folder);
    // Not our process group: an interrupted test run must not kill it before it has cleaned up.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(File::create(&log)?).spawn().context("start a supervisor")?;
    let since = Instant::now();
    loop {
        if let Ok(stream) = UnixStream::connect(protocol::socket(&plan.folder)) {
            return Ok((Lease { plan, stream }, child));
        }
        if let Some(status) = child.try_wait()? {
            bail!("the supervisor ended with {status}: {}", crate::tail(&log));
        }
        ensure!(since.elapsed() < PATIENCE, "no supervisor within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where jars and pointers are: `target/cluster`.
fn cache() -> Result<PathBuf> {
    let target = profile_folder()?.parent().context("no target folder")?.join("cluster");
    fs::create_dir_all(&target)?;
    Ok(target)
}

/// The folder of built binaries: `target/debug`.
fn profile_folder() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let inner = |folder: &&Path| folder.ends_with("deps") || folder.ends_with("examples");
    let inner = own.ancestors().find(inner);
    let folder = inner.and_then(Path::parent).or_else(|| own.parent());
    Ok(folder.context("the executable has no folder")?.to_owned())
}

/// This package's binary: this process, what cargo built for this package's tests, or built now.
fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| find_or_build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn find_or_build() -> Result<PathBuf> {
    let folder = profile_folder()?;
    let path = folder.join(env!("CARGO_PKG_NAME"));
    let ours = std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == env!("CARGO_PKG_NAME"));
    if path == std::env::current_exe()? || (ours && path.is_file()) {
        return Ok(path);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "-p", env!("CARGO_PKG_NAME")]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status()?;
    ensure!(status.success(), "cargo build -p {}: {status}", env!("CARGO_PKG_NAME"));
    Ok(path)
}
