//! Records that can never be stored go among the dead letters, with all that a replay needs.

use millrace_log::{AppendError, Batch, Log, LogRecord};
use millrace_schema::Topic;
use millrace_schema::record::{
    HEADER_ERROR, HEADER_ORIGIN_OFFSET, HEADER_ORIGIN_PARTITION, HEADER_ORIGIN_TIME_US,
    HEADER_ORIGIN_TOPIC,
};
use millrace_schema::time::Micros;

use crate::arrival::Detour;

/// What every dead letter carries, in place of what it may have brought along.
const OURS: [&str; 5] = [
    HEADER_ERROR,
    HEADER_ORIGIN_TOPIC,
    HEADER_ORIGIN_PARTITION,
    HEADER_ORIGIN_OFFSET,
    HEADER_ORIGIN_TIME_US,
];

/// Dead letters of a batch of records.
#[derive(Default)]
pub(crate) struct DeadLetters {
    batch: Batch,
}

impl DeadLetters {
    /// Adds a record and the reason why it could not be stored. Key and value stay as they are; a
    /// record that had been replayed before keeps its first origin.
    pub(crate) fn push(
        &mut self,
        (topic, partition, partitions): (Topic, u32, u32),
        record: &LogRecord,
        detour: Option<Detour>,
        time_us: Micros,
        reason: &str,
    ) {
        let (offset, time_us) = match detour {
            Some(Detour::Replayed { offset, time_us }) => (offset, time_us),
            _ => (record.offset, time_us),
        };
        let kept = record.headers.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
        let mut headers: Vec<(String, String)> = kept.cloned().collect();
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
        add(HEADER_ORIGIN_TOPIC, topic.name().to_owned());
        add(HEADER_ORIGIN_PARTITION, partition.to_string());
        add(HEADER_ORIGIN_OFFSET, offset.to_string());
        add(HEADER_ORIGIN_TIME_US, time_us.to_string());
        add(HEADER_ERROR, reason.to_owned());
        self.batch.push_with_headers(
            topic.dead_letters(),
            partitions,
            headers,
            |out| out.extend_from_slice(&record.key),
            |out| out.extend_from_slice(&record.value),
        );
    }

    /// Appends them and waits until they are durable: only then may the frontier pass the origins.
    pub(crate) async fn bury(self, log: &dyn Log) -> Result<(), AppendError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        log.append(self.batch).await.map(|_| ())
    }
}
