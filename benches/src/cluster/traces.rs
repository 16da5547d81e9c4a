//! What a run leaves behind, and its removal: at its end, after an error, and when it is told to
//! stop. Processes end by themselves: with the thread that started them, or with the cluster.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use millrace_schema::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use scylla::client::session_builder::SessionBuilder;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::product::Space;

/// How long the removal of topics may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// As shells tell of a command that was interrupted.
const INTERRUPTED: i32 = 130;

/// The folder, and topics and tables on servers that stay.
#[derive(Debug)]
pub(super) struct Traces {
    folder: PathBuf,
    /// Kafka and CQL, if they are not ours.
    foreign: Option<(String, String)>,
    spaces: Mutex<Vec<Space>>,
}

impl Traces {
    pub(super) fn new(folder: PathBuf, foreign: Option<(String, String)>) -> Arc<Self> {
        Arc::new(Self { folder, foreign, spaces: Mutex::default() })
    }

    /// Remembers a space that is about to be made.
    pub(super) fn add(&self, space: Space) {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).push(space);
    }

    /// Removes them all when a signal comes, and ends the process.
    pub(super) fn watch(self: &Arc<Self>) -> Result<()> {
        let runtime = runtime()?;
        let (mut interrupt, mut terminate) = runtime.block_on(async {
            anyhow::Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
        })?;
        let traces = Arc::clone(self);
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            traces.remove();
            std::process::exit(INTERRUPTED);
        });
        Ok(())
    }

    /// Removes them all, and says what could not be removed.
    pub(super) fn remove(&self) {
        // Made by this run, and perhaps gone already.
        let _ = std::fs::remove_dir_all(&self.folder);
        let Some((kafka, cql)) = &self.foreign else { return };
        let spaces =
            std::mem::take(&mut *self.spaces.lock().unwrap_or_else(PoisonError::into_inner));
        let removed = runtime().and_then(|runtime| runtime.block_on(remove(kafka, cql, &spaces)));
        if let Err(error) = removed {
            let names: Vec<&str> = spaces.iter().map(|Space(name)| name.as_str()).collect();
            eprintln!("topics and keyspaces {} may be left: {error:#}", names.join(", "));
        }
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

async fn remove(kafka: &str, cql: &str, spaces: &[Space]) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka).create()?;
    let topics = spaces.iter().flat_map(|space| Topic::ALL.map(|topic| space.topic(topic)));
    let topics: Vec<String> = topics.collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    admin.delete_topics(&topics, &options).await?;
    let nodes: Vec<&str> = cql.split(',').collect();
    let session = SessionBuilder::new().known_nodes(nodes).build().await?;
    for Space(name) in spaces {
        session.query_unpaged(format!("DROP KEYSPACE IF EXISTS {name}"), ()).await?;
    }
    Ok(())
}
