//! One assigned partition: read, decide, commit; begin anew whenever anything is in doubt.
//!
//! Every beginning claims a new epoch, starts at the resume point and with empty state. So there is
//! one answer to a store that is away, a restarted node, a pause and a newer epoch: begin anew.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use millrace_log::{AppendError, Log, LogRecord, ReadError, Reader};
use millrace_schema::{Outcome, Topic};
use millrace_store::{Commit, Stamp, Store, StoreError, Write};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::arrival::{Arrival, Place};
use crate::config::Config;
use crate::dead_letter::DeadLetters;
use crate::erasures::Erasures;
use crate::meters::Meters;
use crate::positions::{Positions, Progressed};
use crate::progress::Progress;
use crate::role::{Effects, Role};

/// Batches are not made smaller than this: a record may be larger all the same.
const BATCH_BYTES_MIN: usize = 4 * 1024;

/// What every partition of a process shares.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) progress: Progress,
}

pub(crate) struct Partition<R> {
    shared: Arc<Shared>,
    reader: Box<dyn Reader>,
    role: R,
    stop: watch::Receiver<bool>,
    meters: Meters,
    /// About how many bytes of records the next batch takes.
    batch_bytes: usize,
}

/// From one beginning to the next.
struct Session {
    generation: u64,
    base: Stamp,
    positions: Positions,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("told to stop")]
    Stopped,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("dead letters: {0}")]
    DeadLetters(#[from] AppendError),
    #[error("a turn took {0:?}; another worker may have taken over meanwhile")]
    Paused(Duration),
    #[error("the ledger holds a newer epoch")]
    Superseded,
}

