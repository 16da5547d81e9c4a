//! Commits: the rows, then the ledger; and between them a look whether both still count.

use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};
use metrics::{counter, histogram};

use super::connection::Connection;
use super::write::Batches;
use crate::{Commit, StoreError};

/// Batches of one commit that are sent at once; the bound over all is the connection's.
const AT_ONCE: usize = 64;

impl Connection {
    pub(super) async fn generation(&self) -> Result<u64, StoreError> {
        self.generations.poll(&self.session, &self.statements.generation).await
    }

    pub(super) async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let started = Instant::now();
        let topic = commit.ledger.topic.short_name();
        // All of it is turned into statements first: what can never be written is refused whole.
        let parts = Batches::new(&self.statements, &commit.writes)?.into_parts();
        let parts = self.gather(parts);
        self.check(commit).await?;
        if !parts.is_empty() {
            counter!("millrace_cql_batches_total", "topic" => topic).increment(parts.len() as u64);
            let writes: Vec<_> = parts.into_iter().map(|part| self.write_together(part)).collect();
            stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
            // A node that was restarted meanwhile may have forgotten some of the rows, and who has
            // claimed the partition meanwhile must not find its ledger moved.
            self.check(commit).await?;
        }
        self.put_ledger(&commit.ledger).await?;
        histogram!("millrace_store_commit_seconds", "topic" => topic).record(started.elapsed());
        Ok(())
    }

    /// Whether every node is as it was when the batch was read, and the epoch still the newest.
    async fn check(&self, commit: &Commit) -> Result<(), StoreError> {
        if self.generation().await? != commit.generation {
            return Err(StoreError::Restarted);
        }
        let ledger = &commit.ledger;
        let ours = ledger.epoch;
        let newest = self.newest_epoch(ledger.topic, ledger.partition).await?;
        if newest > ours {
            return Err(StoreError::Fenced { ours, newest });
        }
        if newest < ours {
            // The claim was acknowledged and is not there: it was forgotten.
            return Err(StoreError::Restarted);
        }
        Ok(())
    }
}
