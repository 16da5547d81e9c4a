//! What takes traffic and is read back: one server, or several front doors over one log.
//!
//! Owns where requests go. Must not know what they say.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::client::{Client, Connection};
use crate::process::Server;

/// Something that takes traffic and can be read back.
pub trait System {
    /// Where it is reached; changes as its processes come and go.
    fn doors(&self) -> Doors;

    /// What its processes wrote to standard error, shortened.
    fn stderr(&self) -> String;

    /// Whether any of them wrote of a panic.
    ///
    /// # Errors
    /// Standard error cannot be read.
    fn panicked(&self) -> Result<bool>;

    /// How long it may take to become idle.
    fn patience(&self) -> Duration;
}

/// Where one front door listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// The API.
    pub address: SocketAddr,
    /// Metrics and the ledger.
    pub admin: SocketAddr,
}

/// The front doors of a system, and the project that is spoken of. A copy sees what changes.
#[derive(Clone, Debug)]
pub struct Doors {
    project: String,
    key: String,
    places: Arc<Mutex<Vec<Door>>>,
}

impl Doors {
    /// Doors to a project, with a key of it.
    pub fn new(project: &str, key: &str, places: Vec<Door>) -> Self {
        let (project, key) = (project.to_owned(), key.to_owned());
        Self { project, key, places: Arc::new(Mutex::new(places)) }
    }

    /// All of them, whether they run or not.
    pub fn all(&self) -> Vec<Door> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A door was opened again, somewhere else.
    pub fn moved(&self, number: usize, door: Door) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)[number] = door;
    }

    /// Whether any of them can be connected to.
    pub fn any_open(&self) -> bool {
        self.all().iter().any(|door| Connection::open(door.address).is_ok())
    }

    /// A client of one door's API.
    pub fn client(&self, door: Door) -> Client {
        Client::new(door.address, &self.project, &self.key)
    }

    /// A client of one door's admin address.
    pub fn admin_client(&self, door: Door) -> Client {
        Client::new(door.admin, &self.project, &self.key)
    }
}

impl System for Server {
    fn doors(&self) -> Doors {
        let door = Door { address: self.address, admin: self.admin };
        Doors::new(&self.project, &self.key, vec![door])
    }

    fn stderr(&self) -> String {
        self.stderr()
    }

    fn panicked(&self) -> Result<bool> {
        self.panicked()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}
