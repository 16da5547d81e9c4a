//! The thread of a subscription.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use metrics::counter;
use millrace_schema::Topic;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use super::assignment::Assignment;
use super::context::{Consuming, Rebalance};
use super::reader::PartitionReader;
use super::slot::Slot;
use super::{Command, Control};
use crate::kafka::shared::{Shared, Status};

/// The thread looks around this often even if nothing wakes it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// As [`LOOK_EVERY`], while something is to be tried again.
const TRY_EVERY: Duration = Duration::from_millis(10);
/// A session that lasted so long was a good one: the next one is not put off.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// A member of a consumer group, on its thread.
pub(super) struct Member {
    shared: Arc<Shared>,
    group: String,
    topic: Topic,
    readers: UnboundedSender<PartitionReader>,
    commands: Receiver<Command>,
}

/// Why a session ended.
enum End {
    /// Nobody needs it any more.
    Left,
    /// The consumer is of no use any more; a new one may be.
    Broken(String),
}

impl From<KafkaError> for End {
    fn from(error: KafkaError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Partitions on their way back to the group.
struct Leaving {
    partitions: Vec<u32>,
    until: Instant,
}

/// One consumer, from its making to its end.
struct Session<'m> {
    member: &'m Member,
    control: &'m Control,
    consumer: BaseConsumer<Consuming>,
    assignment: Assignment,
    /// Partitions that were given, but not taken yet.
    coming: Option<Vec<u32>>,
    leaving: Option<Leaving>,
    /// The log is being closed: readers are waited for until then.
    closing: Option<Instant>,
    out_of_range: bool,
}

impl Member {
    pub(super) fn new(
        shared: Arc<Shared>,
        group: &str,
        topic: Topic,
        readers: UnboundedSender<PartitionReader>,
        commands: Receiver<Command>,
    ) -> Self {
        let group = shared.config.group_name(group, topic);
        Self { shared, group, topic, readers, commands }
    }

    /// Works until the log is closed or the subscription and its readers are dropped.
    pub(super) fn run(self, control: &Control) {
        self.shared.members.send_modify(|members| *members += 1);
        let delays = ExponentialBuilder::default().without_max_times().with_jitter();
        let mut delay = delays.build();
        while self.is_wanted() {
            let began = Instant::now();
            if self.shared.is_ready() {
                match self.session(control) {
                    End::Left => break,
                    End::Broken(reason) => {
                        let group = &self.group;
                        warn!(group, reason, "a consumer has failed; another one follows");
                    }
                }
                if began.elapsed() > GOOD_AFTER {
                    delay = delays.build();
                }
                let until = Instant::now() + delay.next().unwrap_or(GOOD_AFTER);
                while self.is_wanted() && Instant::now() < until {
                    thread::park_timeout(LOOK_EVERY);
                }
            } else {
                thread::park_timeout(LOOK_EVERY);
            }
        }
        drop(self.readers);
        self.shared.members.send_modify(|members| *members = members.saturating_sub(1));
    }

    /// Whether there is a subscription, and a log.
    fn is_wanted(&self) -> bool {
        let is_open =
            matches!(&*self.shared.status.borrow(), Status::Connecting(_) | Status::Ready);
        is_open && !self.readers.is_closed()
    }

    fn session(&self, control: &Control) -> End {
        let config = &self.shared.config;
        let settings = config.consumer(&self.group);
        let consumer = BaseConsumer::from_config_and_context(&settings, Consuming::default());
        let mut consumer = match consumer {
            Ok(consumer) => consumer,
            Err(error) => return error.into(),
        };
        let thread = control.thread.clone();
        consumer.set_nonempty_callback(move || thread.unpark());
        let name = self.shared.name(self.topic);
        if let Err(error) = consumer.subscribe(&[name]) {
            return error.into();
        }
        let assignment = Assignment::new(name.to_owned());
        let mut session = Session {
            member: self,
            control,
            consumer,
            assignment,
            coming: None,
            leaving: None,
            closing: None,
            out_of_range: false,
        };
        let end = session.run();
        session.end();
        end
    }
}

impl Session<'_> {
    fn run(&mut self) -> End {
        loop {
            let busy = match self.round() {
                Ok(busy) => busy,
                Err(end) => return end,
            };
            if self.is_over() {
                return End::Left;
            }
            if busy {
                continue;
            }
            let waits = self.assignment.is_seeking() || self.coming.is_some();
            thread::park_timeout(if waits { TRY_EVERY } else { LOOK_EVERY });
        }
    }

    /// Everything that may be due, once. True if there is likely more.
    fn round(&mut self) -> Result<bool, End> {
        self.obey()?;
        let busy = self.poll()?;
        self.assignment.deal(&self.consumer)?;
        self.rebalance()?;
        self.assignment.position(&self.consumer).map_err(End::Broken)?;
        self.assignment.commit_in_time(&self.consumer);
        if self.out_of_range {
            self.look_at_the_bounds()?;
        }
        Ok(busy)
    }

    /// Whether nobody needs the membership any more.
    fn is_over(&mut self) -> bool {
        let shared = &self.member.shared;
        if self.closing.is_none() && !shared.is_ready() {
            self.assignment.revoke_all();
            self.closing = Some(Instant::now() + shared.config.revoke_timeout);
        }
        let is_left = self.closing.is_some() || self.member.readers.is_closed();
        let is_late = self.closing.is_some_and(|until| Instant::now() >= until);
        is_left && (is_late || self.assignment.is_abandoned())
    }

