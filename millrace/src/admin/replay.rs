//! Has the workers read the whole log again.

use anyhow::{Result, ensure};
use millrace_ingest::standings;
use millrace_log::Log;
use millrace_store::Store;

use super::Reply;

/// Claims every partition anew from its first record. Workers that are at it begin again there.
///
/// # Errors
/// Log or store is away, or jobs are open: their progress would go back.
pub(crate) async fn replay(log: &dyn Log, store: &dyn Store) -> Result<Reply> {
    let open = store.open_jobs().await?.len();
    ensure!(
        open == 0,
        "{open} deletion jobs are not completed, and their progress must not go back; wait for \
         them (`millrace deletion wait`), then try again"
    );
    let standings = standings(log, store).await?;
    let mut records = 0;
    for standing in &standings {
        store.rewind(standing.row.topic, standing.row.partition).await?;
        records += standing.bounds.end.saturating_sub(standing.bounds.start);
    }
    Ok(Reply::Replay { partitions: standings.len(), records })
}
