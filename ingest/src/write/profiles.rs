//! Profile changes become records.

use millrace_schema::Topic;
use millrace_schema::parse::Parser;
use millrace_schema::record::Body;

use super::call::Call;
use super::submit::{Submitted, batch_for, push};
use crate::context::Context;
use crate::error::ApiError;

/// Parses a body and appends its profile changes.
pub(super) fn submit(
    ctx: &Context,
    call: &Call,
    body: &[u8],
    parser: &mut Parser,
) -> Result<Submitted, ApiError> {
    let received_us = ctx.clock.now_us();
    let parsed = parser.profiles(body, call.format, &ctx.config.limits, received_us);
    let (items, rejected) = call.judge(ctx, parsed.map_err(ApiError::Invalid)?)?;
    let mut batch = batch_for(items.len(), body);
    for item in items {
        let record = Body::Profile(item.profile);
        push(&mut batch, ctx.partitions, Topic::Profiles, call.project(), received_us, record);
    }
    Ok(Submitted::new(ctx, batch, rejected))
}
