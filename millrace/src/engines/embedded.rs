//! The embedded engines of a data folder.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use millrace_log::embedded::{Config, EmbeddedLog, Repair, advance, partitions, repair};
use millrace_store::Store;
use millrace_store::embedded::{Config as StoreConfig, EmbeddedStore};

use super::Engines;
use crate::folder::DataFolder;
use crate::priority::yield_to_the_front_door;

/// The engines of a folder, made if they are not there.
pub(crate) fn open(folder: &DataFolder, config: Config) -> Result<Engines> {
    // Twice, so that the log goes on taking records while a purge is under way.
    let disk_reserve_bytes = config.disk_floor_bytes.saturating_mul(2);
    let store = open_store(folder, StoreConfig { disk_reserve_bytes, ..StoreConfig::default() })?;
    let dir = folder.layout().log();
    folder.make(&dir)?;
    let log = EmbeddedLog::open(&dir, config)
        .with_context(|| format!("cannot open the log in {}", dir.display()))?;
    let (log_failed, store_failed) = (log.failed(), store.failed());
    let failed = Box::pin(async move {
        tokio::select! {
            reason = log_failed => format!("the log has failed: {reason}; start again to recover"),
            reason = store_failed => {
                format!("the store has failed: {reason}; start again to recover")
            }
        }
    });
    let accounts = Arc::new(store.clone());
    let documents = Arc::new(store.clone());
    let (log, store) = (Arc::new(log), Arc::new(store));
    Ok(Engines { log, store, accounts, documents, failed, store_health: None })
}

/// The engines as a server left them.
pub(crate) fn reopen(folder: &DataFolder) -> Result<Engines> {
    open(folder, config_of(partitions(&folder.layout().log())?))
}

/// Repairs the log of a folder, and moves it on to where the store already is: what is applied is
/// not lost with the log.
pub(crate) async fn repair_log(folder: &DataFolder) -> Result<Repair> {
    let dir = folder.layout().log();
    let what = || format!("the log in {}", dir.display());
    let mut report = repair(&dir).with_context(what)?;
    let store = open_store(folder, StoreConfig::default())?;
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
fn open_store(folder: &DataFolder, config: StoreConfig) -> Result<EmbeddedStore> {
    let dir = folder.layout().store();
    folder.make(&dir)?;
    let open = || {
        yield_to_the_front_door();
        EmbeddedStore::open(&dir, config)
            .with_context(|| format!("cannot open the store in {}", dir.display()))
    };
    let opened = std::thread::scope(|scope| scope.spawn(open).join());
    opened.unwrap_or_else(|_| Err(anyhow!("opening the store in {} panicked", dir.display())))
}
