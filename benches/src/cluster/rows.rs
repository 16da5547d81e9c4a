//! The database's driver alone: what workers could reach if they did nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use millrace_schema::time::{Micros, wall_clock_us};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::records::{Event, PROJECT};

/// As `store/src/scylla/statements.rs` writes an event.
const INSERT: &str = "INSERT INTO {ks}.events (project_id, user_id, bucket, time_us, event_id, \
    payload) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
/// As `store/src/scylla/config.rs` bounds them.
const IN_FLIGHT: usize = 128;
/// As `store/src/scylla/write.rs` bounds a batch.
const BATCH_ROWS: usize = 64;
/// As `store/src/scylla/write.rs` spreads a user's events.
const BUCKET_US: Micros = 100 * 24 * 3600 * 1_000_000;
const BUCKETS: Micros = 4;
/// The retention of events, 395 days.
const TTL_S: i32 = 395 * 24 * 3600;

/// Events by number, to be sent as one: all of one partition of the database.
type Part = Vec<usize>;

type Row<'r> = (&'r str, &'r str, i32, Micros, &'r str, &'r [u8], i64, i32);

/// A session and its one statement.
pub(super) struct RawWriter {
    runtime: Runtime,
    session: Arc<Session>,
    insert: PreparedStatement,
}

/// What writing rows took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) took: Duration,
    /// Batches, and rows that were alone.
    pub(super) statements: usize,
}

impl RawWriter {
    pub(super) fn connect(cql: &str, keyspace: &str, threads: usize) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads.max(1)).enable_all().build()?;
        let nodes: Vec<&str> = cql.split(',').collect();
        let (session, insert) = runtime.block_on(async {
            let session = SessionBuilder::new().known_nodes(nodes).build().await?;
            let mut insert = session.prepare(INSERT.replace("{ks}", keyspace)).await?;
            insert.set_is_idempotent(true);
            anyhow::Ok((session, insert))
        })?;
        Ok(Self { runtime, session: Arc::new(session), insert })
    }

    /// Writes the rows of all events, in batches of so many rows on average.
    pub(super) fn write(&self, events: &Arc<Vec<Event>>, rows_per_batch: f64) -> Result<Written> {
        let parts = Arc::new(fit(events, rows_per_batch));
        let next = Arc::new(AtomicUsize::new(0));
        let stamp = wall_clock_us();
        let started = Instant::now();
        self.runtime.block_on(async {
            let mut writers = JoinSet::new();
            for _ in 0..IN_FLIGHT {
                let (session, insert) = (Arc::clone(&self.session), self.insert.clone());
                let (events, parts) = (Arc::clone(events), Arc::clone(&parts));
                let next = Arc::clone(&next);
                writers.spawn(async move {
                    while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let rows =
                            part.iter().filter_map(|at| Some(row(stamp, *at, events.get(*at)?)));
                        send(&session, &insert, rows.collect()).await?;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(ended) = writers.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        })?;
        Ok(Written { took: started.elapsed(), statements: parts.len() })
    }
}

async fn send(session: &Session, insert: &PreparedStatement, rows: Vec<Row<'_>>) -> Result<()> {
    if let [one] = &*rows {
        session.execute_unpaged(insert, one).await?;
        return Ok(());
    }
    let mut batch = Batch::new(BatchType::Unlogged);
    for _ in &rows {
        batch.append_statement(insert.clone());
    }
    batch.set_is_idempotent(true);
    session.batch(&batch, &rows).await?;
    Ok(())
}

fn row(stamp: i64, at: usize, event: &Event) -> Row<'_> {
    let Event { entry, user, id, time_us } = event;
    // Fewer than 2^63 events.
    let stamp = stamp.saturating_add(at as i64);
    (PROJECT, user, bucket(*time_us), *time_us, id, &entry.value, stamp, TTL_S)
}

fn bucket(time_us: Micros) -> i32 {
    // Below `BUCKETS`.
    time_us.div_euclid(BUCKET_US).rem_euclid(BUCKETS) as i32
}

/// As workers send rows, with commits of the size that makes batches of so many rows on average.
fn fit(events: &[Event], rows_per_batch: f64) -> Vec<Part> {
    let (mut least, mut most) = (1, events.len().max(1));
    while least < most {
        let commit_records = usize::midpoint(least, most);
        let batches = parts(events, commit_records).len().max(1);
        if events.len() as f64 / (batches as f64) < rows_per_batch {
            least = commit_records + 1;
        } else {
            most = commit_records;
        }
    }
    parts(events, least)
}

/// The rows as workers send them: the records of a Kafka partition in commits, each cut by the
/// partitions of the database; the Kafka partitions in turn.
fn parts(events: &[Event], commit_records: usize) -> Vec<Part> {
    let mut by_partition: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        by_partition.entry(event.entry.partition).or_default().push(at);
    }
    let mut commits: Vec<(usize, Vec<Part>)> = Vec::new();
    for records in by_partition.values() {
        for (turn, commit) in records.chunks(commit_records.max(1)).enumerate() {
            commits.push((turn, by_user(events, commit)));
        }
    }
    commits.sort_by_key(|(turn, _)| *turn);
    commits.into_iter().flat_map(|(_, parts)| parts).collect()
}

fn by_user(events: &[Event], commit: &[usize]) -> Vec<Part> {
    let mut places: BTreeMap<(&str, i32), Part> = BTreeMap::new();
    for at in commit {
        if let Some(event) = events.get(*at) {
            places.entry((&event.user, bucket(event.time_us))).or_default().push(*at);
        }
    }
    places
        .into_values()
        .flat_map(|part| part.chunks(BATCH_ROWS).map(<[_]>::to_vec).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::records::Source;
    use super::*;

    #[test]
    fn batches_are_fitted_to_their_rows() {
        let events = Source::new(3, 50).events(2_000).unwrap();
        for wanted in [1.0, 2.5, 6.0] {
            let rows = events.len() as f64 / fit(&events, wanted).len() as f64;
            assert!((wanted..wanted * 1.2).contains(&rows), "{rows} for {wanted}");
        }
    }

    #[test]
    fn every_row_is_written_once_and_a_batch_is_of_one_user() {
        let events = Source::new(3, 5).events(1_000).unwrap();
        for commit_records in [1, 7, 100_000] {
            let parts = parts(&events, commit_records);
            let mut all: Vec<usize> = parts.concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..events.len()));
            for part in &parts {
                assert!(!part.is_empty() && part.len() <= BATCH_ROWS.min(commit_records));
                assert!(part.iter().all(|at| events[*at].user == events[part[0]].user));
            }
        }
    }
}
