//! The engines that a process works with: embedded ones, unless a caller puts something before
//! them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use millrace_ingest::{Standing, standings};
use millrace_log::Log;
use millrace_log::embedded::{Config, EmbeddedLog, Repair, advance, partitions, repair};
use millrace_store::embedded::EmbeddedStore;
use millrace_store::{AccountStore, Store};

use crate::folder::DataFolder;
use crate::priority::yield_to_the_front_door;

/// Resolves with the reason once an engine can never work again in this process.
pub type Failed = Pin<Box<dyn Future<Output = String> + Send>>;

/// What a process keeps its data in.
pub struct Engines {
    /// Where records wait.
    pub log: Arc<dyn Log>,
    /// Where they end.
    pub store: Arc<dyn Store>,
    /// Where projects and keys are.
    pub accounts: Arc<dyn AccountStore>,
    /// When to give up.
    pub failed: Failed,
}

impl Engines {
    /// The embedded engines of a data folder, made if they are not there.
    pub(crate) fn open(folder: &DataFolder, config: Config) -> Result<Self> {
        let store = open_store(folder)?;
        let dir = folder.layout().log();
        let log = EmbeddedLog::open(&dir, config)
            .with_context(|| format!("cannot open the log in {}", dir.display()))?;
        let (log_failed, store_failed) = (log.failed(), store.failed());
        let failed = Box::pin(async move {
            tokio::select! {
                reason = log_failed => format!("the log has failed: {reason}"),
                reason = store_failed => format!("the store has failed: {reason}"),
            }
        });
        let accounts = Arc::new(store.clone());
        Ok(Self { log: Arc::new(log), store: Arc::new(store), accounts, failed })
    }

    /// The engines as a server left them.
    pub(crate) fn reopen(folder: &DataFolder) -> Result<Self> {
        Self::open(folder, config_of(partitions(&folder.layout().log())?))
    }

    /// Sees to it that the log reaches as far as the store has applied it. If it did not, new
    /// records would get offsets that count as applied, and would never be.
    ///
    /// # Errors
    /// The log lost its end, or belongs to another store; or one of them cannot be read.
    pub(crate) async fn verify(&self) -> Result<()> {
        let standings = standings(&*self.log, &*self.store).await.context("no positions")?;
        for Standing { row, bounds } in standings {
            let (place, end) =
                (format!("{}/{}", row.topic.short_name(), row.partition), bounds.end);
            ensure!(
                row.frontier <= end,
                "the store has applied {place} up to offset {}, but the log ends at {end}: the log \
                 lost its end, or is another one, and new records would be taken for applied ones; \
                 restore the folders log and store from the same copy, or go on without what the \
                 log lost: `millrace log repair`",
                row.frontier
            );
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(crate) async fn close(&self) -> Result<()> {
        let log = self.log.close().await.context("the log did not close");
        let store = self.store.persist().await.context("the store is not durable");
        log.and(store)
    }
}

/// Repairs the log of a folder, and moves it on to where the store already is: what is applied is
/// not lost with the log.
pub(crate) async fn repair_log(folder: &DataFolder) -> Result<Repair> {
    let dir = folder.layout().log();
    let what = || format!("the log in {}", dir.display());
    let mut report = repair(&dir).with_context(what)?;
    let store = open_store(folder)?;
    let ledger = store.ledger().await.context("the ledger cannot be read")?;
    let ends: Vec<_> = ledger.iter().map(|r| (r.topic, r.partition, r.frontier)).collect();
    // If the log is gone as a whole, the ledger tells how many it had.
    let had = || ledger.iter().map(|row| row.partition + 1).max();
    let config = config_of(partitions(&dir)?.or_else(had));
    report.passed = advance(&dir, &config, &ends).with_context(what)?;
    Ok(report)
}

/// As the server left it: with as many partitions, and without removing what only the server's own
/// settings may remove.
fn config_of(partitions: Option<u32>) -> Config {
    let kept = Config { retention: Duration::MAX, retention_bytes: u64::MAX, ..Config::default() };
    Config { partitions: partitions.unwrap_or(kept.partitions), ..kept }
}

/// Opens the store on a thread from which its own threads take their priority.
fn open_store(folder: &DataFolder) -> Result<EmbeddedStore> {
    let dir = folder.layout().store();
    let open = || {
        yield_to_the_front_door();
        EmbeddedStore::open(&dir, millrace_store::embedded::Config::default())
            .with_context(|| format!("cannot open the store in {}", dir.display()))
    };
    let opened = std::thread::scope(|scope| scope.spawn(open).join());
    opened.unwrap_or_else(|_| Err(anyhow!("opening the store in {} panicked", dir.display())))
}

#[cfg(test)]
mod tests {
    use millrace_schema::Topic;
    use millrace_store::Commit;

    use super::*;
    use crate::folder::Layout;

    #[tokio::test]
    async fn a_log_that_ends_before_what_was_applied_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(Layout::new(&dir.path().join("data"))).unwrap();
        let engines = Engines::open(&folder, Config::default()).unwrap();
        engines.verify().await.unwrap();

        let mut ledger = engines.store.claim(Topic::Events, 1).await.unwrap();
        ledger.sequence += 1;
        ledger.frontier = 3;
        let generation = engines.store.generation().await.unwrap();
        engines.store.commit(Commit { writes: Vec::new(), ledger, generation }).await.unwrap();

        let error = engines.verify().await.unwrap_err().to_string();
        assert!(error.contains("events/1 up to offset 3, but the log ends at 0"), "{error}");
        engines.close().await.unwrap();
    }
}
