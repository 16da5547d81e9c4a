//! The two log calls: one ad log or one activity becomes one event. What can be none is appended
//! all the same, for the worker to make a dead letter of: the answer does not tell them apart.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use millrace_schema::error::ItemErrors;
use millrace_schema::parse::Parser;
use millrace_schema::record::{Body, Event, Refused};
use millrace_schema::time::Micros;
use millrace_schema::{Topic, id};

use super::call::Call;
use super::submit::{Appending, batch_for, charge, durable, push};
use super::work;
use crate::body::Admitted;
use crate::context::Context;
use crate::error::ApiError;
use crate::response::{self, Response};
use crate::route::Route;

/// A body that is in the log's queue.
struct Logged {
    appending: Appending,
    /// Whether it is an event.
    valid: bool,
}

/// Appends what a log call brings and waits for the log.
pub(super) async fn answer(
    ctx: &Arc<Context>,
    call: &Call,
    body: Admitted,
) -> Result<Response, ApiError> {
    let sent = Bytes::clone(&body.bytes);
    let logged = match work(ctx, call, body, submit).await {
        Ok((logged, _)) => logged,
        // It could not be decoded; what is kept of it is what came.
        Err(ApiError::Invalid(errors)) => append(ctx, call, &sent, ctx.clock.now_us(), Err(errors)),
        Err(error) => return Err(error),
    };
    charge(ctx, call, 1);
    let durability = durable(ctx, logged.appending).await?.durability;
    let valid = usize::from(logged.valid);
    ctx.metrics.of(call.route).items(valid, 1 - valid);
    let mut answer = response::accepted(durability);
    *answer.status_mut() = StatusCode::OK;
    Ok(answer)
}

fn submit(
    ctx: &Context,
    call: &Call,
    body: &[u8],
    parser: &mut Parser,
) -> Result<Logged, ApiError> {
    let received_us = ctx.clock.now_us();
    let limits = &ctx.config.limits;
    let event = match call.route {
        Route::AdLog => parser.ad_log(body, limits),
        _ => parser.activity(body, limits, received_us, activity_id(call, body, received_us)),
    };
    Ok(append(ctx, call, body, received_us, event))
}

/// As of an event that came without an id.
fn activity_id(call: &Call, body: &[u8], received_us: Micros) -> uuid::Uuid {
    match call.idempotency_key() {
        Some(key) => id::derived_id(&[call.project().as_bytes(), key, b"0", body]),
        None => id::new_id(received_us),
    }
}

/// Hands the event to the log, or what was sent and the reason why it is none.
fn append(
    ctx: &Context,
    call: &Call,
    sent: &[u8],
    received_us: Micros,
    event: Result<Event<'_>, ItemErrors>,
) -> Logged {
    let valid = event.is_ok();
    let body = event.map_or_else(
        |errors| {
            let id = id::new_id(received_us).to_string();
            Body::Refused(Refused::new(id, reason(call.route, &errors), sent))
        },
        Body::Event,
    );
    let mut batch = batch_for(1, sent);
    push(&mut batch, ctx.partitions, Topic::Events, call.project(), received_us, body);
    Logged { appending: ctx.parts.log.append(batch), valid }
}

/// Which call it was, and all that is wrong: what was sent is not in it.
fn reason(route: Route, errors: &ItemErrors) -> String {
    let what = if route == Route::AdLog { "ad log" } else { "activity" };
    let found: Vec<&str> = errors.errors.iter().map(|error| &*error.message).collect();
    format!("not an {what}: {}", found.join("; "))
}
