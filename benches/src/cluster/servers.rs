//! The broker and the database: started for this run, or named on the command line.

use anyhow::{Context, Result};
use millrace_cluster::{Cluster, Node, Shape};

use super::Options;
use super::usage::Watched;

/// Where both are. What was started ends when this is dropped.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) kafka: String,
    pub(super) cql: String,
    pub(super) broker: Watched,
    pub(super) database: Watched,
    /// What tells this run's topics and keyspaces from others.
    pub(super) name: String,
    started: Option<Cluster>,
}

impl Servers {
    /// Takes those that are named, or starts one of each.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let name = format!("bench_{:x}", millrace_schema::time::wall_clock_us() / 1_000);
        let broker = Watched::new("broker", options.kafka_pid);
        let database = Watched::new("database", options.cql_pid);
        if let (Some(kafka), Some(cql)) = (options.kafka.clone(), options.cql.clone()) {
            return Ok(Self { kafka, cql, broker, database, name, started: None });
        }
        eprintln!("starting a broker and a database");
        let cluster = Cluster::start(Shape::default())?;
        let pid = |nodes: &[Node]| nodes.first().and_then(Node::pid).context("a server has ended");
        Ok(Self {
            kafka: cluster.bootstrap(),
            cql: cluster.printed().cql,
            broker: Watched::new("broker", Some(pid(cluster.brokers())?)),
            database: Watched::new("database", Some(pid(cluster.nodes())?)),
            name,
            started: Some(cluster),
        })
    }

    /// Kafka and CQL, if they stay when this run has ended.
    pub(super) fn foreign(&self) -> Option<(String, String)> {
        let stay = self.started.is_none();
        stay.then(|| (self.kafka.clone(), self.cql.clone()))
    }
}
