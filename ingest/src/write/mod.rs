//! The calls that write: body in, records appended, acknowledgement out.

mod call;
mod deletion;
mod devices;
mod events;
mod log;
mod profiles;
mod submit;
mod users;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use millrace_accounts::Principal;
use millrace_schema::parse::Parser;

use crate::admission::Permit;
use crate::body::{self, Admitted};
use crate::context::Context;
use crate::decode::{self, Encoding};
use crate::error::ApiError;
use crate::response::Response;
use crate::route::Route;
use call::Call;

/// Bodies up to this size are parsed where they arrive; larger and encoded ones elsewhere, so that
/// they do not hold up other connections.
const INLINE_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    /// Its buffers stay as large as the largest body parsed inline.
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
}

/// Answers a call that writes.
///
/// # Errors
/// Everything but a 202, or the 200 of a log call.
pub(crate) async fn answer(
    ctx: &Arc<Context>,
    route: Route,
    head: &Parts,
    body: &mut Incoming,
    principal: Arc<Principal>,
) -> Result<Response, ApiError> {
    let call = Call::new(route, &head.headers, principal)?;
    if let Some(rates) = &ctx.rates {
        rates.check(call.project(), Instant::now())?;
    }
    let limit_bytes = call.body_bytes_max(&ctx.config.limits);
    let body = body::read(body, &ctx.admission, limit_bytes, ctx.config.body_timeout).await?;
    ctx.metrics.of(route).body(body.bytes.len());
    match route {
        Route::Deletion => deletion::answer(ctx, &call, body, deletion::one_user).await,
        Route::BulkDeletion => deletion::answer(ctx, &call, body, deletion::many_users).await,
        Route::Profiles => submit::answer(ctx, &call, body, profiles::submit).await,
        Route::Devices => submit::answer(ctx, &call, body, devices::submit).await,
        Route::AdLog | Route::Activity => log::answer(ctx, &call, body).await,
        _ => submit::answer(ctx, &call, body, events::submit).await,
    }
}

/// What is done with a decoded body.
type Work<T> = fn(&Context, &Call, &[u8], &mut Parser) -> Result<T, ApiError>;

/// Decodes a body and works on it; what is large or encoded, on a thread of its own. Once begun,
/// the work is done even if the client hangs up.
async fn work<T: Send + 'static>(
    ctx: &Arc<Context>,
    call: &Call,
    body: Admitted,
    work: Work<T>,
) -> Result<(T, Permit), ApiError> {
    let Admitted { bytes, mut permit } = body;
    if call.encoding == Encoding::Identity && bytes.len() <= INLINE_BYTES_MAX {
        let done = PARSER.with_borrow_mut(|parser| work(ctx, call, &bytes, parser))?;
        return Ok((done, permit));
    }
    // Never closed, so the only outcome is a permit.
    let turn = Arc::clone(&ctx.heavy_work).acquire_owned().await.map_err(|_| ApiError::Internal)?;
    let (ctx, call) = (Arc::clone(ctx), call.clone());
    let task = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut parser = Parser::new();
        if call.encoding == Encoding::Identity {
            return Ok((work(&ctx, &call, &bytes, &mut parser)?, permit));
        }
        let limit_bytes = call.body_bytes_max(&ctx.config.limits);
        let decoded = decode::decode(call.encoding, &bytes, limit_bytes, &mut permit)?;
        drop(bytes);
        Ok((work(&ctx, &call, &decoded, &mut parser)?, permit))
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "work on a body failed");
        Err(ApiError::Internal)
    })
}
