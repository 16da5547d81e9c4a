//! Real Kafka brokers and Cassandra nodes for tests, on free loopback ports in a temporary folder.
//!
//! Owns fetching, starting, faulting and ending servers. Must not know what is stored in them:
//! nothing of Millrace is imported here.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use millrace_cluster::{Cluster, Shape};
//! let shared = Cluster::shared()?; // for tests that harm no server
//! let (kafka, topics) = (shared.bootstrap(), shared.unique("ledger"));
//! let own = Cluster::start(Shape { brokers: 3, nodes: 0, ..Shape::default() })?;
//! own.brokers()[1].kill_9()?;
//! own.brokers()[1].start()?;
//! # Ok(()) }
//! ```
//!
//! The servers are children of a supervisor, a process of this package's binary. Whoever uses a
//! cluster holds a connection to it, so that the servers end however a test ends. Tests that need
//! servers are marked, and `cluster_missing` is set by the build script:
//! `#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]`. With `CI=true` or
//! `MILLRACE_REQUIRE_CLUSTER=1` they run all the same, and fail in one line.

use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};

use crate::plan::Kind;

mod cassandra;
mod hand;
mod jars;
mod java;
mod kafka;
mod launch;
mod node;
mod plan;
mod ports;
mod protocol;
mod proxy;
mod ready;
mod supervisor;
mod tls;

pub use hand::{Printed, PrintedServer, down, up};
pub use node::Node;
pub use plan::{CommitLog, Shape};
pub use proxy::Proxy;
pub use supervisor::supervise;

/// How long the shared cluster outlives its last user, seconds.
const LINGER_S: u64 = 60;

/// How long nodes that answer may take to see each other, and a cluster to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Running servers. They end when it is dropped, or when the process ends, if nobody else holds
/// them.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Node>,
    nodes: Vec<Node>,
    folder: PathBuf,
    tls: bool,
    lease: UnixStream,
    /// Of a cluster of one's own.
    supervisor: Option<Child>,
}

impl Cluster {
    /// The one cluster (a broker, a node) that all tests of all test processes share, started by
    /// the first that asks. Not for tests that kill, stop or cut: others are using it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let started = launch::SHARED.find_or_start(Shape::default(), Some(LINGER_S));
            let ready = started.and_then(|(lease, _)| Self::ready(lease, None));
            ready.map_err(|error| format!("{error:#}"))
        });
        shared.as_ref().map_err(|error| anyhow::Error::msg(error.clone()))
    }

    /// A cluster of one's own, ended when dropped.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(shape: Shape) -> Result<Self> {
        let (lease, supervisor) = launch::start(launch::plan(shape, Some(0))?)?;
        Self::ready(lease, Some(supervisor))
    }

    /// Waits until all servers answer.
    fn ready(lease: launch::Lease, supervisor: Option<Child>) -> Result<Self> {
        let plan = Arc::new(lease.plan);
        let of = |kind: Kind| -> Result<Vec<Node>> {
            let places = plan.servers.iter().enumerate().filter(|(_, server)| server.kind == kind);
            places.map(|(place, _)| Node::new(&plan, place)).collect()
        };
        let (brokers, nodes) = (of(Kind::Broker)?, of(Kind::Node)?);
        let (folder, tls) = (plan.folder.clone(), plan.shape.tls);
        let cluster = Self { brokers, nodes, folder, tls, lease: lease.stream, supervisor };
        for node in cluster.brokers.iter().chain(&cluster.nodes) {
            node.answering()?;
        }
        cluster.see_each_other()?;
        if plan.shape.passwords {
            cluster.can_log_in()?;
        }
        Ok(cluster)
    }

    /// Waits for the first user, whom the nodes make after they have begun to answer.
    fn can_log_in(&self) -> Result<()> {
        let made = |node: &Node| {
            let log = std::fs::read(node.log()).unwrap_or_default();
            String::from_utf8_lossy(&log).contains("Created default superuser role")
        };
        let since = Instant::now();
        while !self.nodes.iter().any(made) {
            ensure!(since.elapsed() < PATIENCE, "no user `cassandra` within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until each node takes every other for alive.
    fn see_each_other(&self) -> Result<()> {
        if self.nodes.len() < 2 {
            return Ok(());
        }
        let since = Instant::now();
        for node in &self.nodes {
            loop {
                let status = node.nodetool(&["status"])?;
                let up = status.lines().filter(|line| line.starts_with("UN ")).count();
                if up == self.nodes.len() {
                    break;
                }
                if since.elapsed() > PATIENCE {
                    bail!("{} sees {up} nodes alive:\n{status}", node.name());
                }
            }
        }
        Ok(())
    }

    /// What Kafka clients take: `127.0.0.1:p,127.0.0.1:q`.
    pub fn bootstrap(&self) -> String {
        list(&self.brokers)
    }

    /// What CQL clients take.
    pub fn contact_points(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// The Kafka brokers.
    pub fn brokers(&self) -> &[Node] {
        &self.brokers
    }

    /// The Cassandra nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The certificate that has signed those of the nodes, in a cluster with TLS.
    pub fn ca_pem(&self) -> Option<PathBuf> {
        self.tls.then(|| tls::ca_pem(&self.folder))
    }

    /// A name for a topic prefix or a keyspace that nobody else uses: of `[a-z0-9_]`, begins with
    /// a letter, at most 48 bytes (what a keyspace may have). `what` is shortened to 16.
    pub fn unique(&self, what: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let kept = what.chars().map(|c| c.to_ascii_lowercase());
        let kept = kept.map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(16);
        let name: String = kept.collect();
        let letter = if name.starts_with(|c: char| c.is_ascii_lowercase()) { "" } else { "t" };
        format!("{letter}{name}_{since:x}_{:x}_{number:x}", std::process::id())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.lease.shutdown(Shutdown::Both);
        let Some(supervisor) = &mut self.supervisor else { return };
        // Its memory and its ports are free when we return.
        let since = Instant::now();
        while since.elapsed() < PATIENCE && matches!(supervisor.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn list(nodes: &[Node]) -> String {
    let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
    addresses.join(",")
}

/// The end of a file.
fn tail(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(8 * 1024);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}
