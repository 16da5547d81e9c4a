//! What every engine must do, run against the one on Kafka.

use std::sync::Arc;

use millrace_cluster::Cluster;
use millrace_log::Log;
use millrace_log::kafka::Config;
use tokio::sync::OnceCell;

use crate::{fixture, suite};

struct Kafka {
    config: Config,
    is_migrated: OnceCell<()>,
}

impl Kafka {
    fn new() -> Self {
        let cluster = Cluster::shared().expect("a broker");
        let config = fixture::config(cluster, "suite");
        Self { config, is_migrated: OnceCell::new() }
    }
}

impl suite::Engine for Kafka {
    async fn open(&self) -> Arc<dyn Log> {
        self.is_migrated.get_or_init(|| fixture::migrated(&self.config)).await;
        Arc::new(fixture::open(&self.config).await)
    }
}

conformance!(Kafka::new(), #[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]);
