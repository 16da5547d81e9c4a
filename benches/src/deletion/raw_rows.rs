//! The database's driver alone: the statements that erase people, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use millrace_schema::Topic;
use millrace_schema::time::wall_clock_us;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::prepared::PreparedStatement;
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
const BUCKETS: i32 = 4;
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

impl RawRows {
    /// Statements of a user.
    pub(super) const PER_USER: u64 = 3 + 4 + 1 + 1 + WHOLE.len() as u64;

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

    /// Erases them all; seconds.
    pub(super) fn erase(&self, people: &People) -> Result<f64> {
        let next = Arc::new(AtomicU64::new(0));
        let since = Instant::now();
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..IN_FLIGHT {
                let (all, next, people) = (Arc::clone(&self.all), Arc::clone(&next), *people);
                tasks.spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let (at, nth) = (number / Self::PER_USER, number % Self::PER_USER);
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
        let nth = usize::try_from(nth).unwrap_or(usize::MAX);
        match nth {
            0..3 => {
                let topic = TOPICS.get(nth).context("no such topic")?.short_name();
                let offset = i64::try_from(at)?;
                let row = (PROJECT, &user, topic, offset, Uuid::from_u128(1), stamp, stamp);
                session.execute_unpaged(&self.erasure, row).await?;
            }
            3..7 => {
                let bucket = i32::try_from(nth)?.rem_euclid(BUCKETS);
                session.execute_unpaged(&self.events, (stamp, PROJECT, &user, bucket)).await?;
            }
            7 => {
                session.execute_unpaged(&self.life, (PROJECT, &user, stamp, stamp)).await?;
            }
            8 => {
                let device = people.device_id(at);
                session.execute_unpaged(&self.claim, (stamp, PROJECT, device, &user)).await?;
            }
            _ => {
                let statement = self.whole.get(nth - 9).context("no such statement")?;
                session.execute_unpaged(statement, (stamp, PROJECT, &user)).await?;
            }
        }
        Ok(())
    }
}
