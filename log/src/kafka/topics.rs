//! How topics are, and how they must be.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use millrace_schema::Topic;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;

use super::config::Config;

/// How long the brokers may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(super) const RETENTION_MS: &str = "retention.ms";
/// Made so, but not checked: it only says by how much a record may outlive its retention.
pub(super) const SEGMENT_MS: &str = "segment.ms";
pub(super) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub(super) const CLEANUP_POLICY: &str = "cleanup.policy";
pub(super) const TIMESTAMP_TYPE: &str = "message.timestamp.type";

const SEGMENT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What a topic must have beside what every process needs of it.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Brokers that hold each record (3).
    pub replication_factor: u32,
    /// Brokers that must have a record before it is acknowledged (2). With 1, a record that was
    /// acknowledged is lost with the disk of one broker.
    pub min_insync_replicas: u32,
    /// How long records are kept (7 days). What has not been applied by then is lost.
    pub retention: Duration,
}

impl Default for TopicSpec {
    fn default() -> Self {
        let retention = Duration::from_secs(7 * 24 * 3_600);
        Self { replication_factor: 3, min_insync_replicas: 2, retention }
    }
}

/// A topic as the brokers have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Replicas of each partition.
    pub(super) replicas: Vec<usize>,
    pub(super) settings: HashMap<String, String>,
}

/// Topics by their names on the broker; those that there are not are missing.
pub(super) type FoundTopics = BTreeMap<String, Found>;

/// Reads our topics. `None` if the brokers are still finding their feet: a topic without leaders.
pub(super) async fn read(
    config: &Config,
    metadata: &Metadata,
    admin: &AdminClient<DefaultClientContext>,
) -> Result<Option<FoundTopics>, KafkaError> {
    let names: Vec<String> = Topic::ALL.iter().map(|topic| config.topic_name(*topic)).collect();
    let mut found = FoundTopics::new();
    for topic in metadata.topics().iter().filter(|topic| names.iter().any(|n| n == topic.name())) {
        if topic.error().is_some() || topic.partitions().iter().any(|p| p.leader() < 0) {
            return Ok(None);
        }
        let replicas = topic.partitions().iter().map(|p| p.replicas().len()).collect();
        let name = topic.name().to_owned();
        found.insert(name, Found { replicas, ..Found::default() });
    }
    if found.is_empty() {
        return Ok(Some(found));
    }
    let resources: Vec<_> = found.keys().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = admin.describe_configs(&resources, &options).await?;
    for resource in described {
        let resource = resource.map_err(KafkaError::AdminOp)?;
        let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { continue };
        if let Some(topic) = found.get_mut(name) {
            let settings = resource.entries.into_iter();
            topic.settings = settings.filter_map(|e| Some((e.name, e.value?))).collect();
        }
    }
    Ok(Some(found))
}

/// All topics of the cluster, which creates none. Blocks.
pub(super) fn metadata<C: ClientContext>(client: &Client<C>) -> Result<Metadata, KafkaError> {
    client.fetch_metadata(None, TIMEOUT)
}

/// What is wrong with the topics, one line each; empty if they can be used. With `spec`, also what
/// only who creates them knows.
pub(super) fn mismatches(
    config: &Config,
    found: &FoundTopics,
    spec: Option<&TopicSpec>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for topic in Topic::ALL {
        let name = config.topic_name(topic);
        match found.get(&name) {
            Some(found) => check_topic(config, topic, &name, found, spec, &mut wrong),
            // Creating it is what the spec is for.
            None if spec.is_some() => {}
            None => wrong.push(format!(
                "topic {name} is missing (or may not be seen): create the topics with \
                 `millrace migrate`"
            )),
        }
    }
    wrong
}

fn check_topic(
    config: &Config,
    topic: Topic,
    name: &str,
    found: &Found,
    spec: Option<&TopicSpec>,
    wrong: &mut Vec<String>,
) {
    let partitions = config.partitions as usize;
    if found.replicas.len() != partitions {
        wrong.push(format!(
            "topic {name}: {} partitions, wanted {partitions}: set the number of partitions to the \
             topic's; to grow it, drain it first and create it anew under another prefix",
            found.replicas.len()
        ));
    }
    let setting = |key: &str| found.settings.get(key).map_or("", String::as_str);
    let number = |key: &str| setting(key).parse::<i64>().unwrap_or(0);
    let mut refuse = |key: &str, wanted: &str| {
        wrong.push(format!(
            "topic {name}: {key} is {:?}, wanted {wanted}: change it with `kafka-configs.sh \
             --alter --entity-type topics --entity-name {name} --add-config {key}=…`",
            setting(key)
        ));
    };
    let bytes = config.message_bytes(topic);
    if usize::try_from(number(MAX_MESSAGE_BYTES)).unwrap_or(0) < bytes {
        refuse(MAX_MESSAGE_BYTES, &format!("{bytes} or more"));
    }
    if setting(CLEANUP_POLICY) != "delete" {
        refuse(CLEANUP_POLICY, "delete");
    }
    // A front door's clock must not decide how long a record is kept.
    if setting(TIMESTAMP_TYPE) != "LogAppendTime" {
        refuse(TIMESTAMP_TYPE, "LogAppendTime");
    }
    let replicas = found.replicas.iter().copied().min().unwrap_or(0);
    let insync = usize::try_from(number(MIN_INSYNC_REPLICAS)).unwrap_or(0);
    match spec {
        None if insync > replicas => {
            refuse(MIN_INSYNC_REPLICAS, &format!("{replicas} or less, or nothing can be written"));
        }
        None => {}
        Some(spec) => {
            if number(MIN_INSYNC_REPLICAS) != i64::from(spec.min_insync_replicas) {
                refuse(MIN_INSYNC_REPLICAS, &spec.min_insync_replicas.to_string());
            }
            let retention_ms = retention_ms(spec);
            if setting(RETENTION_MS) != retention_ms {
                refuse(RETENTION_MS, &retention_ms);
            }
            let wanted = spec.replication_factor as usize;
            if found.replicas.iter().any(|replicas| *replicas != wanted) {
                wrong.push(format!(
                    "topic {name}: replication factor {replicas}, wanted {wanted}: move it with \
                     `kafka-reassign-partitions.sh`, or ask for {replicas}"
                ));
            }
        }
    }
}

