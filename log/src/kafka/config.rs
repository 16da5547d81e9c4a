//! What can be configured, and what it means to librdkafka.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use millrace_schema::Topic;
use rdkafka::ClientConfig;

use crate::LogError;

const MIB: usize = 1024 * 1024;
/// What a record may be larger than its item: the project, the stamps, the fences of a job, and
/// the headers of a dead letter.
const RECORD_OVERHEAD_BYTES: usize = 64 * 1024;
/// More partitions are refused: each costs every client memory.
const PARTITIONS_MAX: u32 = 4_096;
/// The longest that may pass between two polls before the group takes a member for dead; a
/// revocation that is waited for must end before.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Larger values are not sent at all. Above every topic's limit, which is on what is compressed.
const MESSAGE_BYTES_MAX: usize = 16 * MIB;

/// How a [`super::KafkaLog`] behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Brokers to begin with: `host:port`, separated by commas.
    pub bootstrap: String,
    /// Names of topics are `{prefix}.{short name}`, of consumer groups
    /// `{prefix}.{group}.{short name}` (`millrace`).
    pub prefix: String,
    /// Partitions of every topic (32). Front doors, workers and topics must agree.
    pub partitions: u32,
    /// Bytes of records that wait to be acknowledged; more are refused (64 MiB).
    pub queue_bytes: usize,
    /// Records that wait to be acknowledged; more are refused (500,000).
    pub queue_records: usize,
    /// What is not acknowledged by then has failed (10 s).
    pub delivery_timeout: Duration,
    /// Records are collected this long before they are sent (0.5 ms).
    pub linger: Duration,
    /// The largest item that may be accepted (64 KiB). A topic that does not take a record of it
    /// is refused.
    pub item_bytes_max: usize,
    /// A member that is silent this long loses its partitions (10 s). Brokers take 6 s or more
    /// unless they are told otherwise.
    pub session_timeout: Duration,
    /// Readers that were revoked are waited for this long, and the group with them (30 s).
    pub revoke_timeout: Duration,
    /// Bytes of records that wait for each reader (1 MiB).
    pub reader_bytes: usize,
    /// Encrypts connections; needs the feature `kafka-tls`.
    pub tls: Option<Tls>,
    /// Authenticates with a name and a password.
    pub sasl: Option<Sasl>,
}

/// PEM files.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Authorities that the brokers' certificates are checked against; else the system's.
    pub ca: Option<PathBuf>,
    /// This client's certificate, if the brokers ask for one.
    pub cert: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
}

