//! Starts a worker for every partition that is assigned, and stops them in order.

use std::sync::Arc;
use std::time::Duration;

use millrace_log::{Log, LogError, Reader, Subscription};
use millrace_schema::Topic;
use millrace_store::{Store, StoreError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::error;

use crate::completion::{Receipts, complete_jobs};
use crate::config::Config;
use crate::partition::{Partition, Shared};
use crate::progress::Progress;
use crate::role::deletions::Deletions;
use crate::role::devices::Devices;
use crate::role::events::Events;
use crate::role::profiles::Profiles;

/// The consumer group of all workers.
const GROUP: &str = "workers";

/// Running workers.
pub struct Workers {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// The workers did not stop as they should.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Some were still at work when the deadline came.
    #[error("workers were still at work after {0:?}")]
    Deadline(Duration),
    /// The store could not be made durable at the end; the log still has everything.
    #[error("the store could not be made durable: {0}")]
    Store(#[from] StoreError),
}

/// Starts workers for `topics` on the current runtime. With [`Receipts`] they also complete deletion
/// jobs, which are read from [`Topic::Deletions`].
///
/// # Errors
/// The log cannot be subscribed to.
pub fn start(
    config: Config,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    topics: &[Topic],
    receipts: Option<Receipts>,
) -> Result<Workers, LogError> {
    let subscriptions: Result<Vec<_>, _> =
        topics.iter().map(|topic| log.subscribe(GROUP, *topic)).collect();
    let (stop, stopped) = watch::channel(false);
    let shared = Arc::new(Shared { config, log, store, progress: Progress::default() });
    let mut tasks = JoinSet::new();
    for subscription in subscriptions? {
        tasks.spawn(assign(subscription, shared.clone(), stopped.clone()));
    }
    tasks.spawn(until_stopped(stopped.clone(), {
        let shared = shared.clone();
        async move {
            shared.progress.persist_every(shared.config.persist_interval, &*shared.store).await;
        }
    }));
    if let Some(receipts) = receipts {
        tasks.spawn(until_stopped(stopped, complete_jobs(shared.clone(), receipts)));
    }
    Ok(Workers { shared, stop, tasks })
}

impl Workers {
    /// Lets every partition finish its batch, then makes the store durable.
    ///
    /// # Errors
    /// The deadline came first, or the store failed.
    pub async fn stop(mut self, deadline: Duration) -> Result<(), StopError> {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(deadline, all).await.map_err(|_| StopError::Deadline(deadline))?;
        self.shared.store.persist().await?;
        Ok(())
    }
}

async fn until_stopped(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()> + Send) {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

/// Runs a task for each partition as it is assigned, until told to stop; waits for all of them.
async fn assign(
    mut subscription: Box<dyn Subscription>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut partitions = JoinSet::new();
    loop {
        let assigned = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            assigned = subscription.next() => assigned,
        };
        match assigned {
            Ok(Some(reader)) => {
                partitions.spawn(work(shared.clone(), reader, stop.clone()));
            }
            Ok(None) => break,
            Err(error) => {
                error!(%error, "no more partitions will be assigned");
                break;
            }
        }
        while partitions.try_join_next().is_some() {}
    }
    while partitions.join_next().await.is_some() {}
}

async fn work(shared: Arc<Shared>, reader: Box<dyn Reader>, stop: watch::Receiver<bool>) {
    let topic = reader.topic();
    match topic {
        Topic::Events => {
            let role = Events::new(shared.config.event_retention_us);
            Partition::new(shared, reader, role, stop).run().await;
        }
        Topic::Profiles => {
            Partition::new(shared, reader, Profiles::default(), stop).run().await;
        }
        Topic::Devices => Partition::new(shared, reader, Devices::default(), stop).run().await,
        Topic::Deletions => Partition::new(shared, reader, Deletions::default(), stop).run().await,
        Topic::EventsDlq | Topic::ProfilesDlq | Topic::DevicesDlq | Topic::DeletionsDlq => {
            error!(%topic, "dead letters have no worker");
        }
    }
}
