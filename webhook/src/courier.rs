//! One delivery: the attempt, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures::stream::{StreamExt, iter};
use hyper::{Response, StatusCode};
use metrics::{Counter, counter};
use millrace_client::{Client, ClientError};
use millrace_schema::time::{Micros, wall_clock_us};
use millrace_store::{Completion, Delivery, DeliveryState, Store, StoreError};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::schedule::{due_us, is_given_up};
use crate::{Config, Sign, message};

const US_PER_SECOND: Micros = 1_000_000;
/// Between two tries to write what became of an attempt.
const RETRY_WRITE_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Courier {
    store: Arc<dyn Store>,
    client: Client,
    sign: Sign,
    config: Config,
    calls: Semaphore,
    meters: Meters,
}

struct Meters {
    delivered: Counter,
    retried: Counter,
    failed: Counter,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Delivered,
    /// Worth another attempt.
    Retry(String),
    /// No further attempt would do better.
    Failed(String),
}

impl Courier {
    pub(crate) fn new(store: Arc<dyn Store>, client: Client, sign: Sign, config: Config) -> Self {
        let of = |outcome| counter!("millrace_webhook_deliveries_total", "outcome" => outcome);
        let meters =
            Meters { delivered: of("delivered"), retried: of("retried"), failed: of("failed") };
        let calls = Semaphore::new(config.calls_max);
        Self { store, client, sign, config, calls, meters }
    }

    pub(crate) fn is_due(&self, job: Uuid, delivery: &Delivery, now_us: Micros) -> bool {
        delivery.state == DeliveryState::Pending && due_us(&self.config, job, delivery) <= now_us
    }

    /// Tries the deliveries of some jobs of a project, a few at a time.
    pub(crate) async fn round(&self, project: &str, jobs: Vec<Uuid>) {
        let attempts =
            iter(jobs).for_each_concurrent(self.config.calls_per_project_max, async |job| {
                if let Err(error) = self.attempt(project, job).await {
                    warn!(%job, %error, "a delivery was put off");
                }
            });
        attempts.await;
    }

    /// One attempt, if it is due and the job is completed.
    async fn attempt(&self, project: &str, job: Uuid) -> Result<(), StoreError> {
        // It is never closed.
        let _turn = self.calls.acquire().await;
        let Some(mut delivery) = self.pending(project, job).await? else { return Ok(()) };
        let row = self.store.job(project, job).await?;
        let settled = row
            .as_ref()
            .and_then(|row| row.settled_completion(wall_clock_us(), self.store.settle()));
        let Some(completion) = settled else { return Ok(()) };
        if !self.is_due(job, &delivery, wall_clock_us()) {
            return Ok(());
        }
        // Noted beforehand: a process that dies here must not try again without a delay.
        delivery.attempts = delivery.attempts.saturating_add(1);
        delivery.updated_us = wall_clock_us();
        self.store.put_delivery(project, job, delivery.clone()).await?;
        let outcome = self.send(&delivery.url, completion).await;
        self.note(project, job, delivery, completion, outcome).await
    }

    /// The delivery as it is now, if it is to be made.
    async fn pending(&self, project: &str, job: Uuid) -> Result<Option<Delivery>, StoreError> {
        let read = self.store.deliveries(project, vec![job]).await?;
        let is_pending = |delivery: &Delivery| delivery.state == DeliveryState::Pending;
        Ok(read.into_iter().flatten().next().filter(is_pending))
    }

    async fn send(&self, url: &str, completion: &Completion) -> Outcome {
        let Some(receipt) = &completion.receipt else {
            return Outcome::Failed("the job has failed, so it has no receipt".to_owned());
        };
        let now_seconds = wall_clock_us().div_euclid(US_PER_SECOND);
        match message::request(url, &receipt.token, now_seconds, &*self.sign) {
            Some(request) => outcome(self.client.call(request).await),
            None => Outcome::Failed("the address or the receipt cannot be read".to_owned()),
        }
    }

    /// Writes what became of an attempt.
    async fn note(
        &self,
        project: &str,
        job: Uuid,
        mut delivery: Delivery,
        completion: &Completion,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        delivery.updated_us = wall_clock_us();
        let next_us = due_us(&self.config, job, &delivery);
        let outcome = match outcome {
            Outcome::Retry(error)
                if is_given_up(&self.config, completion.completed_us, next_us) =>
            {
                Outcome::Failed(format!("given up: {error}"))
            }
            outcome => outcome,
        };
        let attempts = delivery.attempts;
        match outcome {
            Outcome::Delivered => {
                info!(%job, attempts, "a receipt is delivered");
                self.meters.delivered.increment(1);
                (delivery.state, delivery.error) = (DeliveryState::Delivered, None);
            }
            Outcome::Retry(error) => {
                debug!(%job, attempts, error, "a receipt will be sent again");
                self.meters.retried.increment(1);
                delivery.error = Some(error);
            }
            Outcome::Failed(error) => {
                warn!(%job, attempts, error, "a receipt could not be delivered");
                self.meters.failed.increment(1);
                (delivery.state, delivery.error) = (DeliveryState::Failed, Some(error));
            }
        }
        let delays = ExponentialBuilder::default()
            .with_max_delay(RETRY_WRITE_MAX)
            .without_max_times()
            .with_jitter();
        let write = || self.write(project, job, &delivery);
        let is_away = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
        write.retry(delays).when(is_away).await
    }

    /// Another process may have delivered it meanwhile.
    async fn write(&self, project: &str, job: Uuid, delivery: &Delivery) -> Result<(), StoreError> {
        let delivered = delivery.state == DeliveryState::Delivered;
        if !delivered && self.pending(project, job).await?.is_none() {
            return Ok(());
        }
        self.store.put_delivery(project, job, delivery.clone()).await
    }
}

fn outcome(answer: Result<Response<Bytes>, ClientError>) -> Outcome {
    match answer.map(|response| response.status()) {
        Ok(status) if status.is_success() => Outcome::Delivered,
        Ok(StatusCode::GONE) => Outcome::Failed("the answer is 410: nobody wants it".to_owned()),
        Ok(status) => Outcome::Retry(format!("the answer is {}", status.as_u16())),
        Err(error @ ClientError::Url(_)) => Outcome::Failed(error.to_string()),
        Err(error) => Outcome::Retry(error.to_string()),
    }
}