/// A name and a password.
#[derive(Clone)]
pub struct Sasl {
    /// How the password is shown.
    pub mechanism: SaslMechanism,
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// How a password is shown to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// As it is: only over TLS.
    Plain,
    /// SCRAM with SHA-256; needs the feature `kafka-tls`.
    ScramSha256,
    /// SCRAM with SHA-512; needs the feature `kafka-tls`.
    ScramSha512,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: "localhost:9092".to_owned(),
            prefix: "millrace".to_owned(),
            partitions: 32,
            queue_bytes: 64 * MIB,
            queue_records: 500_000,
            delivery_timeout: Duration::from_secs(10),
            linger: Duration::from_micros(500),
            item_bytes_max: 64 * 1024,
            session_timeout: Duration::from_secs(10),
            revoke_timeout: Duration::from_secs(30),
            reader_bytes: MIB,
            tls: None,
            sasl: None,
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), LogError> {
        let invalid = |text: String| Err(LogError::Invalid(text));
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return invalid(format!(
                "{} partitions: a topic has 1 to {PARTITIONS_MAX}",
                self.partitions
            ));
        }
        if self.item_bytes_max > MESSAGE_BYTES_MAX - 2 * RECORD_OVERHEAD_BYTES {
            return invalid(format!("item_bytes_max {}: at most 15 MiB", self.item_bytes_max));
        }
        if self.revoke_timeout >= POLL_INTERVAL_MAX {
            return invalid(format!("revoke_timeout {:?}: less than 60 s", self.revoke_timeout));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.prefix.is_empty() || self.prefix.len() > 200 || !self.prefix.chars().all(plain) {
            return invalid(format!(
                "prefix {:?}: 1 to 200 letters, digits, '.', '_' and '-'",
                self.prefix
            ));
        }
        Ok(())
    }

    /// The name of a topic on the broker.
    pub(super) fn topic_name(&self, topic: Topic) -> String {
        format!("{}.{}", self.prefix, topic.short_name())
    }

    /// The name of a consumer group of a topic on the broker.
    pub(super) fn group_name(&self, group: &str, topic: Topic) -> String {
        format!("{}.{group}.{}", self.prefix, topic.short_name())
    }

    /// The least `max.message.bytes` of a topic. A batch of the producer fits every topic; what
    /// fits a topic fits its dead letters, headers included.
    pub(super) fn message_bytes(&self, topic: Topic) -> usize {
        let bytes = MIB.max(self.item_bytes_max.saturating_add(RECORD_OVERHEAD_BYTES));
        if topic.dead_letters() == topic { bytes + RECORD_OVERHEAD_BYTES } else { bytes }
    }

    /// What every client of the brokers is told.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "millrace")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // A connection that is half open is given up, not waited for for a minute.
            .set("socket.timeout.ms", "10000")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let files = [
                ("ssl.ca.location", &tls.ca),
                ("ssl.certificate.location", &tls.cert),
                ("ssl.key.location", &tls.key),
            ];
            for (name, file) in files {
                if let Some(file) = file {
                    client.set(name, file.to_string_lossy());
                }
            }
        }
        if let Some(sasl) = &self.sasl {
            let mechanism = match sasl.mechanism {
                SaslMechanism::Plain => "PLAIN",
                SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            client
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", &sasl.password);
        }
        client
    }

    /// What the producer is told.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", (self.linger.as_secs_f64() * 1e3).to_string())
            .set("delivery.timeout.ms", self.delivery_timeout.as_millis().max(1).to_string())
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("batch.size", self.message_bytes(Topic::Events).to_string())
            .set("queue.buffering.max.kbytes", (self.queue_bytes / 1024).max(1).to_string())
            .set("queue.buffering.max.messages", self.queue_records.max(1).to_string())
            .set("statistics.interval.ms", "500");
        client
    }

    /// What a consumer is told.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", "500")
            .set("max.poll.interval.ms", POLL_INTERVAL_MAX.as_millis().to_string())
            .set("fetch.queue.backoff.ms", "10")
            // A seek waits for the request that is under way.
            .set("fetch.wait.max.ms", "100")
            .set("fetch.max.bytes", (16 * MIB).to_string())
            .set("fetch.message.max.bytes", MIB.to_string())
            // For all partitions together.
            .set("queued.max.messages.kbytes", (16 * 1024).to_string());
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let sasl = Sasl {
            mechanism: SaslMechanism::Plain,
            username: "front-door".to_owned(),
            password: "hush".to_owned(),
        };
        let config = Config { sasl: Some(sasl), ..Config::default() };
        let shown = format!("{config:?}");
        assert!(shown.contains("front-door") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn names_are_made_of_prefix_group_and_short_name() {
        let config = Config { prefix: "t7".to_owned(), ..Config::default() };
        assert_eq!(config.topic_name(Topic::EventsDlq), "t7.events.dlq");
        assert_eq!(config.group_name("workers", Topic::Events), "t7.workers.events");
        assert_eq!(Config::default().topic_name(Topic::Deletions), Topic::Deletions.name());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let broken = [
            Config { partitions: 0, ..Config::default() },
            Config { partitions: PARTITIONS_MAX + 1, ..Config::default() },
            Config { item_bytes_max: 16 * MIB, ..Config::default() },
            Config { prefix: "a b".to_owned(), ..Config::default() },
            Config { prefix: String::new(), ..Config::default() },
            Config { revoke_timeout: POLL_INTERVAL_MAX, ..Config::default() },
        ];
        for config in broken {
            assert!(matches!(config.check(), Err(LogError::Invalid(_))), "{config:?}");
        }
        Config::default().check().unwrap();
    }

    #[test]
    fn a_dead_letter_topic_takes_all_that_its_topic_takes_and_headers() {
        for config in [Config::default(), Config { item_bytes_max: 4 * MIB, ..Config::default() }] {
            let taken = config.message_bytes(Topic::Events);
            assert!(taken >= config.item_bytes_max + RECORD_OVERHEAD_BYTES);
            assert!(config.message_bytes(Topic::EventsDlq) >= taken + RECORD_OVERHEAD_BYTES);
        }
    }
}
