//! Millrace on the cluster: its commands, its front doors and its workers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace_schema::Topic;
use serde::Deserialize;

use super::Options;
use super::records::PROJECT;
use super::servers::Servers;
use super::usage::Watched;
use crate::child::Child;
use crate::http;
use crate::request::{Target, address};

/// How long a process may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(50);
/// How long an acknowledged row may still be forgotten: short, so that a worker that is started
/// again begins where the last one ended.
const SETTLE_MS: u64 = 1_000;
/// After this long without records a worker's positions have settled.
pub(super) const SETTLED_AFTER: Duration = Duration::from_millis(2 * SETTLE_MS + 2_000);

/// How it is called.
#[derive(Debug)]
pub(super) struct Product {
    binary: PathBuf,
    data: PathBuf,
    kafka: String,
    cql: String,
    partitions: u32,
    replication_factor: u16,
}

/// A topic prefix and a keyspace, of the same name.
#[derive(Clone, Debug)]
pub(super) struct Space(pub(super) String);

impl Space {
    /// The name of a topic on the broker.
    pub(super) fn topic(&self, topic: Topic) -> String {
        format!("{}.{}", self.0, topic.short_name())
    }
}

/// A front door that runs, and who may call it.
#[derive(Debug)]
pub(super) struct FrontDoor {
    child: Child,
    pub(super) target: Target,
    pub(super) admin: SocketAddr,
}

impl FrontDoor {
    pub(super) fn watched(&self) -> Watched {
        Watched::new("front door", Some(self.child.id()))
    }

    pub(super) fn stop(self) -> Result<()> {
        self.child.stop()
    }
}

/// A worker that runs.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    pub(super) admin: SocketAddr,
}

impl Worker {
    pub(super) fn watched(&self) -> Watched {
        Watched::new("worker", Some(self.child.id()))
    }

    pub(super) fn stop(self) -> Result<()> {
        self.child.stop()
    }
}

#[derive(Deserialize)]
struct Listening {
    url: Option<String>,
    admin_url: String,
}

#[derive(Deserialize)]
struct NewKey {
    api_key: String,
}

impl Product {
    pub(super) fn new(
        binaries: &Path,
        data: PathBuf,
        servers: &Servers,
        options: &Options,
    ) -> Result<Self> {
        let binary = binaries.join("millrace");
        ensure!(
            binary.exists(),
            "{} is missing; build it: cargo build --release -p millrace -p millrace-benches",
            binary.display()
        );
        let (kafka, cql) = (servers.kafka.clone(), servers.cql.clone());
        let (partitions, replication_factor) = (options.partitions, options.replication_factor);
        Ok(Self { binary, data, kafka, cql, partitions, replication_factor })
    }

    /// Makes topics, tables, and a project.
    pub(super) fn make(&self, space: &Space) -> Result<()> {
        let replication_factor = self.replication_factor.to_string();
        self.command(space, &["migrate", "--replication-factor", &replication_factor])?;
        self.command(space, &["project", "create", PROJECT])?;
        Ok(())
    }

    /// Starts a front door, and waits until it is ready.
    pub(super) fn front_door(&self, space: &Space) -> Result<FrontDoor> {
        let key = self.command(space, &["key", "create", "--project", PROJECT])?;
        let NewKey { api_key } = serde_json::from_slice(&key).context("key create")?;
        let verify_key = self.data.join("keys/signing.pub.pem");
        let verify_key = verify_key.to_str().context("the data folder's name is not UTF-8")?;
        let arguments = ["ingest", "--listen", "127.0.0.1:0", "--verify-key", verify_key];
        let (child, listening) = self.start(space, &arguments)?;
        let target = Target {
            address: address(listening.url.as_deref().context("no url")?)?,
            project: PROJECT.to_owned(),
            api_key,
        };
        let front_door = FrontDoor { child, target, admin: address(&listening.admin_url)? };
        until_ready(front_door.admin, "the front door")?;
        Ok(front_door)
    }

    /// Starts a worker, and waits until it is ready.
    pub(super) fn worker(&self, space: &Space, role: &str) -> Result<Worker> {
        let settle_ms = SETTLE_MS.to_string();
        let receipt_key = self.data.join("receipts.pem");
        let receipt_key = receipt_key.to_str().context("the data folder's name is not UTF-8")?;
        let receipts = ["--receipt-key", receipt_key];
        let arguments = ["worker", "--role", role, "--cql-settle-ms", &settle_ms];
        let arguments = [&arguments[..], &receipts].concat();
        let (child, listening) = self.start(space, &arguments)?;
        let worker = Worker { child, admin: address(&listening.admin_url)? };
        until_ready(worker.admin, "the worker")?;
        Ok(worker)
    }

    fn start(&self, space: &Space, arguments: &[&str]) -> Result<(Child, Listening)> {
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        all.extend(["--admin-listen", "127.0.0.1:0"].map(str::to_owned));
        all.extend(self.options(space)?);
        Child::start(&self.binary, &all)
    }

    /// What a command prints.
    fn command(&self, space: &Space, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.binary);
        let output = command.args(arguments).args(self.options(space)?).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "millrace {}: {said}", arguments.join(" "));
        Ok(output.stdout)
    }

    fn options(&self, space: &Space) -> Result<Vec<String>> {
        let data = self.data.to_str().context("the data folder's name is not UTF-8")?;
        let partitions = self.partitions.to_string();
        let options = [
            ("--kafka", &*self.kafka),
            ("--cql", &self.cql),
            ("--kafka-prefix", &space.0),
            ("--cql-keyspace", &space.0),
            ("--partitions", &partitions),
            ("--data", data),
            ("--log", "warn"),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name, value]);
        Ok(options.chain(["--json"]).map(str::to_owned).collect())
    }
}

fn until_ready(admin: SocketAddr, what: &str) -> Result<()> {
    let since = Instant::now();
    loop {
        let (status, body) = http::get(admin, "/readyz")?;
        if status == 200 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&body);
        ensure!(since.elapsed() < PATIENCE, "{what} is not ready after {PATIENCE:?}: {body}");
        std::thread::sleep(POLL);
    }
}
