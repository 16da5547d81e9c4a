//! A log that takes nothing.

use std::time::Duration;

use millrace_log::{
    AppendError, Appended, Batch, Bounds, BoxFuture, Durability, Log, LogError, Subscription,
};
use millrace_schema::Topic;
use tokio::sync::Notify;

/// A log that refuses, or never answers.
pub(crate) struct Broken {
    answers: bool,
    /// Told of every append.
    pub(crate) called: Notify,
}

impl Broken {
    pub(crate) fn new(answers: bool) -> Self {
        Self { answers, called: Notify::new() }
    }
}

impl Log for Broken {
    fn partitions(&self) -> u32 {
        4
    }

    fn append(&self, _: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        self.called.notify_one();
        if self.answers {
            return Box::pin(async { Err(AppendError::Unavailable("/secret".to_owned())) });
        }
        Box::pin(std::future::pending())
    }

    fn durability(&self) -> Durability {
        Durability::Fsynced
    }

    fn subscribe(&self, _: &str, _: Topic) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Unavailable("broken".to_owned()))
    }

    fn bounds(&self, _: Topic) -> BoxFuture<'_, Result<Vec<Bounds>, LogError>> {
        Box::pin(async { Err(LogError::Unavailable("broken".to_owned())) })
    }

    fn retention(&self, _: Topic) -> BoxFuture<'_, Result<Option<Duration>, LogError>> {
        Box::pin(async { Ok(None) })
    }

    fn health(&self) -> Result<(), String> {
        Err("broken".to_owned())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}
