//! The split system: front doors and workers as processes of their own, on Kafka and CQL servers
//! that are somewhere else.
//!
//! Owns starting, stopping and losing its processes. Must not know how the servers are run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process::{Launch, Server, millrace_binary};
use crate::readiness::Readiness;
use crate::system::{Door, Doors, System};

const PROJECT: &str = "demo";

/// The roles of workers.
const ROLES: [&str; 3] = ["events", "profiles", "deletions"];

/// What a split system is to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Kafka's bootstrap servers: `host:port,…`.
    pub kafka: String,
    /// CQL's contact points.
    pub cql: String,
    /// Its topic prefix and its keyspace.
    pub name: String,
    /// How many copies of everything the servers keep.
    pub replicas: u32,
    /// How long an acknowledged write may still be forgotten, milliseconds.
    pub settle_ms: u64,
    /// After how long a silent worker counts as gone, milliseconds.
    pub session_timeout_ms: u64,
    /// How many front doors.
    pub doors: usize,
    /// How many workers of each role.
    pub workers: usize,
    /// The program of doors and workers; `None`: `millrace`.
    pub binary: Option<PathBuf>,
    /// Further environment of doors and workers.
    pub env: Vec<(String, String)>,
}

impl Spec {
    /// Two front doors and two workers of each role.
    pub fn new(kafka: &str, cql: &str, name: &str) -> Self {
        Self {
            kafka: kafka.into(),
            cql: cql.into(),
            name: name.into(),
            replicas: 1,
            settle_ms: 1_000,
            session_timeout_ms: 4_000,
            doors: 2,
            workers: 2,
            binary: None,
            env: Vec::new(),
        }
    }

