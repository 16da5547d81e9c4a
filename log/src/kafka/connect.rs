//! Gets the log ready, however long the brokers take.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer, ThreadedProducer};

use super::context::Producing;
use super::shared::{Shared, Status};
use super::topics::{is_replicated, metadata, mismatches, read};

/// What cannot mend itself must be seen so often before it is believed: a broker that starts may
/// not know yet what it has.
const BELIEVED_AFTER: u32 = 3;

/// Why the log is not ready.
enum NotReady {
    /// It will be tried again.
    Away(String),
    /// It will not mend itself.
    Wrong(String),
}

/// How often the producer is asked whether it can go on.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Gets the log ready, and ends it when the producer cannot go on.
pub(super) async fn connect(shared: Arc<Shared>, producer: Arc<ThreadedProducer<Producing>>) {
    tokio::join!(get_ready(&shared, &producer), watch(&shared, &producer));
}

/// Waits for what the producer itself takes for fatal: going on would risk order, or doubles.
pub(super) async fn watch(shared: &Shared, producer: &ThreadedProducer<Producing>) {
    loop {
        if let Some((code, reason)) = producer.client().fatal_error() {
            return shared.fail(format!("the producer cannot go on: {code}: {reason}"));
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// Tries until the log is ready, or cannot be.
async fn get_ready(shared: &Arc<Shared>, producer: &Arc<ThreadedProducer<Producing>>) {
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times()
        .with_jitter();
    let mut delay = delays.build();
    let mut seen = 0;
    loop {
        match check(shared, producer).await {
            Ok(()) => break,
            Err(NotReady::Away(reason)) => {
                seen = 0;
                shared.set_status(Status::Connecting(reason));
            }
            Err(NotReady::Wrong(reason)) => {
                seen += 1;
                if seen >= BELIEVED_AFTER {
                    return shared.fail(reason);
                }
                shared.set_status(Status::Connecting(reason));
            }
        }
        let wait = if seen > 0 { Some(Duration::from_millis(500)) } else { delay.next() };
        tokio::time::sleep(wait.unwrap_or(Duration::from_secs(1))).await;
    }
    await_producer_id(shared).await;
}

/// The first acknowledgement would take so much longer.
pub(super) async fn await_producer_id(shared: &Shared) {
    shared.set_status(Status::Connecting("waiting for the producer's id".to_owned()));
    // It cannot end: `shared` holds the sender.
    let _ = shared.has_producer_id.subscribe().wait_for(|has_id| *has_id).await;
    shared.set_status(Status::Ready);
}

async fn check(
    shared: &Arc<Shared>,
    producer: &Arc<ThreadedProducer<Producing>>,
) -> Result<(), NotReady> {
    let config = &shared.config;
    let asking = Arc::clone(producer);
    let answer = tokio::task::spawn_blocking(move || metadata(asking.client())).await;
    let answer = answer.map_err(|error| NotReady::Away(error.to_string()))?;
    let metadata = answer.map_err(|error| not_reached(shared, &error))?;
    let admin = AdminClient::from_config(&config.client());
    let admin = admin.map_err(|error| NotReady::Away(error.to_string()))?;
    let found = read(config, &metadata, &admin).await;
    let found = found.map_err(|error| not_reached(shared, &error))?;
    let leaderless = || NotReady::Away("some partitions have no leader".to_owned());
    let found = found.ok_or_else(leaderless)?;
    let wrong = mismatches(config, &found, None);
    if !wrong.is_empty() {
        return Err(NotReady::Wrong(wrong.join("; ")));
    }
    shared.set_replicated(is_replicated(&found));
    Ok(())
}

/// Tells brokers that are away from brokers that do not want us.
fn not_reached(shared: &Shared, error: &KafkaError) -> NotReady {
    let bootstrap = &shared.config.bootstrap;
    let Some((code, reason)) = shared.last_error() else {
        return NotReady::Away(format!("{bootstrap} is not reached: {error}"));
    };
    match code {
        RDKafkaErrorCode::Authentication => NotReady::Wrong(format!(
            "{bootstrap} refuses the user name or password: {reason}: check both, and the mechanism"
        )),
        // A connection that just ends may be a proxy before a broker that is away.
        RDKafkaErrorCode::SSL if !reason.contains("isconnected") => NotReady::Wrong(format!(
            "TLS to {bootstrap} fails: {reason}: check the certificates, and that the port is for \
             TLS"
        )),
        _ => NotReady::Away(format!("{bootstrap} is not reached: {reason}")),
    }
}
