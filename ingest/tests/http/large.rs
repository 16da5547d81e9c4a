//! Large deletions: many at once, and on a log that has little room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millrace_log::embedded::EmbeddedLog;
use millrace_log::{
    AppendError, Appended, Batch, Bounds, BoxFuture, Durability, Log, LogError, Subscription,
};
use millrace_schema::Topic;
use tokio::sync::Semaphore;

use crate::fixture::{Fixture, config};

/// Far more calls than there are turns for deletions.
const CALLS: usize = 48;
/// More than two pieces of each call.
const IDS: usize = 5_000;
/// Two pieces for each of the 32 turns, of 1,024 users in three topics, 256 bytes a marker: as much
/// as is ever on its way to the log.
const BYTES_MAX: usize = 2 * 32 * 1_024 * 3 * 256;

/// A log that acknowledges nothing before it is told to.
struct Stalled {
    open: Arc<Semaphore>,
    waiting_bytes: Arc<AtomicUsize>,
    most_bytes: AtomicUsize,
    calls: AtomicUsize,
}

impl Log for Stalled {
    fn partitions(&self) -> u32 {
        4
    }

    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Appended, AppendError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (open, waiting, bytes) = (self.open.clone(), self.waiting_bytes.clone(), batch.bytes());
        let now = waiting.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.most_bytes.fetch_max(now, Ordering::SeqCst);
        Box::pin(async move {
            drop(open.acquire().await.unwrap());
            waiting.fetch_sub(bytes, Ordering::SeqCst);
            let offsets = vec![0; batch.len()];
            Ok(Appended { durability: Durability::Fsynced, offsets })
        })
    }

    fn durability(&self) -> Durability {
        Durability::Fsynced
    }

    fn subscribe(&self, _: &str, _: Topic) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Unavailable("nobody reads".to_owned()))
    }

    fn bounds(&self, _: Topic) -> BoxFuture<'_, Result<Vec<Bounds>, LogError>> {
        Box::pin(async { Err(LogError::Unavailable("nobody reads".to_owned())) })
    }

    fn retention(&self, _: Topic) -> BoxFuture<'_, Result<Option<Duration>, LogError>> {
        Box::pin(async { Ok(None) })
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_beyond_the_turns_wait_with_nothing_but_their_body() {
    let log = Arc::new(Stalled {
        open: Arc::new(Semaphore::new(0)),
        waiting_bytes: Arc::default(),
        most_bytes: AtomicUsize::new(0),
        calls: AtomicUsize::new(0),
    });
    let config = millrace_ingest::Config { append_timeout: Duration::from_secs(60), ..config() };
    let fixture = Arc::new(Fixture::with(config, Some(log.clone())).await);
    let ids: Vec<String> = (0..IDS).map(|n| format!("\"u{n:06}\"")).collect();
    let body = Arc::new(format!("{{\"user_ids\":[{}]}}", ids.join(",")).into_bytes());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLS {
        let (fixture, body) = (fixture.clone(), body.clone());
        let path = "/v1/api/profile/user/deletion-job/bulk";
        calls.spawn(async move { fixture.post(path, "", &body).await.status });
    }
    // Two pieces each, and not one call more than there are turns.
    while log.calls.load(Ordering::SeqCst) < 64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    log.open.add_permits(1);
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 202);
    }
    let most = log.most_bytes.load(Ordering::SeqCst);
    assert!(most <= BYTES_MAX, "{most} bytes on their way");
    assert_eq!(log.waiting_bytes.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_which_the_log_has_no_room_for_two_pieces_is_accepted_whole() {
    let dir = tempfile::tempdir().unwrap();
    // A piece takes more than half of it.
    let narrow = millrace_log::embedded::Config {
        queue_bytes: 3 * 1_024 * 256,
        ..millrace_log::embedded::Config::default()
    };
    let log = Arc::new(EmbeddedLog::open(&dir.path().join("log"), narrow).unwrap());
    let fixture = Fixture::with(config(), Some(log.clone())).await;
    let ids: Vec<String> = (0..IDS).map(|n| format!("\"u{n:06}\"")).collect();
    let body = format!("{{\"user_ids\":[{}]}}", ids.join(","));
    let path = "/v1/api/profile/user/deletion-job/bulk";
    let answer = fixture.post(path, "", body.as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    let bounds = log.bounds(Topic::Events).await.unwrap();
    let markers: u64 = bounds.iter().map(|bounds| bounds.end - bounds.start).sum();
    assert_eq!(markers, IDS as u64);
}
