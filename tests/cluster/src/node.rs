//! One server of a cluster, and what can be done to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command as Process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::plan::{Kind, Plan, ServerPlan};
use crate::protocol::{self, Command, Signal, State};
use crate::{Proxy, cassandra, ready};

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often its state is looked at meanwhile.
const INTERVAL: Duration = Duration::from_millis(50);

/// A broker or a Cassandra node.
#[derive(Debug)]
pub struct Node {
    plan: Arc<Plan>,
    /// Its place in the plan.
    place: usize,
    proxy: Option<Proxy>,
}

impl Node {
    pub(crate) fn new(plan: &Arc<Plan>, place: usize) -> Result<Self> {
        let ServerPlan { listen, advertised, .. } = plan.servers[place];
        let proxy = match listen == advertised {
            true => None,
            false => Some(Proxy::at(advertised, listen)?),
        };
        Ok(Self { plan: plan.clone(), place, proxy })
    }

    fn server(&self) -> &ServerPlan {
        &self.plan.servers[self.place]
    }

    /// Where clients are to connect: its proxy, if it has one.
    pub fn address(&self) -> SocketAddr {
        self.server().advertised
    }

    /// Where it listens itself.
    pub fn direct_address(&self) -> SocketAddr {
        self.server().listen
    }

    /// What stands before it in a cluster that is [`proxied`](crate::Shape::proxied).
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.ask(Command::Look { server: self.place }).ok().and_then(|state| state.pid)
    }

    /// Kills it and waits until the process is gone.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub fn kill_9(&self) -> Result<()> {
        self.signal(Signal::Kill)?;
        self.ended()
    }

    /// Stops its clock (`SIGSTOP`): its connections stay open, and silent.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        let state = self.signal(Signal::Stop)?;
        ensure!(state.pid.is_some(), "{} does not run", self.name());
        Ok(())
    }

    /// Lets it go on (`SIGCONT`).
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        let state = self.signal(Signal::Continue)?;
        ensure!(state.pid.is_some(), "{} does not run", self.name());
        Ok(())
    }

    /// Asks it to end (`SIGTERM`), and waits.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::Terminate)?;
        self.ended()
    }

    /// Starts it again on the same ports and data, and waits until it answers.
    ///
    /// # Errors
    /// It ends or does not answer; the error holds the end of its log.
    pub fn start(&self) -> Result<()> {
        self.ask(Command::Start { server: self.place })?;
        self.answering()
    }

    /// Runs `nodetool` against it (Cassandra only) and returns what it printed.
    ///
    /// # Errors
    /// It is a broker, or `nodetool` fails.
    pub fn nodetool(&self, args: &[&str]) -> Result<String> {
        ensure!(self.server().kind == Kind::Node, "nodetool is for Cassandra");
        cassandra::nodetool(&self.plan, self.server(), args)
    }

    /// A `java` with Kafka's own client on its class path, for clients that are not ours.
    pub fn client_java(&self) -> Process {
        self.plan.java(self.server(), &self.plan.kafka_jars)
    }

    /// The end of what it wrote to its log.
    pub fn log_tail(&self) -> String {
        crate::tail(&self.log())
    }

    /// `kafka-1`, `cassandra-3`.
    pub fn name(&self) -> String {
        self.server().name()
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.plan.log_of(self.server())
    }

    /// Its data, settings and log.
    pub fn folder(&self) -> PathBuf {
        self.plan.folder_of(self.server())
    }

    /// Waits until it answers at its own address.
    pub(crate) fn answering(&self) -> Result<()> {
        let (server, tls, since) = (self.server(), self.plan.shape.tls, Instant::now());
        while !ready::answers(server.kind, server.listen, tls) {
            let state = self.ask(Command::Look { server: self.place })?;
            if let Some(status) = state.ended {
                bail!(
                    "{} ended with {status}; the end of its log:\n{}",
                    self.name(),
                    self.log_tail()
                );
            }
            if since.elapsed() > PATIENCE {
                let (name, log) = (self.name(), self.log_tail());
                bail!("{name} did not answer within {PATIENCE:?}; the end of its log:\n{log}");
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn ended(&self) -> Result<()> {
        let since = Instant::now();
        while self.ask(Command::Look { server: self.place })?.pid.is_some() {
            ensure!(since.elapsed() < PATIENCE, "{} did not end within {PATIENCE:?}", self.name());
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<State> {
        self.ask(Command::Signal { server: self.place, signal })
    }

    fn ask(&self, command: Command) -> Result<State> {
        protocol::ask(&self.plan.folder, command).with_context(|| self.name())
    }
}
