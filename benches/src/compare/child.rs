//! One of the compared servers, and whom to ask there.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use crate::child::Child;
use crate::process::{self, Memory};
use crate::request::{Target, address};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) target: Target,
    pub(crate) admin: Option<SocketAddr>,
}

/// What a server says on stdout when it is ready.
#[derive(Deserialize)]
struct Ready {
    url: String,
    admin_url: Option<String>,
    #[serde(default)]
    project_id: String,
    #[serde(default)]
    api_key: String,
}

impl Server {
    /// Starts a server, and waits until it says where it listens.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let (child, ready) = Child::start::<Ready>(program, arguments)?;
        let address_of = address(&ready.url)?;
        let target =
            Target { address: address_of, project: ready.project_id, api_key: ready.api_key };
        let admin = ready.admin_url.as_deref().map(address).transpose()?;
        Ok(Self { child, target, admin })
    }

    /// Processor time used so far, by all threads.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        process::cpu_time(self.child.id())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory in use.
    pub(crate) fn memory(&self) -> Result<Memory> {
        process::memory(self.child.id())
    }
}