impl<R: Role> Partition<R> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        reader: Box<dyn Reader>,
        role: R,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let meters = Meters::new(reader.topic(), reader.partition());
        Self { shared, reader, role, stop, meters, batch_bytes: BATCH_BYTES_MIN }
    }

    fn key(&self) -> (Topic, u32) {
        (self.reader.topic(), self.reader.partition())
    }

    /// Works until told to stop or until the partition is taken away.
    pub(crate) async fn run(mut self) {
        let (topic, partition) = self.key();
        let config = &self.shared.config;
        let delays = ExponentialBuilder::default()
            .with_min_delay(config.retry_min)
            .with_max_delay(config.retry_max)
            .without_max_times()
            .with_jitter();
        let mut delay = delays.build();
        loop {
            let mut applied = false;
            match self.session(&mut applied).await {
                End::Stopped | End::Read(ReadError::Revoked) => break,
                end => {
                    warn!(%topic, partition, reason = %end, "begins again at the resume point");
                    self.meters.paused.set(1.0);
                }
            }
            if applied {
                delay = delays.build();
            }
            let wait = delay.next().unwrap_or(self.shared.config.retry_max);
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.meters.paused.set(0.0);
        self.shared.progress.is_gone((topic, partition));
        debug!(%topic, partition, "lets go");
    }

    /// One session, to its end. `applied` tells whether anything was committed.
    async fn session(&mut self, applied: &mut bool) -> End {
        let mut session = match self.begin().await {
            Ok(session) => session,
            Err(end) => return end,
        };
        loop {
            match self.turn(&mut session).await {
                Ok(()) => *applied = true,
                Err(end) => return end,
            }
        }
    }

    async fn begin(&mut self) -> Result<Session, End> {
        self.role.forget();
        self.meters.beginnings.increment(1);
        let (topic, partition) = self.key();
        let store = &self.shared.store;
        let generation = store.generation().await?;
        let base = store.topic_base(topic, self.shared.log.partitions()).await?;
        // Whoever has it now would have to begin again.
        if !self.reader.is_held() {
            return Err(ReadError::Revoked.into());
        }
        let row = store.claim(topic, partition).await?;
        self.reader.seek(row.frontier).await?;
        debug!(%topic, partition, epoch = row.epoch, offset = row.frontier, "begins");
        self.meters.paused.set(0.0);
        self.shared.progress.stands_at((topic, partition), row.resume);
        Ok(Session { generation, base, positions: Positions::new(store.settle(), row) })
    }

    async fn turn(&mut self, session: &mut Session) -> Result<(), End> {
        let config = &self.shared.config;
        let waited_for = Instant::now();
        let records = tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopped),
            records = self.reader.read(self.batch_bytes) => Some(records?),
            () = tokio::time::sleep(config.tick) => None,
        };
        let started = Instant::now();
        if started.duration_since(waited_for) > config.tick + config.pause_max {
            return Err(End::Paused(started.duration_since(waited_for)));
        }
        let Some(records) = records else {
            // As after a pause of TCP: when a burst finds all partitions idle, full batches of all
            // of them at once would take a slow store longer than a turn may.
            self.batch_bytes = BATCH_BYTES_MIN;
            return self.idle(session).await;
        };
        self.apply(session, &records).await?;
        self.adapt(started.elapsed())?;
        self.let_go();
        tokio::time::sleep(self.shared.config.linger).await;
        Ok(())
    }

    /// Fits the size of batches to what the store bears: far below what a turn may take, because
    /// records of the same size may suddenly be several times the work, as markers are.
    fn adapt(&mut self, took: Duration) -> Result<(), End> {
        let Config { batch_bytes, pause_max, .. } = self.shared.config;
        if took > pause_max / 8 {
            self.batch_bytes = (self.batch_bytes / 2).max(BATCH_BYTES_MIN);
        } else if took < pause_max / 16 {
            self.batch_bytes = self.batch_bytes.saturating_mul(2).min(batch_bytes);
        }
        if took > pause_max {
            return Err(End::Paused(took));
        }
        Ok(())
    }

    async fn idle(&mut self, session: &mut Session) -> Result<(), End> {
        let (topic, partition) = self.key();
        let ours = session.positions.row().epoch;
        if self.shared.store.newest_epoch(topic, partition).await? > ours {
            return Err(End::Superseded);
        }
        if self.shared.store.generation().await? != session.generation {
            return Err(End::Store(StoreError::Restarted));
        }
        if let Some((ledger, writes)) = session.positions.idle(Instant::now()) {
            let generation = session.generation;
            self.commit(session, Commit { writes, ledger, generation }).await?;
        }
        self.let_go();
        Ok(())
    }

    async fn apply(&mut self, session: &mut Session, records: &[LogRecord]) -> Result<(), End> {
        let topic = self.reader.topic();
        let batch: Vec<Arrival<'_>> =
            records.iter().map(|record| Arrival::new(topic, record)).collect();
        self.role.load(&*self.shared.store, &batch).await?;
        let erasures = Erasures::load(&*self.shared.store, topic, &batch).await?;
        let (progressed, mut writes, dead) =
            self.decide(session, records, &batch, erasures).await?;
        dead.bury(&*self.shared.log).await?;
        let counts = progressed.counts.clone();
        let (ledger, due) = session.positions.after(Instant::now(), progressed);
        writes.extend(due);
        let generation = session.generation;
        self.commit(session, Commit { writes, ledger, generation }).await?;
        self.meters.count(&counts);
        self.meters.commit_records.record(records.len() as f64);
        Ok(())
    }

    /// What each record of the batch changes, in order.
    async fn decide(
        &mut self,
        session: &Session,
        records: &[LogRecord],
        batch: &[Arrival<'_>],
        mut erasures: Erasures,
    ) -> Result<(Progressed, Vec<Write>, DeadLetters), End> {
        let (topic, partition) = self.key();
        let row = session.positions.row();
        let mut progressed =
            Progressed { frontier: row.frontier, time_us: row.time_us, ..Progressed::default() };
        let mut effects = Effects::default();
        effects.writes.reserve(2 * batch.len());
        let mut dead = DeadLetters::default();
        for (log_record, arrival) in records.iter().zip(batch) {
            if arrival.offset > progressed.frontier {
                self.count_gap(&mut progressed, arrival.offset).await?;
            }
            if let Ok(record) = &arrival.record {
                progressed.time_us = progressed.time_us.max(record.received_us);
            }
            let place = Place {
                offset: arrival.offset,
                base: session.base,
                time_us: progressed.time_us,
                detour: arrival.detour,
            };
            let before = effects.len();
            match self.outcome(&place, arrival, &mut erasures, &mut effects) {
                Ok((project, outcome)) => {
                    progressed.counts.add(project, outcome, 1);
                }
                Err(reason) => {
                    effects.truncate(before);
                    let partitions = self.shared.log.partitions();
                    let here = (topic, partition, partitions);
                    let time_us = progressed.time_us;
                    dead.push(here, log_record, arrival.detour, time_us, &reason);
                    let project = arrival.record.as_ref().map_or("", |r| &*r.project);
                    progressed.counts.add(project, Outcome::Dead, 1);
                }
            }
            progressed.frontier = arrival.offset + 1;
        }
        progressed.after_settling = effects.after_settling;
        Ok((progressed, effects.writes, dead))
    }

    /// What becomes of one record, and of which project it is. An error: it can never be stored.
    fn outcome<'a>(
        &mut self,
        place: &Place,
        arrival: &'a Arrival<'_>,
        erasures: &mut Erasures,
        effects: &mut Effects,
    ) -> Result<(&'a str, Outcome), String> {
        let record = arrival.record.as_ref().map_err(Clone::clone)?;
        let clock_skew_us = self.shared.config.clock_skew_us;
        if place.is_withheld(record.received_us, erasures.of(record), clock_skew_us) {
            return Ok((&record.project, Outcome::Withheld));
        }
        let outcome = self.role.apply(place, record, arrival.value, effects)?;
        erasures.note(place, record);
        Ok((&record.project, outcome))
    }

    /// Offsets that hold no record: overtaken by retention, or never records of ours.
    async fn count_gap(&mut self, progressed: &mut Progressed, offset: u64) -> Result<(), End> {
        let (topic, partition) = self.key();
        let bounds = self.shared.log.bounds(topic).await.map_err(ReadError::Log)?;
        let start = bounds.get(partition as usize).map_or(0, |bounds| bounds.start);
        let start = start.clamp(progressed.frontier, offset);
        let expired = start - progressed.frontier;
        let skipped = offset - start;
        for (outcome, n) in [(Outcome::Expired, expired), (Outcome::Skipped, skipped)] {
            if n > 0 {
                warn!(%topic, partition, outcome = outcome.name(), n, "offsets without a record");
                progressed.counts.add("", outcome, n);
            }
        }
        progressed.frontier = offset;
        Ok(())
    }

    async fn commit(&mut self, session: &mut Session, commit: Commit) -> Result<(), End> {
        let started = Instant::now();
        let resume = commit.ledger.resume;
        self.shared.store.commit(commit).await?;
        session.positions.acknowledged(Instant::now());
        self.meters.commit_seconds.record(started.elapsed());
        self.shared.progress.stands_at(self.key(), resume);
        Ok(())
    }

    fn let_go(&mut self) {
        let durable = self.shared.progress.durable(self.key());
        self.reader.commit(durable);
    }
}