/// The value of `retention.ms`.
pub(super) fn retention_ms(spec: &TopicSpec) -> String {
    spec.retention.as_millis().to_string()
}

/// The value of `segment.ms`: the retention, but a day at most (Kafka's own default is a week), so
/// that records do not stay for long after their retention.
pub(super) fn segment_ms(spec: &TopicSpec) -> String {
    spec.retention.min(SEGMENT_MAX).as_millis().to_string()
}

/// Whether two brokers have what is acknowledged, in every topic.
pub(super) fn is_replicated(found: &FoundTopics) -> bool {
    found.values().all(|topic| {
        topic.settings.get(MIN_INSYNC_REPLICAS).and_then(|n| n.parse::<u32>().ok()) >= Some(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(config: &Config, spec: &TopicSpec) -> FoundTopics {
        let of = |topic: Topic| {
            let settings = [
                (MIN_INSYNC_REPLICAS, spec.min_insync_replicas.to_string()),
                (RETENTION_MS, retention_ms(spec)),
                (MAX_MESSAGE_BYTES, config.message_bytes(topic).to_string()),
                (CLEANUP_POLICY, "delete".to_owned()),
                (TIMESTAMP_TYPE, "LogAppendTime".to_owned()),
            ];
            let settings = settings.into_iter().map(|(key, value)| (key.to_owned(), value));
            Found {
                replicas: vec![spec.replication_factor as usize; config.partitions as usize],
                settings: settings.collect(),
            }
        };
        Topic::ALL.into_iter().map(|topic| (config.topic_name(topic), of(topic))).collect()
    }

    #[test]
    fn topics_as_they_must_be_are_accepted() {
        let (config, spec) = (Config::default(), TopicSpec::default());
        let found = good(&config, &spec);
        assert_eq!(mismatches(&config, &found, None), [""; 0]);
        assert_eq!(mismatches(&config, &found, Some(&spec)), [""; 0]);
        assert!(is_replicated(&found));
    }

    #[test]
    fn each_mismatch_names_the_topic_the_setting_what_was_found_and_what_is_wanted() {
        let (config, spec) = (Config::default(), TopicSpec::default());
        let wrong = [
            (MAX_MESSAGE_BYTES, "1000", true, "is \"1000\", wanted 1048576 or more"),
            (CLEANUP_POLICY, "compact", true, "is \"compact\", wanted delete"),
            (TIMESTAMP_TYPE, "CreateTime", true, "is \"CreateTime\", wanted LogAppendTime"),
            (MIN_INSYNC_REPLICAS, "4", true, "is \"4\", wanted"),
            (MIN_INSYNC_REPLICAS, "1", false, "is \"1\", wanted 2"),
            (RETENTION_MS, "1000", false, "is \"1000\", wanted 604800000"),
        ];
        for (key, value, everywhere, expected) in wrong {
            let mut found = good(&config, &spec);
            let settings = &mut found.get_mut("millrace.events").unwrap().settings;
            settings.insert(key.to_owned(), value.to_owned());
            let refused = mismatches(&config, &found, Some(&spec));
            assert_eq!(refused.len(), 1, "{refused:?}");
            let start = format!("topic millrace.events: {key} {expected}");
            assert!(refused[0].starts_with(&start), "{refused:?}");
            assert_eq!(mismatches(&config, &found, None).len(), usize::from(everywhere), "{key}");
        }
    }

    #[test]
    fn a_missing_topic_and_other_partitions_are_refused() {
        let (config, spec) = (Config::default(), TopicSpec::default());
        let mut found = good(&config, &spec);
        found.remove("millrace.devices");
        found.get_mut("millrace.events").unwrap().replicas.pop();
        let refused = mismatches(&config, &found, None);
        assert!(refused[0].starts_with("topic millrace.events: 31 partitions, wanted 32: "));
        assert!(refused[1].starts_with("topic millrace.devices is missing"));
        assert_eq!(refused.len(), 2);
    }

    #[test]
    fn one_topic_that_is_not_replicated_makes_acknowledgements_the_leaders_only() {
        let (config, spec) = (Config::default(), TopicSpec::default());
        let mut found = good(&config, &spec);
        let settings = &mut found.get_mut("millrace.profiles").unwrap().settings;
        settings.insert(MIN_INSYNC_REPLICAS.to_owned(), "1".to_owned());
        assert!(!is_replicated(&found));
    }
}
