//! A topic that was made anew: its stamps begin above all that were used.

use millrace_schema::Topic;
use millrace_schema::record::Job;
use millrace_schema::time::wall_clock_us;

use super::config::Config;
use super::connect;
use super::connection::Connection;
use super::jobs::Closing;
use super::topics::{Registered, int};
use super::value::{big, values};
use crate::{Completion, LedgerRow, Stamp, StoreError};

/// How far behind the rows the ledger may be: what a batch had written before its ledger row, and
/// what a crash has made the ledger forget.
const MARGIN: i64 = 1 << 32;

/// Prepares the store for a topic that was deleted and created anew, with this number of
/// partitions: stamps begin above every stamp used, and the ledger at 0. What is stored stays.
///
/// To be run while no worker of the topic runs, before the first record of the new topic is
/// consumed; running it again does no harm then. It takes the store's `settle`, after which no
/// crash can undo it.
///
/// Open deletion jobs with markers in the topic end as failed, because their markers are gone: the
/// same users must be deleted again, by a new job. Dead letters of the old topic must not be
/// replayed: markers of the new one do not compare to their offsets.
///
/// # Errors
/// [`StoreError::Restarted`] if a node was restarted meanwhile: run it again.
pub async fn rebase(config: &Config, topic: Topic, partitions: u32) -> Result<Stamp, StoreError> {
    config.check()?;
    let connection = connect::connect(config).await?;
    let generation = connection.generation().await?;
    let base = connection.rebase(topic, partitions, config).await?;
    tokio::time::sleep(config.settle).await;
    if connection.generation().await? != generation {
        return Err(StoreError::Restarted);
    }
    Ok(base)
}

impl Connection {
    async fn rebase(
        &self,
        topic: Topic,
        partitions: u32,
        config: &Config,
    ) -> Result<Stamp, StoreError> {
        let Some(Registered { base, .. }) = self.registered(topic).await? else {
            return self.topic_base(topic, partitions).await;
        };
        let ledger = self.ledger().await?;
        let rows: Vec<&LedgerRow> = ledger.iter().filter(|row| row.topic == topic).collect();
        let last = rows.iter().map(|row| row.frontier).max().unwrap_or(0);
        let next = Stamp(base.at(last).0.saturating_add(MARGIN));
        let values = values![next.0, int(partitions)?, topic.short_name(), base.0];
        if !self.apply(&self.statements.rebase_topic, &values).await? {
            let text = format!("{topic} is being rebased by another process: run it again");
            return Err(StoreError::Unavailable(text));
        }
        for row in rows {
            self.begin_again(topic, row, partitions).await?;
        }
        self.fail_jobs_of(topic, config).await?;
        Ok(next)
    }

    /// A new epoch at 0; or none, where there is no such partition any more.
    async fn begin_again(
        &self,
        topic: Topic,
        row: &LedgerRow,
        partitions: u32,
    ) -> Result<(), StoreError> {
        let epoch = self.claim_epoch(topic, row.partition).await?;
        if row.partition < partitions {
            let row = LedgerRow { epoch, ..LedgerRow::new(topic, row.partition) };
            self.put_ledger(&row).await?;
        }
        self.forget_up_to(topic, row.partition, big(row.epoch)).await
    }

    async fn fail_jobs_of(&self, topic: Topic, config: &Config) -> Result<(), StoreError> {
        let is_marked = |job: &Job| job.fence.iter().any(|fence| fence.topic == topic);
        let open = self.open_jobs(&Closing::default(), config.settle).await?;
        for row in open.into_iter().filter(|row| is_marked(&row.job)) {
            let found = u64::try_from(row.job.sample.len()).unwrap_or(1).max(1);
            let completed_us = wall_clock_us();
            let completion = Completion { completed_us, sampled: found, found, receipt: None };
            self.complete_job(&row.project, row.job.job, &completion).await?;
        }
        Ok(())
    }
}
