//! How long the brokers keep records, by their own settings.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_schema::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataBroker;
use tokio::sync::Mutex;

use super::config::Config;
use super::topics::{Found, RETENTION_MS, TIMEOUT, metadata, read};
use crate::LogError;

/// How long what the brokers said is taken for true.
const TRUE_FOR: Duration = Duration::from_secs(60);
/// A broker looks for old segments so often.
const CHECK_INTERVAL_MS: &str = "log.retention.check.interval.ms";

/// By the topic's name.
type Retentions = BTreeMap<String, Option<Duration>>;

/// What the brokers said last, and when.
#[derive(Default)]
pub(super) struct Retention(Mutex<Option<(Instant, Retentions)>>);

impl Retention {
    pub(super) async fn of(
        &self,
        config: &Config,
        topic: Topic,
    ) -> Result<Option<Duration>, LogError> {
        let mut last = self.0.lock().await;
        if last.as_ref().is_none_or(|(asked, _)| asked.elapsed() > TRUE_FOR) {
            let said = ask(config).await.map_err(|error| {
                LogError::Unavailable(format!("Kafka at {}: {error}", config.bootstrap))
            })?;
            *last = Some((Instant::now(), said));
        }
        let name = config.topic_name(topic);
        Ok(last.as_ref().and_then(|(_, said)| said.get(&name).copied().flatten()))
    }
}

async fn ask(config: &Config) -> Result<Retentions, KafkaError> {
    let admin: AdminClient<DefaultClientContext> = AdminClient::from_config(&config.client())?;
    let admin = Arc::new(admin);
    let asking = Arc::clone(&admin);
    let metadata = tokio::task::spawn_blocking(move || metadata(asking.inner())).await;
    let metadata = metadata.map_err(|_| KafkaError::Canceled)??;
    let found = read(config, &metadata, &admin).await?.ok_or(KafkaError::Canceled)?;
    let brokers = metadata.brokers().iter().map(MetadataBroker::id).collect();
    let check_ms = check_interval_ms(brokers, &admin).await?;
    Ok(found.into_iter().map(|(name, topic)| (name, longest(&topic, check_ms))).collect())
}

/// The longest of all brokers; `None` if one does not say.
async fn check_interval_ms(
    brokers: Vec<i32>,
    admin: &AdminClient<DefaultClientContext>,
) -> Result<Option<u64>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let mut longest = 0;
    for broker in brokers {
        let resource = ResourceSpecifier::Broker(broker);
        let described = admin.describe_configs([&resource], &options).await?;
        // A broker may keep its settings from us.
        let entries = described.into_iter().filter_map(Result::ok).flat_map(|r| r.entries);
        let settings: HashMap<_, _> = entries.filter_map(|e| Some((e.name, e.value?))).collect();
        let Some(interval) = number(&settings, CHECK_INTERVAL_MS) else { return Ok(None) };
        longest = longest.max(interval);
    }
    Ok(Some(longest))
}

/// A segment is deleted when its newest record is older than `retention.ms`, which is up to
/// `segment.ms` after its oldest; found by the leader at its next check and by the other replicas
/// at theirs after that; and then its file stays for `file.delete.delay.ms`.
fn longest(topic: &Found, check_ms: Option<u64>) -> Option<Duration> {
    let of = |name: &str| number(&topic.settings, name);
    if topic.settings.get("remote.storage.enable").is_some_and(|value| value == "true") {
        return None;
    }
    let parts_ms = [
        // -1: for ever.
        of(RETENTION_MS)?,
        of("segment.ms")?,
        check_ms?.saturating_mul(2),
        of("file.delete.delay.ms")?,
    ];
    Some(Duration::from_millis(parts_ms.into_iter().fold(0, u64::saturating_add)))
}

fn number(settings: &HashMap<String, String>, name: &str) -> Option<u64> {
    settings.get(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(changed: &[(&str, &str)]) -> Found {
        let settings = [
            ("retention.ms", "604800000"),
            ("segment.ms", "3600000"),
            ("file.delete.delay.ms", "60000"),
            ("remote.storage.enable", "false"),
        ];
        let settings = settings.iter().chain(changed);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Found { settings: settings.collect(), ..Found::default() }
    }

    #[test]
    fn a_record_is_gone_when_its_segment_is_old_was_found_and_its_file_removed() {
        let seconds = 7 * 24 * 3_600 + 3_600 + 2 * 300 + 60;
        let kept = longest(&topic(&[]), Some(300_000));
        assert_eq!(kept, Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn where_a_broker_keeps_records_for_ever_or_does_not_say_nothing_is_promised() {
        assert_eq!(longest(&topic(&[("retention.ms", "-1")]), Some(1)), None);
        assert_eq!(longest(&topic(&[("segment.ms", "")]), Some(1)), None);
        assert_eq!(longest(&topic(&[("remote.storage.enable", "true")]), Some(1)), None);
        assert_eq!(longest(&topic(&[]), None), None);
        assert_eq!(longest(&Found::default(), Some(1)), None);
        let most = u64::MAX.to_string();
        assert!(longest(&topic(&[("retention.ms", &most)]), Some(u64::MAX)).is_some());
    }
}
