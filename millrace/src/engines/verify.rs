//! Whether the log reaches as far as the store has applied it. If it did not, new records would get
//! offsets that count as applied, and would never be.
//!
//! Embedded engines are held against each other before anything starts. Servers may be away, so
//! they are once both are reached, and again and again: a topic can be made anew at any time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millrace_ingest::{Problem, Standing, StandingsError, standings};
use millrace_log::Log;
use millrace_schema::Topic;
use millrace_store::Store;
use tokio::sync::watch;

use super::Engines;

/// Between two looks that found nothing wrong.
const EVERY: Duration = Duration::from_secs(10);
/// Until the first look succeeds, and after one that found something wrong.
const AGAIN: Duration = Duration::from_secs(1);
/// What is wrong must be seen so often in a row: a broker that just took over may not know its end.
const BELIEVED_AFTER: u32 = 3;

/// A partition whose log ends before what was applied of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beyond {
    topic: Topic,
    partition: u32,
    frontier: u64,
    end: u64,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, frontier, end } = self;
        let topic = topic.short_name();
        write!(
            f,
            "the store has applied {topic}/{partition} up to offset {frontier}, but the log ends \
             at {end}"
        )
    }
}

#[derive(Clone, Debug)]
enum State {
    Unknown,
    Whole,
    Beyond(Beyond),
}

/// How log and store of a process stand to each other.
pub(crate) struct Verification {
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    state: watch::Sender<State>,
    remote: bool,
}

impl Verification {
    /// Of these engines.
    ///
    /// # Errors
    /// They are embedded, and the log ends too early; or one of them cannot be read.
    pub(crate) async fn of(engines: &Engines) -> Result<Arc<Self>> {
        let (log, store) = (Arc::clone(&engines.log), Arc::clone(&engines.store));
        let remote = engines.are_remote();
        let state = if remote {
            State::Unknown
        } else {
            if let Some(beyond) = look(&*log, &*store).await.context("no positions")? {
                bail!(
                    "{beyond}: the log lost its end, or is another one, and new records would be \
                     taken for applied ones; restore the folders log and store from the same copy, \
                     or go on without what the log lost: `millrace log repair`"
                );
            }
            State::Whole
        };
        Ok(Arc::new(Self { log, store, state: watch::Sender::new(state), remote }))
    }

    /// Waits until both were held against each other, and nothing was wrong.
    pub(crate) async fn whole(&self) {
        let mut state = self.state.subscribe();
        // It cannot end: `self` holds the sender.
        let _ = state.wait_for(|state| matches!(state, State::Whole)).await;
    }

    /// A condition of readiness.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        match &*self.state.borrow() {
            State::Whole => Ok(()),
            State::Unknown => Err(Problem::NotReady(
                "ledger: not yet held against the log, which needs both log and store".to_owned(),
            )),
            State::Beyond(beyond) => Err(Problem::NotReady(format!("ledger: {beyond}"))),
        }
    }

    /// Looks again and again. Resolves once it is certain that the log ends too early, with what
    /// to do. A server that is away is waited for.
    pub(crate) async fn broken(&self) -> String {
        if !self.remote {
            return std::future::pending().await;
        }
        let mut seen = 0;
        loop {
            match look(&*self.log, &*self.store).await {
                Ok(None) => {
                    seen = 0;
                    self.state.send_replace(State::Whole);
                }
                Ok(Some(beyond)) => {
                    seen += 1;
                    tracing::error!(seen, "{beyond}");
                    if seen >= BELIEVED_AFTER {
                        return advice(beyond);
                    }
                    self.state.send_replace(State::Beyond(beyond));
                }
                Err(error) => tracing::debug!(%error, "log and ledger cannot be compared"),
            }
            let whole = matches!(*self.state.borrow(), State::Whole);
            tokio::time::sleep(if whole { EVERY } else { AGAIN }).await;
        }
    }
}

fn advice(beyond: Beyond) -> String {
    let topic = beyond.topic.short_name();
    format!(
        "{beyond}: the topic was made anew or cut, or belongs to another keyspace, and new records \
         would be taken for applied ones; check --kafka, --kafka-prefix, --cql and --cql-keyspace; \
         if the topic is the right one, read in the manual what is lost, stop every front door and \
         worker, and run `millrace migrate --recreated {topic}`"
    )
}

async fn look(log: &dyn Log, store: &dyn Store) -> Result<Option<Beyond>, StandingsError> {
    let standings = standings(log, store).await?;
    let beyond = |Standing { row, bounds }: Standing| Beyond {
        topic: row.topic,
        partition: row.partition,
        frontier: row.frontier,
        end: bounds.end,
    };
    Ok(standings.into_iter().map(beyond).find(|found| found.frontier > found.end))
}

#[cfg(test)]
mod tests {
    use millrace_log::embedded::Config;
    use millrace_store::Commit;

    use super::*;
    use crate::engines::embedded;
    use crate::folder::{DataFolder, Layout};

    async fn with_frontier_beyond_the_end(engines: &Engines) {
        let mut ledger = engines.store.claim(Topic::Events, 1).await.unwrap();
        ledger.sequence += 1;
        ledger.frontier = 3;
        let generation = engines.store.generation().await.unwrap();
        engines.store.commit(Commit { writes: Vec::new(), ledger, generation }).await.unwrap();
    }

    fn engines(dir: &tempfile::TempDir) -> (DataFolder, Engines) {
        let folder = DataFolder::open(Layout::new(&dir.path().join("data"))).unwrap();
        let engines = embedded::open(&folder, Config::default()).unwrap();
        (folder, engines)
    }

    #[tokio::test]
    async fn an_embedded_log_that_ends_before_what_was_applied_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (_folder, engines) = engines(&dir);
        assert_eq!(Verification::of(&engines).await.unwrap().check(), Ok(()));
        with_frontier_beyond_the_end(&engines).await;
        let Err(error) = Verification::of(&engines).await else { panic!("accepted") };
        let error = error.to_string();
        assert!(error.contains("events/1 up to offset 3, but the log ends at 0"), "{error}");
        engines.close().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn on_servers_it_is_said_what_to_do_once_it_was_seen_three_times() {
        let dir = tempfile::tempdir().unwrap();
        let (_folder, engines) = engines(&dir);
        let engines = Engines { store_health: Some(Arc::new(|| Ok(()))), ..engines };
        let verification = Verification::of(&engines).await.unwrap();
        let Err(Problem::NotReady(reason)) = verification.check() else { panic!("ready") };
        assert!(reason.contains("not yet held against the log"), "{reason}");
        tokio::select! {
            reason = verification.broken() => panic!("{reason}"),
            () = verification.whole() => assert_eq!(verification.check(), Ok(())),
        }
        with_frontier_beyond_the_end(&engines).await;
        let reason = verification.broken().await;
        assert!(reason.starts_with("the store has applied events/1 up to offset 3"), "{reason}");
        assert!(reason.contains("`millrace migrate --recreated events`"), "{reason}");
        let Err(Problem::NotReady(_)) = verification.check() else { panic!("ready") };
        engines.close().await.unwrap();
    }
}
