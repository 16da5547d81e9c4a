//! The engines of a cluster: Kafka and a CQL database.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use millrace_log::Log;
use millrace_log::kafka::{self, KafkaLog};
use millrace_store::scylla::{self, CqlStore, Credentials};

use super::Engines;
use crate::cli::{Addresses, ClusterOptions, Common, Consistency, FrontOptions, Password};

/// How long a command waits until a server is reached and found to be right.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The engines of a process that serves, whether or not the servers are there. `front` is its front
/// door, if it has one.
pub(crate) fn open(common: &Common, front: Option<&FrontOptions>) -> Result<Engines> {
    let log = KafkaLog::open(kafka_config(common, front))?;
    let store = CqlStore::open(cql_config(&common.cluster)?)?;
    let (log_failed, store_failed) = (log.failed(), store.failed());
    let failed = Box::pin(async move {
        tokio::select! {
            reason = log_failed => format!("Kafka cannot be used: {reason}"),
            reason = store_failed => format!("the database cannot be used: {reason}"),
        }
    });
    let reached = store.clone();
    Ok(Engines {
        log: Arc::new(log),
        accounts: Arc::new(store.clone()),
        documents: Arc::new(store.clone()),
        store: Arc::new(store),
        failed,
        store_health: Some(Arc::new(move || reached.health())),
    })
}

/// The database, reached and found to be right.
pub(crate) async fn reach_store(common: &Common) -> Result<CqlStore> {
    let store = CqlStore::open(cql_config(&common.cluster)?)?;
    reach("the database", store.failed(), || store.health()).await?;
    Ok(store)
}

/// Kafka, reached and found to be right.
pub(crate) async fn reach_log(common: &Common) -> Result<KafkaLog> {
    let log = KafkaLog::open(kafka_config(common, None))?;
    reach("Kafka", log.failed(), || log.health()).await?;
    Ok(log)
}

async fn reach(
    what: &str,
    failed: impl Future<Output = String>,
    health: impl Fn() -> Result<(), String>,
) -> Result<()> {
    let healthy = async {
        while health().is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        biased;
        reason = failed => bail!("{what} cannot be used: {reason}"),
        () = healthy => Ok(()),
        () = tokio::time::sleep(PATIENCE) => {
            let reason = health().err().unwrap_or_default();
            bail!("{what} was not reached within {PATIENCE:?}: {reason}")
        }
    }
}

/// How Kafka is spoken to.
pub(crate) fn kafka_config(common: &Common, front: Option<&FrontOptions>) -> kafka::Config {
    let cluster = &common.cluster;
    let default = kafka::Config::default();
    let mut config = kafka::Config {
        bootstrap: cluster.kafka.as_ref().map_or(String::new(), Addresses::to_string),
        prefix: cluster.kafka_prefix.clone(),
        partitions: common.partitions(),
        session_timeout: Duration::from_millis(cluster.kafka_session_timeout_ms),
        ..default
    };
    if let Some(front) = front {
        config.queue_bytes = front.limits.log_queue_bytes;
        config.delivery_timeout = Duration::from_millis(front.timeouts.append_timeout_ms);
        config.item_bytes_max = front.limits.item_bytes_max;
    }
    #[cfg(feature = "kafka-tls")]
    if let Some(ca) = &cluster.kafka_tls_ca {
        config.tls = Some(kafka::Tls { ca: Some(ca.clone()), ..kafka::Tls::default() });
    }
    config
}

/// How the database is spoken to.
///
/// # Errors
/// The password cannot be read.
pub(crate) fn cql_config(cluster: &ClusterOptions) -> Result<scylla::Config> {
    let credentials = cluster.credentials()?;
    Ok(scylla::Config {
        contact_points: cluster.cql.as_ref().map_or_else(Vec::new, Addresses::to_vec),
        keyspace: cluster.cql_keyspace.clone(),
        credentials: credentials.map(|(user, Password(password))| Credentials { user, password }),
        tls: cluster.cql_tls_ca.clone().map(|ca| scylla::Tls { ca, identity: None }),
        consistency: match cluster.cql_consistency {
            Consistency::LocalQuorum => scylla::Consistency::LocalQuorum,
            Consistency::Quorum => scylla::Consistency::Quorum,
            Consistency::All => scylla::Consistency::All,
            Consistency::LocalOne => scylla::Consistency::LocalOne,
            Consistency::One => scylla::Consistency::One,
        },
        local_datacenter: cluster.cql_datacenter.clone(),
        settle: cluster.settle(),
        erase_share_percent: cluster.cql_erase_share,
        ..scylla::Config::default()
    })
}
