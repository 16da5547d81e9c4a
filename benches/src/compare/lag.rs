//! How far the workers are behind: the ledger on the admin address.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::reply;

/// Workers are given so long to catch up before the measurement goes on.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often they are looked at meanwhile.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Deserialize)]
struct Ledger {
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    log_end: u64,
    frontier: u64,
}

/// How the workers stood when a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lag {
    /// Records that they had not reached.
    pub(super) records: u64,
    /// Until they had; `None` if they did not in [`PATIENCE`].
    pub(super) caught_up: Option<Duration>,
}

/// Reads the lag, and waits until there is none.
pub(super) fn settle(admin: SocketAddr) -> Result<Lag> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let started = Instant::now();
        let records = behind(admin).await?;
        let mut now = records;
        while now > 0 {
            if started.elapsed() > PATIENCE {
                return Ok(Lag { records, caught_up: None });
            }
            tokio::time::sleep(POLL).await;
            now = behind(admin).await?;
        }
        Ok(Lag { records, caught_up: Some(started.elapsed()) })
    })
}

async fn behind(admin: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /ledger HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::new();
    let reply = reply::read(&mut stream, &mut buffer).await?;
    ensure!(reply.status == 200, "GET /ledger: {}", reply.status);
    let ledger: Ledger = serde_json::from_slice(buffer.get(reply.body_start..).unwrap_or(b""))?;
    Ok(ledger.behind())
}

impl Ledger {
    fn behind(&self) -> u64 {
        self.partitions.iter().map(|p| p.log_end.saturating_sub(p.frontier)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_sum_over_all_partitions() {
        let text = r#"{"partitions":[{"topic":"events","log_end":9,"frontier":4,"outcomes":{}},
            {"log_end":7,"frontier":7}]}"#;
        assert_eq!(serde_json::from_str::<Ledger>(text).unwrap().behind(), 5);
    }
}
