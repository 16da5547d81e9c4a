//! Appends the records of one call, and acknowledges them once they are durable.

use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use millrace_log::{AppendError, Appended, Batch, BoxFuture, Durability};
use millrace_schema::error::ItemError;
use millrace_schema::record::{Body, Record};
use millrace_schema::time::Micros;
use millrace_schema::{Topic, user};
use serde::Serialize;

use super::call::{Call, Rejected};
use super::{Work, work};
use crate::body::Admitted;
use crate::context::Context;
use crate::error::ApiError;
use crate::response::{self, Response};

/// What a record adds to the bytes of its item, about.
const RECORD_OVERHEAD_BYTES: usize = 192;

/// The log's answer to come.
pub(super) type Appending = BoxFuture<'static, Result<Appended, AppendError>>;

/// A call whose records are in the log's queue.
pub(super) struct Submitted {
    /// None if there was nothing to append.
    appending: Option<Appending>,
    accepted: usize,
    rejected: Rejected,
}

impl Submitted {
    /// Hands a batch to the log, in the order of the calls.
    pub(super) fn new(ctx: &Context, batch: Batch, rejected: Rejected) -> Self {
        let accepted = batch.len();
        let appending = (!batch.is_empty()).then(|| ctx.parts.log.append(batch));
        Self { appending, accepted, rejected }
    }
}

/// The body of a lenient 202.
#[derive(Serialize)]
struct Lenient<'r> {
    accepted: usize,
    rejected: &'r [ItemError],
}

/// Submits a body's items and waits for the log.
pub(super) async fn answer(
    ctx: &Arc<Context>,
    call: &Call,
    body: Admitted,
    submit: Work<Submitted>,
) -> Result<Response, ApiError> {
    let Submitted { appending, accepted, rejected } = work(ctx, call, body, submit).await?.0;
    charge(ctx, call, accepted);
    let durability = match appending {
        Some(appending) => durable(ctx, appending).await?.durability,
        // Nothing was asked for, so nothing is missing on disk.
        None => ctx.parts.log.durability(),
    };
    ctx.metrics.of(call.route).items(accepted, rejected.items);
    Ok(accepted_answer(call, durability, accepted, &rejected))
}

/// Waits for the log's answer, but not for ever.
pub(super) async fn durable(ctx: &Context, appending: Appending) -> Result<Appended, AppendError> {
    let within = ctx.config.append_timeout;
    let answer = tokio::time::timeout(within, appending).await;
    answer.unwrap_or(Err(AppendError::TimedOut(within)))
}

/// Charges the project's rate.
pub(super) fn charge(ctx: &Context, call: &Call, items: usize) {
    if let Some(rates) = &ctx.rates {
        rates.charge(call.project(), items, Instant::now());
    }
}

/// The 202: empty, or with what was rejected if that was asked for.
pub(super) fn accepted_answer(
    call: &Call,
    durability: Durability,
    accepted: usize,
    rejected: &Rejected,
) -> Response {
    if !call.lenient {
        return response::accepted(durability);
    }
    let body = Lenient { accepted, rejected: &rejected.errors.errors };
    let mut answer = response::json(StatusCode::ACCEPTED, &body);
    response::acknowledge(&mut answer, durability);
    let applied = HeaderValue::from_static("handling=lenient");
    answer.headers_mut().insert("preference-applied", applied);
    answer
}

/// A batch with room for the items of a body.
pub(super) fn batch_for(items: usize, body: &[u8]) -> Batch {
    Batch::with_capacity(items, body.len().saturating_add(items * RECORD_OVERHEAD_BYTES))
}

/// Adds a record under the key of its user; of its device, its job or its own if it has none.
pub(super) fn push(
    batch: &mut Batch,
    partitions: u32,
    topic: Topic,
    project: &str,
    received_us: Micros,
    body: Body<'_>,
) {
    let record = Record { project: project.into(), received_us, body };
    let key = |out: &mut Vec<u8>| match &record.body {
        Body::Device(device) if device.user.is_none() => {
            user::write_device_key(out, project, &device.device_id);
        }
        Body::Job(job) => user::write_user_key(out, project, &job.job.to_string()),
        Body::Refused(refused) => user::write_user_key(out, project, &refused.id),
        body => user::write_user_key(out, project, body.user().unwrap_or_default()),
    };
    batch.push(topic, partitions, key, |out| record.encode(out));
}