    /// The options of every command.
    fn options(&self) -> Vec<String> {
        let options = [
            ("--kafka", self.kafka.clone()),
            ("--cql", self.cql.clone()),
            ("--kafka-prefix", self.name.clone()),
            ("--cql-keyspace", self.name.clone()),
            ("--kafka-session-timeout-ms", self.session_timeout_ms.to_string()),
            ("--cql-settle-ms", self.settle_ms.to_string()),
            ("--partitions", "4".to_owned()),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

/// One process of it; started again it listens somewhere else.
#[derive(Debug)]
pub struct Member {
    name: String,
    /// How it is started the next time.
    pub launch: Launch,
    server: Option<Server>,
}

impl Member {
    /// Its role and number.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process.
    ///
    /// # Errors
    /// It does not run.
    pub fn server(&self) -> Result<&Server> {
        self.server.as_ref().with_context(|| format!("{} does not run", self.name))
    }

    /// Kills it.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn kill_9(&mut self) -> Result<()> {
        let server = self.server.take().with_context(|| format!("{} does not run", self.name))?;
        server.kill_9().map(|_| ())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// It does not run, does not end, or something was cut short.
    pub fn terminate(&mut self) -> Result<()> {
        let server = self.server.take().with_context(|| format!("{} does not run", self.name))?;
        let (status, _) = server.terminate()?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}

/// Front doors and workers. All of them end when it is dropped.
#[derive(Debug)]
pub struct Split {
    doors: Doors,
    members: Vec<Member>,
    door_count: usize,
    readiness: Readiness,
    starter: Starter,
}

/// What makes a system's processes.
#[derive(Debug)]
struct Starter {
    spec: Spec,
    folder: PathBuf,
    binary: PathBuf,
}

impl Starter {
    /// Runs a command that ends by itself, and returns what it printed.
    fn run(&self, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(millrace_binary()?);
        command.args(args).args(self.spec.options()).arg("--json");
        let output = command.arg("--data").arg(self.folder.join("data")).output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "millrace {args:?}: {}: {error}", output.status);
        Ok(output.stdout)
    }

    /// Topics, tables, a project and a key of it.
    fn prepare(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct NewKey {
            api_key: String,
        }
        self.run(&["migrate", "--replication-factor", &self.spec.replicas.to_string()])?;
        self.run(&["project", "create", PROJECT])?;
        let made = self.run(&["key", "create", "--project", PROJECT])?;
        Ok(serde_json::from_slice::<NewKey>(&made)?.api_key)
    }

    fn launch(&self, args: &[&str]) -> Launch {
        let (binary, folder) = (self.binary.clone(), self.folder.clone());
        let launch = Launch { binary, args: Vec::new(), folder, env: self.spec.env.clone() };
        let options = self.spec.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        launch.args(args).args(&options).args(&["--admin-listen", "127.0.0.1:0"])
    }

    fn launches(&self) -> Vec<(String, Launch)> {
        let key = self.folder.join("data/keys/signing.pub.pem");
        let key = key.to_string_lossy();
        let door = ["ingest", "--listen", "127.0.0.1:0", "--verify-key", &*key];
        let mut launches = Vec::new();
        for number in 1..=self.spec.doors {
            launches.push((format!("door {number}"), self.launch(&door)));
        }
        for role in ROLES {
            for number in 1..=self.spec.workers {
                // Each signs with a key of its own.
                let receipt_key = self.folder.join(format!("data/keys/receipts-{number}.pem"));
                let receipt_key = receipt_key.to_string_lossy();
                let signs = ["--receipt-key", &*receipt_key];
                let own: &[&str] = if role == "deletions" { &signs } else { &[] };
                let worker = self.launch(&[&["worker", "--role", role], own].concat());
                launches.push((format!("{role} worker {number}"), worker));
            }
        }
        launches
    }
}

impl Split {
    /// Makes topics, tables, a project and a key, starts everything, and waits until it is ready.
    /// `folder` takes keys and standard error.
    ///
    /// # Errors
    /// Something does not start; the error holds its standard error.
    pub fn start(spec: &Spec, folder: &Path) -> Result<Self> {
        let binary = spec.binary.clone().map_or_else(millrace_binary, Ok)?;
        let starter = Starter { spec: spec.clone(), folder: folder.to_owned(), binary };
        let key = starter.prepare()?;
        let mut starting = Vec::new();
        for (name, launch) in starter.launches() {
            starting.push((name, launch.spawn()?));
        }
        let mut members = Vec::new();
        for (name, starting) in starting {
            let server = starting.greeted().with_context(|| name.clone())?;
            members.push(Member { name, launch: server.launch().clone(), server: Some(server) });
        }
        for member in &members {
            member.server()?.wait_ready().with_context(|| member.name.clone())?;
        }
        let places: Result<Vec<Door>> = members[..spec.doors].iter().map(door_of).collect();
        let addresses: Result<Vec<SocketAddr>> =
            members.iter().map(|member| Ok(member.server()?.address)).collect();
        let doors = Doors::new(PROJECT, &key, places?);
        let readiness = Readiness::watch(addresses?);
        Ok(Self { doors, members, door_count: spec.doors, readiness, starter })
    }

    /// Runs a command that ends by itself, and returns what it printed.
    ///
    /// # Errors
    /// It fails; the error holds its standard error.
    pub fn run(&self, args: &[&str]) -> Result<Vec<u8>> {
        self.starter.run(args)
    }

    /// The processes: the doors, then two or more workers of each role.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The places of the front doors among the members.
    pub fn door_places(&self) -> std::ops::Range<usize> {
        0..self.door_count
    }

    /// The places of the workers among the members.
    pub fn worker_places(&self) -> std::ops::Range<usize> {
        self.door_count..self.members.len()
    }

    /// Starts a member again that has ended, and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub fn start_again(&mut self, place: usize) -> Result<()> {
        self.start_unready(place)?;
        self.members[place].server()?.wait_ready()
    }

    /// Starts a member again that has ended; it may not be ready.
    ///
    /// # Errors
    /// It ends.
    pub fn start_unready(&mut self, place: usize) -> Result<()> {
        let member = &mut self.members[place];
        let server = member.launch.spawn()?.greeted().with_context(|| member.name.clone())?;
        self.readiness.moved(place, server.address);
        member.server = Some(server);
        if place < self.door_count {
            self.doors.moved(place, door_of(&self.members[place])?);
        }
        Ok(())
    }

    /// Waits until every process is ready.
    ///
    /// # Errors
    /// One is not, in time.
    pub fn wait_ready(&self) -> Result<()> {
        let wait = |member: &Member| member.server()?.wait_ready().context(member.name.clone());
        self.members.iter().try_for_each(wait)
    }

    /// How long its processes were not ready.
    pub const fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

fn door_of(member: &Member) -> Result<Door> {
    let server = member.server()?;
    Ok(Door { address: server.address, admin: server.admin })
}

impl System for Split {
    fn doors(&self) -> Doors {
        self.doors.clone()
    }

    fn stderr(&self) -> String {
        let of = |member: &Member| {
            let log = member.server.as_ref().map_or("does not run".into(), Server::stderr);
            let from = log.len().saturating_sub(STDERR_BYTES);
            let log = log.get(from..).unwrap_or(&log);
            format!("--- {}\n{log}\n", member.name)
        };
        self.members.iter().map(of).collect()
    }

    fn panicked(&self) -> Result<bool> {
        for member in &self.members {
            if let Some(server) = &member.server
                && server.panicked()?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(180)
    }
}

/// How much of each process's standard error an error shows, bytes.
const STDERR_BYTES: usize = 2 * 1024;
