//! The ledger: epochs by condition, positions by the number of their write.
//!
//! A claim takes three steps: it moves `newest_epoch` (from here on every commit under an older
//! epoch is refused), reads the newest row, and writes its own. A row is written with the number of
//! its write as timestamp, never by condition: that would take the server's clock and hide every
//! later write of the epoch.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use millrace_schema::Topic;
use millrace_schema::time::wall_clock_us;

use super::connection::Connection;
use super::topics::int;
use super::value::{big, json, read_json, values};
use crate::{LedgerRow, StoreError};

/// Epochs claimed in the same microsecond differ by chance, within so many.
const EPOCH_SPREAD: i64 = 1 << 20;
/// How often a claim is tried again when another one was faster.
const CLAIM_TRIES: usize = 12;
/// Rows of old epochs go when they are older, and only from the third on. Until then a newer one
/// may still be forgotten.
const KEEP_EPOCHS_US: i64 = 3600 * 1_000_000;
/// Later than the number of any write.
const AFTER_ALL_WRITES: i64 = 1 << 62;

/// An epoch above the newest that nobody has had, even if the database has forgotten some: as late
/// as the clock, and by chance.
fn new_epoch(newest: i64) -> i64 {
    newest.saturating_add(1).max(wall_clock_us()).saturating_add(fastrand::i64(0..EPOCH_SPREAD))
}

fn unsigned(n: Option<i64>) -> u64 {
    n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

impl Connection {
    /// A row whose claim was forgotten counts as well as a claim whose row is not there yet.
    pub(super) async fn newest_epoch(
        &self,
        topic: Topic,
        partition: u32,
    ) -> Result<u64, StoreError> {
        let (claimed, written) = self.epochs(topic, partition).await?;
        Ok(unsigned(claimed.max(written)))
    }

    /// The newest epoch that was claimed, and the newest that has a row.
    async fn epochs(
        &self,
        topic: Topic,
        partition: u32,
    ) -> Result<(Option<i64>, Option<i64>), StoreError> {
        let values = values![topic.short_name(), int(partition)?];
        let row = self.row(&self.statements.newest_epoch, &values).await?;
        Ok(row.unwrap_or_default())
    }

    pub(super) async fn claim(
        &self,
        topic: Topic,
        partition: u32,
    ) -> Result<LedgerRow, StoreError> {
        let epoch = self.claim_epoch(topic, partition).await?;
        let newest = self.newest_row(topic, partition).await?;
        let newest = newest.unwrap_or_else(|| LedgerRow::new(topic, partition));
        self.begin(LedgerRow { epoch, ..newest.next_epoch() }).await
    }

    /// A crash that makes the database forget the claim also undoes the rewinding.
    pub(super) async fn rewind(
        &self,
        topic: Topic,
        partition: u32,
    ) -> Result<LedgerRow, StoreError> {
        let epoch = self.claim_epoch(topic, partition).await?;
        self.begin(LedgerRow { epoch, ..LedgerRow::new(topic, partition) }).await
    }

    /// Writes the first row of an epoch.
    async fn begin(&self, row: LedgerRow) -> Result<LedgerRow, StoreError> {
        self.put_ledger(&row).await?;
        self.forget_epochs(row.topic, row.partition).await?;
        Ok(row)
    }

    /// Makes an epoch the newest. Where the answer is lost nobody knows whether it is; the caller
    /// claims another one.
    pub(super) async fn claim_epoch(
        &self,
        topic: Topic,
        partition: u32,
    ) -> Result<u64, StoreError> {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(5))
            .with_max_delay(Duration::from_millis(200))
            .with_max_times(CLAIM_TRIES)
            .with_jitter();
        let (name, number) = (topic.short_name(), int(partition)?);
        for delay in delays.build() {
            let (claimed, written) = self.epochs(topic, partition).await?;
            let epoch = new_epoch(claimed.max(written).unwrap_or(0));
            let applied = match claimed {
                None => {
                    let values = values![epoch, name, number];
                    self.apply(&self.statements.claim_first, &values).await?
                }
                Some(claimed) => {
                    let values = values![epoch, name, number, claimed];
                    self.apply(&self.statements.claim_next, &values).await?
                }
            };
            if applied {
                return Ok(unsigned(Some(epoch)));
            }
            tokio::time::sleep(delay).await;
        }
        Err(StoreError::Unavailable(format!("{topic}/{partition} is being claimed by others")))
    }

    async fn newest_row(
        &self,
        topic: Topic,
        partition: u32,
    ) -> Result<Option<LedgerRow>, StoreError> {
        let values = values![topic.short_name(), int(partition)?];
        let row: Option<(Option<String>,)> = self.row(&self.statements.newest_row, &values).await?;
        let state = row.and_then(|(state,)| state);
        state.map(|state| read_json("ledger", &state)).transpose()
    }

    pub(super) async fn put_ledger(&self, row: &LedgerRow) -> Result<(), StoreError> {
        let number = big(row.sequence).saturating_add(1);
        let partition = int(row.partition)?;
        let values = values![row.topic.short_name(), partition, big(row.epoch), json(row)?, number];
        self.write(&self.statements.put_ledger, &values).await
    }

    pub(super) async fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        let rows: Vec<(Option<String>,)> = self.rows(&self.statements.ledger, &[]).await?;
        let states = rows.into_iter().filter_map(|(state,)| state);
        let rows: Result<Vec<LedgerRow>, _> =
            states.map(|state| read_json("ledger", &state)).collect();
        let mut rows = rows?;
        rows.sort_by_key(|row| (row.topic, row.partition));
        Ok(rows)
    }

    /// Forgets what lies before the two newest of the epochs that are old.
    async fn forget_epochs(&self, topic: Topic, partition: u32) -> Result<(), StoreError> {
        let (name, number) = (topic.short_name(), int(partition)?);
        let old = wall_clock_us().saturating_sub(KEEP_EPOCHS_US);
        let values = values![name, number, old];
        let epochs: Vec<(i64,)> = self.rows(&self.statements.old_epochs, &values).await?;
        let Some((third,)) = epochs.get(2) else { return Ok(()) };
        self.forget_up_to(topic, partition, *third).await
    }

    /// Removes the rows of an epoch and of all before it.
    pub(super) async fn forget_up_to(
        &self,
        topic: Topic,
        partition: u32,
        epoch: i64,
    ) -> Result<(), StoreError> {
        let (name, number) = (topic.short_name(), int(partition)?);
        let values = values![AFTER_ALL_WRITES, name, number, epoch];
        self.write(&self.statements.forget_epochs, &values).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_above_the_newest_and_no_two_are_alike() {
        let far = wall_clock_us() * 2;
        assert!(new_epoch(far) > far);
        let now = wall_clock_us();
        assert!(new_epoch(0) >= now);
        // What chance gives twice in a row is not what chance gives.
        assert!(
            (0..50).map(|_| new_epoch(far)).collect::<std::collections::BTreeSet<_>>().len() > 1
        );
        assert_eq!(new_epoch(i64::MAX), i64::MAX);
    }
}
