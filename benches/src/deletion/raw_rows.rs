//! The database's driver alone: the statements that erase people, one by one, and nothing else.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use millrace_schema::Topic;
use millrace_schema::time::wall_clock_us;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::prepared::PreparedStatement;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::people::People;

/// As `store/src/scylla/statements.rs` writes them.
const ERASURE: &str = "INSERT INTO {ks}.erasures (project_id, user_id, topic, log_offset, \
    job_id, received_us) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const LIFE: &str = "INSERT INTO {ks}.devices (project_id, user_id, life) VALUES (?, ?, ?) \
    USING TIMESTAMP ?";
const EVENTS: &str = "DELETE FROM {ks}.events USING TIMESTAMP ? \
    WHERE project_id = ? AND user_id = ? AND bucket = ?";
const CLAIM: &str = "DELETE FROM {ks}.claims USING TIMESTAMP ? \
    WHERE project_id = ? AND device_id = ? AND holder = ?";
/// Those that erase all of a user in one partition.
const WHOLE: [&str; 3] = [
    "DELETE FROM {ks}.event_times USING TIMESTAMP ? WHERE project_id = ? AND user_id = ?",
    "DELETE FROM {ks}.profiles USING TIMESTAMP ? WHERE project_id = ? AND user_id = ?",
    "DELETE FROM {ks}.devices USING TIMESTAMP ? WHERE project_id = ? AND user_id = ?",
];
/// As `store/src/scylla/config.rs` bounds them.
const IN_FLIGHT: usize = 128;
/// As `store/src/scylla/write.rs` spreads a user's events.
const BUCKETS: usize = 4;
/// Deletions of partitions and rows of each user: events, their times, profile, devices, claim.
const DELETES: u64 = BUCKETS as u64 + 1 + WHOLE.len() as u64;
/// What is remembered of each user: a marker for each topic, and when the devices' life began.
const NOTES: u64 = TOPICS.len() as u64 + 1;
/// The topics whose markers are remembered.
const TOPICS: [Topic; 3] = [Topic::Events, Topic::Profiles, Topic::Devices];
const PROJECT: &str = "demo";

/// A session and its statements.
pub(super) struct RawRows {
    runtime: Runtime,
    all: Arc<Statements>,
}

struct Statements {
    session: Session,
    erasure: PreparedStatement,
    life: PreparedStatement,
    events: PreparedStatement,
    claim: PreparedStatement,
    whole: Vec<PreparedStatement>,
}

/// What the driver alone took, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Alone {
    /// The deletions of partitions and rows.
    pub(super) deleted_s: f64,
    /// The rows that remember them.
    pub(super) noted_s: f64,
}

impl Alone {
    /// All statements of the product.
    pub(super) fn seconds(&self) -> f64 {
        self.deleted_s + self.noted_s
    }
}

impl RawRows {
    /// Statements of a user.
    pub(super) const PER_USER: u64 = DELETES + NOTES;

    pub(super) fn connect(cql: &str, keyspace: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let nodes: Vec<&str> = cql.split(',').collect();
        let all = runtime.block_on(async {
            let session = SessionBuilder::new().known_nodes(nodes).build().await?;
            let prepare = async |text: &str| {
                let mut statement = session.prepare(text.replace("{ks}", keyspace)).await?;
                statement.set_is_idempotent(true);
                anyhow::Ok(statement)
            };
            let mut whole = Vec::new();
            for text in WHOLE {
                whole.push(prepare(text).await?);
            }
            let (erasure, life) = (prepare(ERASURE).await?, prepare(LIFE).await?);
            let (events, claim) = (prepare(EVENTS).await?, prepare(CLAIM).await?);
            anyhow::Ok(Statements { session, erasure, life, events, claim, whole })
        })?;
        Ok(Self { runtime, all: Arc::new(all) })
    }

    /// Erases them all.
    pub(super) fn erase(&self, people: &People) -> Result<Alone> {
        let deleted_s = self.send(people, 0..DELETES)?;
        Ok(Alone { deleted_s, noted_s: self.send(people, DELETES..Self::PER_USER)? })
    }

    /// Sends these statements of each user; seconds.
    fn send(&self, people: &People, statements: Range<u64>) -> Result<f64> {
        let (first, of_each) = (statements.start, statements.end - statements.start);
        let next = Arc::new(AtomicU64::new(0));
        let since = Instant::now();
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..IN_FLIGHT {
                let (all, next, people) = (Arc::clone(&self.all), Arc::clone(&next), *people);
                tasks.spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let (at, nth) = (number / of_each, first + number % of_each);
                        if at >= people.count {
                            return anyhow::Ok(());
                        }
                        all.send(&people, at, nth).await?;
                    }
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        })?;
        Ok(since.elapsed().as_secs_f64())
    }
}

impl Statements {
    /// One of the statements that erase a user.
    async fn send(&self, people: &People, at: u64, nth: u64) -> Result<()> {
        // Above every stamp: what the product writes is stamped by offsets.
        let (stamp, user, session) = (wall_clock_us(), people.id(at), &self.session);
        let nth = usize::try_from(nth)?;
        let (claim, life) = (BUCKETS + WHOLE.len(), DELETES as usize);
        if nth < BUCKETS {
            let row = (stamp, PROJECT, &user, i32::try_from(nth)?);
            session.execute_unpaged(&self.events, row).await?;
        } else if let Some(whole) = self.whole.get(nth - BUCKETS) {
            session.execute_unpaged(whole, (stamp, PROJECT, &user)).await?;
        } else if nth == claim {
            let row = (stamp, PROJECT, people.device_id(at), &user);
            session.execute_unpaged(&self.claim, row).await?;
        } else if nth == life {
            let row = (PROJECT, &user, stamp, stamp);
            session.execute_unpaged(&self.life, row).await?;
        } else {
            let topic = TOPICS.get(nth - life - 1).context("no such topic")?.short_name();
            let offset = i64::try_from(at)?;
            let row = (PROJECT, &user, topic, offset, Uuid::from_u128(1), stamp, stamp);
            session.execute_unpaged(&self.erasure, row).await?;
        }
        Ok(())
    }
}
