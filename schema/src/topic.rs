//! The topics of the log, and which partition a key belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A topic of the log. The set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topic {
    /// Events and the markers that erase them, keyed by (project, user).
    #[serde(rename = "millrace.events")]
    Events,
    /// Profile changes and markers, keyed by (project, user).
    #[serde(rename = "millrace.profiles")]
    Profiles,
    /// Device changes and markers, keyed by (project, user).
    #[serde(rename = "millrace.devices")]
    Devices,
    /// Deletion jobs, keyed by (project, job).
    #[serde(rename = "millrace.deletions")]
    Deletions,
    /// Dead letters of [`Topic::Events`].
    #[serde(rename = "millrace.events.dlq")]
    EventsDlq,
    /// Dead letters of [`Topic::Profiles`].
    #[serde(rename = "millrace.profiles.dlq")]
    ProfilesDlq,
    /// Dead letters of [`Topic::Devices`].
    #[serde(rename = "millrace.devices.dlq")]
    DevicesDlq,
    /// Dead letters of [`Topic::Deletions`].
    #[serde(rename = "millrace.deletions.dlq")]
    DeletionsDlq,
}

impl Topic {
    /// Every topic, in the order of its number in the embedded log.
    pub const ALL: [Self; 8] = [
        Self::Events,
        Self::Profiles,
        Self::Devices,
        Self::Deletions,
        Self::EventsDlq,
        Self::ProfilesDlq,
        Self::DevicesDlq,
        Self::DeletionsDlq,
    ];
    /// The topics that hold users' data, in the order in which markers are appended.
    pub const DATA: [Self; 3] = [Self::Events, Self::Profiles, Self::Devices];
    /// The topics that workers consume.
    pub const CONSUMED: [Self; 4] = [Self::Events, Self::Profiles, Self::Devices, Self::Deletions];

    /// The full name, as on Kafka: `millrace.events`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "millrace.events",
            Self::Profiles => "millrace.profiles",
            Self::Devices => "millrace.devices",
            Self::Deletions => "millrace.deletions",
            Self::EventsDlq => "millrace.events.dlq",
            Self::ProfilesDlq => "millrace.profiles.dlq",
            Self::DevicesDlq => "millrace.devices.dlq",
            Self::DeletionsDlq => "millrace.deletions.dlq",
        }
    }

    /// The name without the prefix, as in metrics labels and the accounting: `events`.
    pub fn short_name(self) -> &'static str {
        self.name().trim_start_matches("millrace.")
    }

    /// The topic that takes what this one's worker could not store. Dead letters have none of
    /// their own: they stay where they are.
    pub const fn dead_letters(self) -> Self {
        match self {
            Self::Events | Self::EventsDlq => Self::EventsDlq,
            Self::Profiles | Self::ProfilesDlq => Self::ProfilesDlq,
            Self::Devices | Self::DevicesDlq => Self::DevicesDlq,
            Self::Deletions | Self::DeletionsDlq => Self::DeletionsDlq,
        }
    }

    /// The topic's number in the embedded log's format; never reused.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The topic of a number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The partition of a key: Kafka's default partitioner (murmur2, sign bit cleared, modulo), so
/// that any Kafka client that hashes keys agrees with us.
///
/// Source: `org.apache.kafka.common.utils.Utils.murmur2`, `BuiltInPartitioner`.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    // Kafka hashes lengths as Java ints; a key is far below 2^31 bytes.
    let mut h: u32 = 0x9747_b28c ^ (data.len() as u32);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        h = h.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_kafkas_own_test_vectors() {
        // From Kafka's UtilsTest.testMurmur2.
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, expected) in vectors {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    #[test]
    fn every_topic_is_found_by_its_number_and_named_alike_in_json() {
        for topic in Topic::ALL {
            assert_eq!(Topic::from_number(topic.number()), Some(topic));
            assert_eq!(serde_json::to_string(&topic).unwrap(), format!("\"{}\"", topic.name()));
        }
        assert_eq!(Topic::from_number(8), None);
    }
}
