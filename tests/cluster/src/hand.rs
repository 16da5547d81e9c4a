//! A cluster by hand: started once, found again, ended by command.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::launch::{BY_HAND, SHARED};
use crate::protocol::{self, Command};
use crate::{Cluster, Node, Shape, list};

/// How long a cluster may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `up` prints.
#[derive(Debug, Serialize, Deserialize)]
pub struct Printed {
    /// Kafka's bootstrap servers.
    pub kafka: String,
    /// CQL's contact points.
    pub cql: String,
    /// Each server.
    pub servers: Vec<PrintedServer>,
}

/// A server of [`Printed`].
#[derive(Debug, Serialize, Deserialize)]
pub struct PrintedServer {
    /// Such as `kafka-1`.
    pub name: String,
    /// Where clients connect.
    pub address: String,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Its log.
    pub log: PathBuf,
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, addresses) in [("MILLRACE_KAFKA", &self.kafka), ("MILLRACE_CQL", &self.cql)] {
            if !addresses.is_empty() {
                writeln!(f, "{name}={addresses}")?;
            }
        }
        Ok(())
    }
}

/// Starts the servers that stay until [`down`], or finds them.
///
/// # Errors
/// They cannot be started, or are up in another shape.
pub fn up(shape: Shape) -> Result<Printed> {
    let (lease, new) = BY_HAND.find_or_start(shape.clone(), None)?;
    let is = lease.plan.shape.clone();
    ensure!(
        is == shape,
        "up already with {} brokers and {} nodes; end them first: tests/cluster/down",
        is.brokers,
        is.nodes
    );
    let ready = Cluster::ready(lease, None);
    if ready.is_err() && new {
        down(false)?;
    }
    let cluster = ready?;
    Ok(cluster.printed())
}

impl Cluster {
    /// What `up` prints of it.
    pub fn printed(&self) -> Printed {
        let server = |node: &Node| PrintedServer {
            name: node.name(),
            address: node.address().to_string(),
            pid: node.pid(),
            log: node.log(),
        };
        let servers = self.brokers().iter().chain(self.nodes()).map(server).collect();
        Printed { kafka: list(self.brokers()), cql: list(self.nodes()), servers }
    }
}

/// Ends what [`up`] started, or what the tests share; false if nothing was there.
///
/// # Errors
/// It does not end.
pub fn down(shared: bool) -> Result<bool> {
    let known = if shared { SHARED } else { BY_HAND };
    let Some(lease) = known.find()? else { return Ok(false) };
    let folder = &lease.plan.folder;
    // A cluster that could not be started answers with the reason, and ends all the same.
    let _ = protocol::ask(folder, Command::Down);
    let since = Instant::now();
    while folder.exists() {
        ensure!(since.elapsed() < PATIENCE, "{} is still there", folder.display());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}
