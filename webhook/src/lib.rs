//! Sends the receipts of deletions to the webhooks of projects.
//!
//! Owns when a delivery is tried, what is sent, and what becomes of it. Must not know how a receipt
//! is made, nor which addresses may be reached: that is the client's.
//!
//! A delivery is made at least once. Everything about it stands in the store, so whoever starts next
//! goes on with it. Several processes may do this at the same time: each attempt is noted before it
//! is made, which the others respect, so that only those that begin within the same moment both
//! send. What they send is the same message, under the same `webhook-id`.

mod courier;
mod message;
mod schedule;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use millrace_client::Client;
use millrace_schema::time::wall_clock_us;
use millrace_store::{Delivery, Store};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use crate::courier::Courier;

/// Signs bytes with the key of the receipts: 64 bytes of Ed25519.
pub type Sign = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// The longest wait while the store is away.
const AWAY_MAX: Duration = Duration::from_secs(10);
/// Looking for deliveries takes at most this share of the time, as its reciprocal.
const LOOKING_SHARE: u32 = 20;

/// When deliveries are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often new deliveries are looked for.
    pub poll_interval: Duration,
    /// The delay after the first failure, which doubles with each one. Longer than a call may take:
    /// until then other processes take an attempt for one that goes on.
    pub retry_min: Duration,
    /// The longest delay.
    pub retry_max: Duration,
    /// How long after a job's completion its delivery is tried.
    pub give_up_after: Duration,
    /// Calls at a time.
    pub calls_max: usize,
    /// Calls at a time for one project, so that one slow receiver does not hold up the others.
    pub calls_per_project_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            retry_min: Duration::from_secs(20),
            retry_max: Duration::from_secs(3600),
            give_up_after: Duration::from_secs(24 * 3600),
            calls_max: 64,
            calls_per_project_max: 4,
        }
    }
}

/// Delivers what is to be delivered, for ever.
pub async fn deliver(store: Arc<dyn Store>, client: Client, sign: Sign, config: Config) {
    let away = ExponentialBuilder::default()
        .with_min_delay(config.poll_interval)
        .with_max_delay(AWAY_MAX.max(config.poll_interval))
        .without_max_times()
        .with_jitter();
    let mut delays = away.build();
    let courier = Arc::new(Courier::new(Arc::clone(&store), client, sign, config));
    let mut rounds = Rounds::default();
    loop {
        // Before the list is read, so that no round works on what was read before it began.
        rounds.forget_ended();
        let began = Instant::now();
        let wait = match store.open_deliveries().await {
            Ok(open) => {
                rounds.begin(&courier, open);
                delays = away.build();
                config.poll_interval.max(began.elapsed().saturating_mul(LOOKING_SHARE))
            }
            Err(error) => {
                warn!(%error, "open deliveries could not be looked at");
                delays.next().unwrap_or(AWAY_MAX)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// At most one round of each project at a time.
#[derive(Default)]
struct Rounds {
    tasks: JoinSet<()>,
    by_project: HashMap<String, AbortHandle>,
}

impl Rounds {
    fn forget_ended(&mut self) {
        self.by_project.retain(|_, round| !round.is_finished());
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended {
                warn!(%error, "a round of deliveries broke off");
            }
        }
    }

    /// Begins a round with what is due of each project that has none.
    fn begin(&mut self, courier: &Arc<Courier>, open: Vec<(String, Uuid, Delivery)>) {
        let now_us = wall_clock_us();
        let mut due: HashMap<String, Vec<Uuid>> = HashMap::new();
        for (project, job, delivery) in open {
            if !self.by_project.contains_key(&project) && courier.is_due(job, &delivery, now_us) {
                due.entry(project).or_default().push(job);
            }
        }
        for (project, jobs) in due {
            let (courier, of) = (Arc::clone(courier), project.clone());
            let round = self.tasks.spawn(async move { courier.round(&of, jobs).await });
            self.by_project.insert(project, round);
        }
    }
}
