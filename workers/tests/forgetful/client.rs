//! The database as one set of workers reaches it: each call takes its time and may fail, and the
//! statements of a commit go one by one.

use std::sync::Arc;
use std::time::Duration;

use millrace_schema::receipt::token_hash;
use millrace_schema::{Topic, UserKey};
use millrace_store::{
    Answer, Claim, Commit, Completion, Delivery, Devices, Erasure, EventQuery, EventRow, JobRow,
    LedgerRow, NewestReceipt, ProfileRow, Residue, Stamp, Store, StoreError,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::cells::{Mutation, Value};
use crate::database::{BASE, Database, SETTLE, Sabotage, number};
use crate::memory_log::Seat;
use crate::statements::statements;

/// The database as one set of workers reaches it.
pub(crate) struct Client {
    pub(crate) database: Arc<Database>,
    pub(crate) seat: Seat,
}

impl Client {
    /// One message to the database: it takes its time, and may fail.
    async fn send(&self) -> Result<(), StoreError> {
        self.linger(20).await;
        self.seat.pass().await;
        let mut inner = self.database.inner();
        let unlucky = inner.faults && inner.rng.u32(0..150) == 0;
        if inner.down_until > Instant::now() || unlucky {
            return Err(StoreError::Unavailable("test".into()));
        }
        Ok(())
    }

    /// A little delay once in `often`, and a very long one now and then.
    async fn linger(&self, often: u32) {
        let delay_ms = {
            let mut inner = self.database.inner();
            let (faults, dice) = (inner.faults, inner.rng.u32(0..often * 20));
            match dice {
                0 if faults => inner.rng.u64(0..12_000),
                n if n < 20 => inner.rng.u64(1..300),
                _ => 0,
            }
        };
        match delay_ms {
            0 => tokio::task::yield_now().await,
            ms => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
    }

    async fn read<T>(&self, read: impl FnOnce(&Database) -> T) -> Result<T, StoreError> {
        self.send().await?;
        let answer = read(&self.database);
        self.linger(60).await;
        self.seat.pass().await;
        Ok(answer)
    }

    fn check(&self, commit: &Commit) -> Result<(), StoreError> {
        if self.database.generation() != commit.generation {
            return Err(StoreError::Restarted);
        }
        let ours = commit.ledger.epoch;
        let newest = self.database.inner().newest(commit.ledger.topic, commit.ledger.partition);
        let newest = newest.map_or(0, |row| row.epoch);
        if newest > ours && self.database.sabotage != Sabotage::NoFence {
            return Err(StoreError::Fenced { ours, newest });
        }
        Ok(())
    }

    async fn write(&self, key: String, mutation: Mutation) -> Result<(), StoreError> {
        self.send().await?;
        self.database.inner().table.apply(&key, mutation, SETTLE);
        Ok(())
    }

    async fn write_ledger(&self, commit: &Commit) -> Result<(), StoreError> {
        self.send().await?;
        self.check(commit)?;
        self.send().await?;
        let mut row = commit.ledger.clone();
        let mut inner = self.database.inner();
        if self.database.sabotage == Sabotage::NoFence {
            row.epoch = inner.newest(row.topic, row.partition).map_or(0, |row| row.epoch);
        }
        inner.put_ledger(row);
        Ok(())
    }

    async fn write_rows(&self, commit: &Commit) -> Result<(), StoreError> {
        for write in &commit.writes {
            for (key, mutation) in statements(write, self.database.sabotage) {
                self.write(key, mutation).await?;
            }
        }
        Ok(())
    }
}

impl Store for Client {
    fn settle(&self) -> Duration {
        match self.database.sabotage {
            Sabotage::SettleZero => Duration::ZERO,
            Sabotage::SettleShort => SETTLE / 8,
            _ => SETTLE,
        }
    }

    fn generation(&self) -> Answer<'_, u64> {
        Box::pin(self.read(Database::generation))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, ()> {
        Box::pin(async move {
            self.send().await?;
            self.check(&commit)?;
            self.write_rows(&commit).await?;
            self.write_ledger(&commit).await?;
            self.send().await
        })
    }

    fn persist(&self) -> Answer<'_, ()> {
        Box::pin(self.read(|_| ()))
    }

    fn claim(&self, topic: Topic, partition: u32) -> Answer<'_, LedgerRow> {
        Box::pin(async move {
            self.send().await?;
            let newest = self.database.inner().newest(topic, partition);
            if self.database.sabotage == Sabotage::SplitClaim {
                self.send().await?;
            }
            let row = self.database.inner().claim(newest, (topic, partition));
            let shared = self.database.sabotage == Sabotage::SharedEpoch && row.epoch > 1;
            let row = if shared { LedgerRow { epoch: 1, ..row } } else { row };
            self.database.inner().put_ledger(row.clone());
            self.send().await?;
            Ok(row)
        })
    }

    fn newest_epoch(&self, topic: Topic, partition: u32) -> Answer<'_, u64> {
        Box::pin(self.read(move |database| {
            database.inner().newest(topic, partition).map_or(0, |row| row.epoch)
        }))
    }

    fn ledger(&self) -> Answer<'_, Vec<LedgerRow>> {
        Box::pin(self.read(Database::ledger))
    }

    fn topic_base(&self, _: Topic, _: u32) -> Answer<'_, Stamp> {
        Box::pin(self.read(|_| BASE))
    }

    fn profiles(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Option<ProfileRow>>> {
        Box::pin(self.read(move |database| users.iter().map(|u| database.profile(u)).collect()))
    }

    fn devices(&self, users: Vec<UserKey>) -> Answer<'_, Vec<Devices>> {
        Box::pin(self.read(move |database| users.iter().map(|u| database.devices(u)).collect()))
    }

    fn claims(&self, _: &str, device_ids: Vec<String>) -> Answer<'_, Vec<Vec<Claim>>> {
        Box::pin(self.read(move |database| device_ids.iter().map(|d| database.claims(d)).collect()))
    }

    fn events(&self, user: UserKey, query: EventQuery) -> Answer<'_, Vec<EventRow>> {
        Box::pin(self.read(move |database| {
            let mut rows = database.events(&user);
            if let Some((time_us, id)) = &query.before {
                rows.retain(|row| (row.time_us, &row.id) < (*time_us, id));
            }
            rows.truncate(query.limit);
            rows
        }))
    }

    fn event_times(&self, ids: Vec<(UserKey, String)>) -> Answer<'_, Vec<Option<i64>>> {
        Box::pin(self.read(move |database| {
            let mut inner = database.inner();
            let mut time = |(user, id): &(UserKey, String)| {
                number(inner.table.read(&format!("ids {user}")).get(id))
            };
            ids.iter().map(&mut time).collect()
        }))
    }

    fn erasures(&self, user: UserKey, topic: Topic) -> Answer<'_, Vec<Erasure>> {
        Box::pin(self.read(move |database| {
            let cells = database.inner().table.read(&format!("erasures {user} {topic}"));
            let erasure = |value: &Value| match value {
                Value::Erasure(erasure) => Some(erasure.clone()),
                _ => None,
            };
            cells.visible().filter_map(|(_, _, value)| erasure(value)).collect()
        }))
    }

    fn job(&self, _: &str, job: Uuid) -> Answer<'_, Option<JobRow>> {
        Box::pin(self.read(move |database| database.job(job)))
    }

    fn jobs(&self, _: &str, _: Option<(i64, Uuid)>, _: usize) -> Answer<'_, Vec<JobRow>> {
        Box::pin(async { Err(StoreError::Invalid("workers list no jobs".into())) })
    }

    fn open_jobs(&self) -> Answer<'_, Vec<JobRow>> {
        Box::pin(self.read(|database| {
            let open = database.inner().table.read("open");
            let ids = open.visible().map(|(id, ..)| id.parse().unwrap());
            let rows = ids.filter_map(|id| database.job(id));
            rows.filter(|row| row.completion.is_none()).collect()
        }))
    }

    /// The entry among the open jobs stays: were it to go before the completion has settled, a crash
    /// could leave a job that is neither completed nor open.
    fn complete_job(&self, _: &str, job: Uuid, completion: Completion) -> Answer<'_, bool> {
        Box::pin(async move {
            self.send().await?;
            if self.database.inner().is_completed(job) {
                return Ok(true);
            }
            let any = self.database.sabotage == Sabotage::StaleChain;
            let issued = completion.receipt.is_some();
            if issued && !self.database.inner().issue(job, &completion, any) {
                return Ok(false);
            }
            self.send().await?;
            self.database.inner().complete(job, completion)?;
            self.send().await.map(|()| true)
        })
    }

    fn rewind(&self, _: Topic, _: u32) -> Answer<'_, LedgerRow> {
        Box::pin(async { Err(StoreError::Invalid("workers do not rewind".into())) })
    }

    fn newest_receipt(&self, _: &str) -> Answer<'_, Option<NewestReceipt>> {
        Box::pin(async {
            self.send().await?;
            let late = self.database.sabotage == Sabotage::StaleChain;
            let newest = self.database.inner().newest_issued(late);
            let Some((job, completion)) = newest else { return Ok(None) };
            self.send().await?;
            self.database.inner().complete(job, completion.clone())?;
            let issued = completion.receipt.unwrap();
            let hash = token_hash(&issued.token);
            Ok(Some(NewestReceipt { number: issued.number, job, hash }))
        })
    }

    fn life_ends_claims(&self) -> bool {
        false
    }

    fn purge(&self) -> Answer<'_, ()> {
        Box::pin(self.read(|_| ()))
    }

    fn residues(&self) -> Answer<'_, Vec<Residue>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn put_delivery(&self, _: &str, _: Uuid, _: Delivery) -> Answer<'_, ()> {
        Box::pin(async { Err(StoreError::Invalid("no project has a webhook".into())) })
    }

    fn deliveries(&self, _: &str, _: Vec<Uuid>) -> Answer<'_, Vec<Option<Delivery>>> {
        Box::pin(async { Err(StoreError::Invalid("no project has a webhook".into())) })
    }

    fn open_deliveries(&self) -> Answer<'_, Vec<(String, Uuid, Delivery)>> {
        Box::pin(async { Err(StoreError::Invalid("no project has a webhook".into())) })
    }
}
