//! Where partitions begin and end: asked of the brokers, from a thread of its own.
//!
//! Questions that wait are answered together: two round trips for any number of partitions of a
//! topic, however many ask.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use millrace_schema::Topic;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::config::Config;
use super::context;
use crate::{Bounds, LogError};

/// How long the brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often the client's own events are served.
const SERVE_EVERY: Duration = Duration::from_millis(500);

type Answer = Result<Vec<Bounds>, String>;
type Question = (Topic, oneshot::Sender<Answer>);

/// Asks; dropping it ends the thread.
pub(super) struct Query(Sender<Question>);

struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        context::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a Kafka client has trouble");
    }
}

impl ConsumerContext for Quiet {}

impl Query {
    pub(super) fn new(config: &Config) -> Result<Self, LogError> {
        let consumer = BaseConsumer::from_config_and_context(&config.client(), Quiet);
        let consumer = consumer.map_err(|error| super::unusable(config, &error))?;
        let asked = Asked { consumer, config: config.clone() };
        let (questions, waiting) = channel();
        let thread = thread::Builder::new().name("kafka-query".to_owned());
        thread.spawn(move || asked.serve(&waiting)).map_err(super::no_thread)?;
        Ok(Self(questions))
    }

    /// The bounds of every partition of a topic, in order.
    pub(super) async fn bounds(&self, topic: Topic) -> Result<Vec<Bounds>, LogError> {
        Self::answered(self.ask(topic).await)
    }

    /// As [`Query::bounds`], for threads that may block.
    pub(super) fn bounds_blocking(&self, topic: Topic) -> Result<Vec<Bounds>, LogError> {
        Self::answered(self.ask(topic).blocking_recv())
    }

    fn ask(&self, topic: Topic) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        // If the thread is gone, so is `answer`.
        let _ = self.0.send((topic, answer));
        answered
    }

    fn answered(
        answer: Result<Answer, oneshot::error::RecvError>,
    ) -> Result<Vec<Bounds>, LogError> {
        let answer = answer.unwrap_or_else(|_| Err("the log is closed".to_owned()));
        answer.map_err(LogError::Unavailable)
    }
}

struct Asked {
    consumer: BaseConsumer<Quiet>,
    config: Config,
}

impl Asked {
    fn serve(self, waiting: &Receiver<Question>) {
        loop {
            let first = match waiting.recv_timeout(SERVE_EVERY) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut asked: BTreeMap<Topic, Vec<oneshot::Sender<Answer>>> = BTreeMap::new();
            for (topic, answer) in first.into_iter().chain(waiting.try_iter()) {
                asked.entry(topic).or_default().push(answer);
            }
            for (topic, answers) in asked {
                let bounds = self.bounds(topic).or_else(|_| self.bounds_anew(topic));
                let bounds = bounds.map_err(|error| error.to_string());
                for answer in answers {
                    // Who asked may have given up.
                    let _ = answer.send(bounds.clone());
                }
            }
            // Nothing is consumed: this serves logs and errors.
            let _ = self.consumer.poll(Duration::ZERO);
        }
    }

    fn bounds(&self, topic: Topic) -> KafkaResult<Vec<Bounds>> {
        let starts = self.offsets(topic, Offset::Beginning)?;
        let ends = self.offsets(topic, Offset::End)?;
        let bounds = starts.into_iter().zip(ends);
        Ok(bounds.map(|(start, end)| Bounds { start, end: end.max(start) }).collect())
    }

    /// As [`Asked::bounds`], with leaders that are looked up again: after a broker's absence those
    /// that were known may lead no more, or under another epoch.
    fn bounds_anew(&self, topic: Topic) -> KafkaResult<Vec<Bounds>> {
        self.consumer.fetch_metadata(Some(&self.config.topic_name(topic)), TIMEOUT)?;
        self.bounds(topic)
    }

    /// The brokers take -2 and -1 for times: of the first record, and after the last.
    fn offsets(&self, topic: Topic, which: Offset) -> KafkaResult<Vec<u64>> {
        let name = self.config.topic_name(topic);
        let mut list = TopicPartitionList::with_capacity(self.config.partitions as usize);
        // At most `PARTITIONS_MAX`.
        for partition in 0..self.config.partitions as i32 {
            list.add_partition_offset(&name, partition, which)?;
        }
        let list = self.consumer.offsets_for_times(list, TIMEOUT)?;
        let offset = |partition: i32| {
            let element = list.find_partition(&name, partition);
            let element = element.ok_or(KafkaError::Canceled)?;
            element.error()?;
            match element.offset() {
                Offset::Offset(offset) => Ok(offset.unsigned_abs()),
                _ => Ok(0),
            }
        };
        (0..self.config.partitions as i32).map(offset).collect()
    }
}