    /// Does what readers ask for.
    fn obey(&mut self) -> Result<(), End> {
        for command in self.member.commands.try_iter() {
            match command {
                Command::Seek { slot, generation, offset, done } => {
                    self.assignment.seek(&slot, generation, offset, done);
                }
                Command::Drained(slot) => self.assignment.drained(&self.consumer, &slot)?,
                Command::Dropped => self.assignment.pause_abandoned(&self.consumer)?,
            }
        }
        Ok(())
    }

    /// Takes what the consumer has, up to a limit. True if it was reached.
    fn poll(&mut self) -> Result<bool, End> {
        for _ in 0..Assignment::deal_records() {
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => self.assignment.take(&message),
                Some(Err(error)) => self.out_of_range |= trouble(&self.member.group, error)?,
                None if self.consumer.context().take_called() => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Does what the group wants, one after another.
    fn rebalance(&mut self) -> Result<(), End> {
        loop {
            self.take_up()?;
            self.give_back()?;
            if self.coming.is_some() || self.leaving.is_some() {
                return Ok(());
            }
            let Some(rebalance) = self.consumer.context().next_rebalance() else { return Ok(()) };
            let (topic, group) = (self.member.topic, &self.member.group);
            counter!("millrace_kafka_rebalances_total", "topic" => topic.short_name()).increment(1);
            match rebalance {
                Rebalance::Assign(partitions) => {
                    info!(group, ?partitions, "partitions are assigned");
                    self.coming = Some(partitions);
                }
                Rebalance::Revoke(partitions) => {
                    info!(group, ?partitions, "partitions are revoked");
                    self.assignment.revoke(&partitions);
                    let until = Instant::now() + self.member.shared.config.revoke_timeout;
                    self.leaving = Some(Leaving { partitions, until });
                }
            }
        }
    }

    /// Takes what was given, and hands out readers; later, if the brokers do not answer.
    fn take_up(&mut self) -> Result<(), End> {
        let Member { shared, topic, readers, .. } = self.member;
        let Some(partitions) = &self.coming else { return Ok(()) };
        let Ok(bounds) = shared.query.bounds_blocking(*topic) else { return Ok(()) };
        self.assignment.assign(&self.consumer, partitions, &bounds)?;
        let limit_bytes = shared.config.reader_bytes;
        for partition in self.coming.take().unwrap_or_default() {
            let slot = Arc::new(Slot::new(partition, limit_bytes));
            self.assignment.hold(Arc::clone(&slot));
            let control = self.control.clone();
            let reader = PartitionReader::new(Arc::clone(shared), *topic, slot, control);
            // Without a subscription nobody reads it, which dropping the reader says.
            let _ = readers.send(reader);
        }
        Ok(())
    }

    /// Gives back what was revoked once it may be.
    fn give_back(&mut self) -> Result<(), End> {
        let Some(leaving) = &self.leaving else { return Ok(()) };
        let is_free = self.assignment.are_abandoned(&leaving.partitions);
        let is_late = Instant::now() >= leaving.until;
        // Somebody else has what was lost: waiting protects nothing.
        if !is_free && !is_late && !self.consumer.assignment_lost() {
            return Ok(());
        }
        if !is_free {
            let (group, partitions) = (&self.member.group, &leaving.partitions);
            warn!(group, ?partitions, is_late, "given back under their readers");
        }
        if let Some(Leaving { partitions, .. }) = self.leaving.take() {
            self.assignment.unassign(&self.consumer, &partitions)?;
        }
        Ok(())
    }

    /// Some partition is read where there is nothing. Its fetching has stopped, and which one it is
    /// was not told: readers behind the end are told so, then all begin anew.
    fn look_at_the_bounds(&mut self) -> Result<(), End> {
        let Member { shared, topic, .. } = self.member;
        let Ok(bounds) = shared.query.bounds_blocking(*topic) else { return Ok(()) };
        self.assignment.fail_beyond(&bounds);
        Err(End::Broken("a position is not in the log any more".to_owned()))
    }

    /// Leaves. A consumer does not close while the group waits for an answer.
    fn end(mut self) {
        self.assignment.revoke_all();
        self.assignment.commit(&self.consumer);
        let context = self.consumer.context();
        context.close();
        let coming = self.coming.take().map(Rebalance::Assign);
        let leaving = self.leaving.take().map(|leaving| Rebalance::Revoke(leaving.partitions));
        let next = std::iter::from_fn(|| context.next_rebalance());
        for rebalance in coming.into_iter().chain(leaving).chain(next) {
            let done = match &rebalance {
                Rebalance::Assign(partitions) => {
                    self.assignment.assign(&self.consumer, partitions, &[])
                }
                Rebalance::Revoke(partitions) => {
                    self.assignment.unassign(&self.consumer, partitions)
                }
            };
            debug!(?rebalance, ?done, "rebalanced while leaving");
        }
        debug!(group = self.member.group, "leaves");
    }
}

/// Judges what the consumer says. True if a position lies outside of the log.
fn trouble(group: &str, error: KafkaError) -> Result<bool, End> {
    if let KafkaError::MessageConsumptionFatal(_) = error {
        return Err(error.into());
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Ok(true),
        // Brokers that are away are waited for.
        _ => {
            debug!(group, %error, "the consumer has trouble");
            Ok(false)
        }
    }
}
