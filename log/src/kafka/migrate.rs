//! Creates the topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use millrace_schema::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::config::Config;
use super::topics::{
    CLEANUP_POLICY, FoundTopics, MAX_MESSAGE_BYTES, MIN_INSYNC_REPLICAS, RETENTION_MS, SEGMENT_MS,
    TIMEOUT, TIMESTAMP_TYPE, TopicSpec, metadata, mismatches, read, retention_ms, segment_ms,
};
use crate::LogError;

/// How long new topics may take until all brokers know them.
const SETTLE: Duration = Duration::from_secs(20);

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Its name on the broker.
    pub topic: String,
    /// Whether it was created; else it was there, as wanted.
    pub created: bool,
}

/// Creates the topics that are missing; what is there is checked and never changed.
///
/// # Errors
/// A topic is not as wanted (nothing is created then), or the brokers do not do as they are asked.
pub async fn migrate(config: &Config, spec: &TopicSpec) -> Result<Vec<Migrated>, LogError> {
    config.check()?;
    if spec.min_insync_replicas == 0 || spec.min_insync_replicas > spec.replication_factor {
        return Err(LogError::Invalid(format!(
            "min.insync.replicas {}: 1 to the replication factor, {}",
            spec.min_insync_replicas, spec.replication_factor
        )));
    }
    let cluster = Cluster::new(config)?;
    let found = cluster.read_settled().await?;
    let wrong = mismatches(config, &found, Some(spec));
    if !wrong.is_empty() {
        return Err(LogError::Invalid(wrong.join("; ")));
    }
    let names = Topic::ALL.map(|topic| (topic, config.topic_name(topic)));
    let missing: Vec<_> = names.iter().filter(|(_, name)| !found.contains_key(name)).collect();
    for (topic, name) in &missing {
        cluster.create(*topic, name, spec).await?;
    }
    if !missing.is_empty() {
        cluster.until_complete().await?;
    }
    let migrated = names
        .iter()
        .map(|(_, name)| Migrated { topic: name.clone(), created: !found.contains_key(name) });
    Ok(migrated.collect())
}

struct Cluster<'c> {
    config: &'c Config,
    admin: Arc<AdminClient<DefaultClientContext>>,
}

impl<'c> Cluster<'c> {
    fn new(config: &'c Config) -> Result<Self, LogError> {
        let admin = AdminClient::from_config(&config.client());
        let admin = admin.map_err(|error| super::unusable(config, &error))?;
        Ok(Self { config, admin: Arc::new(admin) })
    }

    /// Reads the topics once, off the async threads.
    async fn read(&self) -> Result<FoundTopics, LogError> {
        let admin = Arc::clone(&self.admin);
        let metadata = tokio::task::spawn_blocking(move || metadata(admin.inner())).await;
        let metadata = metadata.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let metadata = metadata.map_err(|error| self.away(&error))?;
        let found = read(self.config, &metadata, &self.admin).await;
        found.map_err(|error| self.away(&error))?.ok_or_else(|| {
            LogError::Unavailable("some partitions have no leader at the moment".to_owned())
        })
    }

    async fn read_settled(&self) -> Result<FoundTopics, LogError> {
        let (read, since) = (|| self.read(), Instant::now());
        // The tries take their time too.
        read.retry(backoff(TIMEOUT)).when(|_| since.elapsed() < TIMEOUT).await
    }

    async fn create(&self, topic: Topic, name: &str, spec: &TopicSpec) -> Result<(), LogError> {
        // At most `PARTITIONS_MAX`; brokers are few.
        let partitions = self.config.partitions as i32;
        let replication = i32::try_from(spec.replication_factor).unwrap_or(i32::MAX);
        let insync = spec.min_insync_replicas.to_string();
        let (retention, segment) = (retention_ms(spec), segment_ms(spec));
        let bytes = self.config.message_bytes(topic).to_string();
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(replication))
            .set(MIN_INSYNC_REPLICAS, &insync)
            .set(RETENTION_MS, &retention)
            .set(SEGMENT_MS, &segment)
            .set(MAX_MESSAGE_BYTES, &bytes)
            .set(CLEANUP_POLICY, "delete")
            .set(TIMESTAMP_TYPE, "LogAppendTime");
        let options =
            AdminOptions::new().request_timeout(Some(SETTLE)).operation_timeout(Some(TIMEOUT));
        let created = self.admin.create_topics([&new], &options).await;
        let created = created.map_err(|error| self.away(&error))?;
        for result in created {
            match result {
                // Another one that migrates was faster; what it made is checked below.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(LogError::Invalid(format!(
                        "topic {name} cannot be created: {code}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Waits until all topics are there and as they must be.
    async fn until_complete(&self) -> Result<(), LogError> {
        let check = || async {
            let wrong = mismatches(self.config, &self.read().await?, None);
            match wrong.is_empty() {
                true => Ok(()),
                false => Err(LogError::Invalid(wrong.join("; "))),
            }
        };
        check.retry(backoff(SETTLE)).await
    }

    fn away(&self, error: &KafkaError) -> LogError {
        LogError::Unavailable(format!("Kafka at {}: {error}", self.config.bootstrap))
    }
}

fn backoff(total: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_total_delay(Some(total))
        .without_max_times()
        .with_jitter()
}
