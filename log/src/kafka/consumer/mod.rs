//! Reading: a membership in a consumer group, and the partitions it is given.
//!
//! Each subscription has a thread that polls its consumer and deals the records out to the
//! partitions' slots, from which readers take them. A slot that is full pauses its partition. The
//! thread waits for work parked: the consumer's queue, readers and the end of the subscription
//! wake it.
//!
//! Partitions are assigned paused and without a position; a reader's `seek` gives them one. A
//! partition that is revoked is given back when its reader was dropped, or the time for that is
//! over; one that was lost (the group took us for dead) at once.

mod assignment;
mod context;
mod intake;
mod member;
mod reader;
mod slot;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Thread};

use millrace_schema::Topic;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use self::member::Member;
use self::reader::PartitionReader;
use self::slot::Slot;
use super::shared::{Shared, Status};
use crate::{BoxFuture, LogError, Reader, Subscription};

/// What readers ask of the thread.
enum Command {
    /// Positions a partition; answered when records from there may come.
    Seek { slot: Arc<Slot>, generation: u64, offset: u64, done: oneshot::Sender<()> },
    /// A full slot has room again.
    Drained(Arc<Slot>),
    /// A reader was dropped.
    Dropped,
}

/// Reaches the thread.
#[derive(Clone)]
struct Control {
    commands: Sender<Command>,
    thread: Thread,
}

impl Control {
    fn send(&self, command: Command) {
        // If the thread is gone, so are its partitions, which the reader sees by itself.
        let _ = self.commands.send(command);
        self.thread.unpark();
    }
}

/// A membership, as its owner has it.
pub(super) struct Subscribed {
    shared: Arc<Shared>,
    /// Dropped first, so that the thread sees it.
    assigned: Option<UnboundedReceiver<PartitionReader>>,
    thread: Thread,
}

/// Starts the thread of a membership.
pub(super) fn subscribe(
    shared: Arc<Shared>,
    group: &str,
    topic: Topic,
) -> Result<Subscribed, LogError> {
    let (readers, assigned) = unbounded_channel();
    let (commands, commanded) = channel();
    let member = Member::new(Arc::clone(&shared), group, topic, readers, commanded);
    let thread = thread::Builder::new().name(format!("kafka-{}", topic.short_name()));
    let thread = thread.spawn(move || {
        let control = Control { commands, thread: thread::current() };
        member.run(&control);
    });
    let thread = thread.map_err(super::no_thread)?.thread().clone();
    Ok(Subscribed { shared, assigned: Some(assigned), thread })
}

impl Subscribed {
    async fn next_reader(&mut self) -> Result<Option<Box<dyn Reader>>, LogError> {
        if let Some(assigned) = &mut self.assigned
            && let Some(reader) = assigned.recv().await
        {
            return Ok(Some(Box::new(reader)));
        }
        match &*self.shared.status.borrow() {
            Status::Closed => Ok(None),
            Status::Failed(reason) => Err(LogError::Unavailable(reason.clone())),
            Status::Connecting(_) | Status::Ready => {
                Err(LogError::Unavailable("the consumer's thread has ended".to_owned()))
            }
        }
    }
}

impl Subscription for Subscribed {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Box<dyn Reader>>, LogError>> {
        Box::pin(self.next_reader())
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.assigned = None;
        self.thread.unpark();
    }
}
