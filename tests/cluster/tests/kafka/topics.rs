//! Topics: made by `migrate`, checked by everyone.

use std::time::Duration;

use millrace_cluster::Cluster;
use millrace_log::kafka::{Config, KafkaLog, TopicSpec, migrate};
use millrace_log::{AppendError, Durability, Log, LogError};
use millrace_schema::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::TopicReplication::Fixed;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::fixture::{PARTITIONS, config, event, migrated, open, spec};

fn cluster() -> &'static Cluster {
    Cluster::shared().expect("a broker")
}

fn admin(config: &Config) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &config.bootstrap).create().unwrap()
}

/// Sets what is wrong with a topic, and takes everything else from the defaults of the broker.
async fn alter(config: &Config, topic: &str, key: &str, value: &str) {
    let name = format!("{}.{topic}", config.prefix);
    let good = [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "LogAppendTime"),
        ("max.message.bytes", "4000000"),
    ];
    let good = good.into_iter().filter(|(other, _)| *other != key);
    let change = AlterConfig::new(ResourceSpecifier::Topic(&name)).set(key, value);
    let changes = [good.fold(change, |change, (key, value)| change.set(key, value))];
    let done = admin(config).alter_configs(&changes, &AdminOptions::new()).await.unwrap();
    done.into_iter().for_each(|result| assert!(result.is_ok(), "{result:?}"));
}

/// Why a log cannot be used.
async fn refusal(config: &Config) -> String {
    let log = KafkaLog::open(config.clone()).unwrap();
    let failed = tokio::time::timeout(Duration::from_secs(60), log.failed());
    let reason = failed.await.expect("it is refused");
    assert!(log.health().is_err_and(|health| health.contains(&reason)));
    let refused = log.append(event(0, "x")).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    reason
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn migrating_twice_creates_once() {
    let config = config(cluster(), "twice");
    let first = migrate(&config, &spec()).await.unwrap();
    assert_eq!(first.len(), 8);
    assert!(first.iter().all(|topic| topic.created), "{first:?}");
    assert_eq!(first[4].topic, format!("{}.events.dlq", config.prefix));
    let second = migrate(&config, &spec()).await.unwrap();
    assert!(second.iter().all(|topic| !topic.created), "{second:?}");
    assert_eq!(open(&config).await.durability(), Durability::Leader);
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn migrating_refuses_what_is_not_as_wanted_and_creates_nothing() {
    let config = config(cluster(), "refuse");
    let name = format!("{}.devices", config.prefix);
    let topic = NewTopic::new(&name, 3, Fixed(1)).set("retention.ms", "5000");
    admin(&config).create_topics([&topic], &AdminOptions::new()).await.unwrap();
    for _ in 0..2 {
        let Err(LogError::Invalid(text)) = migrate(&config, &spec()).await else {
            panic!("not refused");
        };
        for part in [
            format!("topic {name}: 3 partitions, wanted 4"),
            format!("topic {name}: retention.ms is \"5000\", wanted 604800000"),
            format!("topic {name}: message.timestamp.type is \"CreateTime\""),
            "kafka-configs.sh".to_owned(),
        ] {
            assert!(text.contains(&part), "{part} is not in {text}");
        }
    }
    let found = admin(&config);
    let metadata = tokio::task::spawn_blocking(move || {
        let metadata = found.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>()
    });
    let ours = metadata.await.unwrap();
    let ours: Vec<_> = ours.iter().filter(|name| name.starts_with(&config.prefix)).collect();
    assert_eq!(ours, [&name]);
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn more_replicas_than_brokers_are_refused() {
    let config = config(cluster(), "replicas");
    let Err(LogError::Invalid(text)) = migrate(&config, &TopicSpec::default()).await else {
        panic!("not refused");
    };
    assert!(text.contains("cannot be created"), "{text}");
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn missing_topics_are_refused_and_not_created() {
    let config = config(cluster(), "missing");
    for _ in 0..2 {
        let text = refusal(&config).await;
        let expected = format!("topic {}.events is missing", config.prefix);
        assert!(text.contains(&expected) && text.contains("`millrace migrate`"), "{text}");
    }
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn another_number_of_partitions_is_refused() {
    let config = config(cluster(), "partitions");
    migrated(&config).await;
    let text = refusal(&Config { partitions: 32, ..config.clone() }).await;
    let expected = format!("topic {}.events: {PARTITIONS} partitions, wanted 32", config.prefix);
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_topic_that_takes_too_small_records_is_refused() {
    let config = config(cluster(), "small");
    migrated(&config).await;
    alter(&config, "profiles", "max.message.bytes", "16384").await;
    let text = refusal(&config).await;
    let expected = format!(
        "topic {}.profiles: max.message.bytes is \"16384\", wanted 1048576 or more",
        config.prefix
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_compacted_topic_is_refused() {
    let config = config(cluster(), "compacted");
    migrated(&config).await;
    alter(&config, "events", "cleanup.policy", "compact").await;
    let text = refusal(&config).await;
    assert!(text.contains("cleanup.policy is \"compact\", wanted delete"), "{text}");
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn how_long_records_are_kept_is_what_the_brokers_are_set_to() {
    let config = config(cluster(), "kept");
    migrated(&config).await;
    // A segment of a day as migrated, by default a check every 5 minutes on each replica, and a
    // second before a file goes.
    let day_s = 24 * 3_600;
    let kept = open(&config).await.retention(Topic::Events).await.unwrap().unwrap();
    assert_eq!(kept, Duration::from_secs(7 * day_s + day_s + 2 * 300 + 1));
    alter(&config, "events", "segment.ms", "60000").await;
    let kept = open(&config).await.retention(Topic::Events).await.unwrap().unwrap();
    assert_eq!(kept, Duration::from_secs(7 * day_s + 60 + 2 * 300 + 1));
    alter(&config, "events", "retention.ms", "-1").await;
    let log = open(&config).await;
    assert_eq!(log.retention(Topic::Events).await.unwrap(), None);
    assert!(log.retention(Topic::Profiles).await.unwrap().is_some());
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn the_largest_item_is_taken() {
    let mut config = config(cluster(), "largest");
    config.item_bytes_max = 2 * 1024 * 1024;
    migrated(&config).await;
    let log = open(&config).await;
    // Does not compress.
    let mut state = 1_u64;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 58) as u8)
    };
    let item: String = (0..config.item_bytes_max).map(|_| digit()).collect();
    assert_eq!(log.append(event(0, &item)).await.unwrap().offsets, [0]);
}

#[tokio::test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn a_plain_client_at_a_port_for_nothing_it_knows_is_told_so() {
    let config = Config { bootstrap: "127.0.0.1:1".to_owned(), ..Config::default() };
    let log = KafkaLog::open(config).unwrap();
    crate::fixture::until("a reason", || {
        log.health().is_err_and(|reason| reason.contains("Connection refused"))
    })
    .await;
    let error = log.bounds(Topic::Events).await.unwrap_err();
    assert!(matches!(error, LogError::Unavailable(_)), "{error}");
    assert!(matches!(log.append(event(0, "x")).await, Err(AppendError::Unavailable(_))));
}
