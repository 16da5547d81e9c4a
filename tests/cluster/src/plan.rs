//! What a cluster is to be: chosen by who starts it, written to its folder, done by the supervisor.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::ports::{Ports, loopback};
use crate::{cassandra, jars, java, kafka};

/// How many servers, and how they are set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Kafka brokers: 0, 1 or 3.
    pub brokers: usize,
    /// Cassandra nodes: 0, 1 or 3.
    pub nodes: usize,
    /// When an acknowledged row is on disk.
    pub commit_log: CommitLog,
    /// A [`Proxy`](crate::Proxy) before each server, which is what clients are told of.
    /// Servers talk to each other past it.
    pub proxied: bool,
    /// User and password asked of CQL clients; `cassandra`, `cassandra` is there.
    pub passwords: bool,
    /// TLS asked of CQL clients; see [`Cluster::ca_pem`](crate::Cluster::ca_pem).
    pub tls: bool,
    /// Further lines of each broker's `server.properties`.
    pub broker_settings: Vec<(String, String)>,
    /// Further lines of each node's `cassandra.yaml`.
    pub node_settings: Vec<(String, String)>,
}

impl Default for Shape {
    /// One broker, one node, as their makers deliver them.
    fn default() -> Self {
        Self {
            brokers: 1,
            nodes: 1,
            commit_log: CommitLog::Periodic,
            proxied: false,
            passwords: false,
            tls: false,
            broker_settings: vec![],
            node_settings: vec![],
        }
    }
}

/// When Cassandra's commit log is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitLog {
    /// Every ten seconds, long after the acknowledgement: the default, which forgets when killed.
    Periodic,
    /// Before the acknowledgement.
    Batch,
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Broker,
    Node,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerPlan {
    pub(crate) kind: Kind,
    /// From 1, among its kind.
    pub(crate) number: usize,
    /// Where it listens for clients.
    pub(crate) listen: SocketAddr,
    /// Where it tells clients to connect to.
    pub(crate) advertised: SocketAddr,
    /// Where a broker listens for other brokers, and a node for other nodes.
    pub(crate) internal: SocketAddr,
    /// Where a broker's controller listens, or a node's JMX.
    pub(crate) control: SocketAddr,
}

impl ServerPlan {
    /// `kafka-1`, `cassandra-3`.
    pub(crate) fn name(&self) -> String {
        match self.kind {
            Kind::Broker => format!("kafka-{}", self.number),
            Kind::Node => format!("cassandra-{}", self.number),
        }
    }
}

/// A whole cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    pub(crate) servers: Vec<ServerPlan>,
    /// How long it stays when nobody holds a lease; without, until it is told to end.
    pub(crate) linger_s: Option<u64>,
    /// Its own folder.
    pub(crate) folder: PathBuf,
    pub(crate) java: PathBuf,
    pub(crate) kafka_jars: PathBuf,
    pub(crate) cassandra_jars: PathBuf,
}

impl Plan {
    /// Fetches what is missing, chooses ports and makes the folder.
    pub(crate) fn new(shape: Shape, linger_s: Option<u64>, cache: &Path) -> Result<Self> {
        for (what, count) in [("brokers", shape.brokers), ("nodes", shape.nodes)] {
            ensure!(matches!(count, 0 | 1 | 3), "{what} is {count}; it can be 0, 1 or 3");
        }
        ensure!(shape.brokers + shape.nodes > 0, "a cluster of no servers");
        let tools = java::find().map_err(anyhow::Error::msg)?;
        let jars = |count: usize, product: jars::Product| match count {
            0 => Ok(PathBuf::new()),
            _ => product.jars(&tools.maven, cache),
        };
        let kafka_jars = jars(shape.brokers, jars::KAFKA)?;
        let cassandra_jars = jars(shape.nodes, jars::CASSANDRA)?;
        let servers = servers(&shape)?;
        let folder = tempfile::Builder::new().prefix("millrace-cluster-").tempdir()?.keep();
        let java = tools.java;
        Ok(Self { shape, servers, linger_s, folder, java, kafka_jars, cassandra_jars })
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("plan.json")
    }

    /// Writes it to its folder.
    pub(crate) fn write(&self) -> Result<()> {
        Ok(fs::write(Self::path(&self.folder), serde_json::to_vec_pretty(self)?)?)
    }

    /// Reads that of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        Ok(serde_json::from_slice(&fs::read(Self::path(folder))?)?)
    }

    /// The servers of a kind.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &ServerPlan> {
        self.servers.iter().filter(move |server| server.kind == kind)
    }

    /// The data, settings and log of a server.
    pub(crate) fn folder_of(&self, server: &ServerPlan) -> PathBuf {
        self.folder.join(server.name())
    }

    /// What a server writes to its standard output and standard error.
    pub(crate) fn log_of(&self, server: &ServerPlan) -> PathBuf {
        self.folder_of(server).join("server.log")
    }

    /// Writes a server's settings and empty data folder.
    pub(crate) fn prepare(&self, server: &ServerPlan) -> Result<()> {
        fs::create_dir_all(self.folder_of(server).join("tmp"))?;
        match server.kind {
            Kind::Broker => kafka::prepare(self, server),
            Kind::Node => cassandra::prepare(self, server),
        }
    }

    /// The command line of a server.
    pub(crate) fn command(&self, server: &ServerPlan) -> Command {
        match server.kind {
            Kind::Broker => kafka::command(self, server),
            Kind::Node => cassandra::command(self, server),
        }
    }

    /// A `java` that keeps its temporary files and its user's folder to the cluster's own.
    pub(crate) fn java(&self, server: &ServerPlan, jars: &Path) -> Command {
        let folder = self.folder_of(server);
        let mut java = Command::new(&self.java);
        java.arg(format!("-Djava.io.tmpdir={}", folder.join("tmp").display()));
        java.arg(format!("-Duser.home={}", folder.display()));
        java.arg("-cp").arg(jars.join("*"));
        // A developer's settings of other programs are not for these.
        java.env_remove("JAVA_TOOL_OPTIONS").env_remove("CLASSPATH").current_dir(folder);
        java
    }
}

/// Brokers share a host and differ in ports. Nodes share their ports and differ in hosts, because
/// drivers take the port of the node they know for that of all; so do the proxies before them.
fn servers(shape: &Shape) -> Result<Vec<ServerPlan>> {
    let mut ports = Ports::new();
    let mut servers = vec![];
    let host = [loopback(1)];
    for number in 1..=shape.brokers {
        let mut address =
            || Ok::<_, anyhow::Error>(SocketAddr::from((host[0], ports.take(&host)?)));
        let (listen, internal, control) = (address()?, address()?, address()?);
        let advertised = if shape.proxied { address()? } else { listen };
        let kind = Kind::Broker;
        servers.push(ServerPlan { kind, number, listen, advertised, internal, control });
    }
    let hosts: Vec<IpAddr> = (1..=3).map(loopback).collect();
    let proxies: Vec<IpAddr> = (11..=13).map(loopback).collect();
    let (cql, storage) = (ports.take(&[&hosts[..], &proxies[..]].concat())?, ports.take(&hosts)?);
    for number in 1..=shape.nodes {
        let own = hosts[number - 1];
        let shown = if shape.proxied { proxies[number - 1] } else { own };
        servers.push(ServerPlan {
            kind: Kind::Node,
            number,
            listen: (own, cql).into(),
            advertised: (shown, cql).into(),
            internal: (own, storage).into(),
            control: (host[0], ports.take(&host)?).into(),
        });
    }
    Ok(servers)
}
