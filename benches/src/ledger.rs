//! How far the workers are: the ledger on a front door's admin address.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use millrace_schema::Topic;
use serde::Deserialize;

use crate::http;

/// The positions of all partitions that a worker has ever had.
#[derive(Debug, Deserialize)]
pub(crate) struct Ledger {
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    topic: Topic,
    log_end: u64,
    frontier: u64,
}

/// Asks for it.
pub(crate) fn read(admin: SocketAddr) -> Result<Ledger> {
    let (status, body) = http::get(admin, "/ledger")?;
    ensure!(status == 200, "GET /ledger: {status} {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

impl Ledger {
    /// Records that are not applied yet.
    pub(crate) fn behind(&self) -> u64 {
        self.partitions.iter().map(|p| p.log_end.saturating_sub(p.frontier)).sum()
    }

    /// Records of a topic that are applied, and that are there.
    pub(crate) fn of(&self, topic: Topic) -> (u64, u64) {
        let of_topic = self.partitions.iter().filter(|p| p.topic == topic);
        of_topic.fold((0, 0), |(applied, end), p| (applied + p.frontier, end + p.log_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_sum_over_all_partitions() {
        let text = r#"{"partitions":[
            {"topic":"millrace.events","log_end":9,"frontier":4,"outcomes":{}},
            {"topic":"millrace.events","log_end":1,"frontier":1},
            {"topic":"millrace.profiles","log_end":7,"frontier":7}]}"#;
        let ledger: Ledger = serde_json::from_str(text).unwrap();
        assert_eq!(ledger.behind(), 5);
        assert_eq!(ledger.of(Topic::Events), (5, 10));
    }
}
