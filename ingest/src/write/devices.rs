//! Device changes become records.

use millrace_schema::Topic;
use millrace_schema::parse::Parser;
use millrace_schema::record::Body;

use super::call::Call;
use super::submit::{Submitted, batch_for, push};
use crate::context::Context;
use crate::error::ApiError;

/// Parses a body and appends its device changes.
pub(super) fn submit(
    ctx: &Context,
    call: &Call,
    body: &[u8],
    parser: &mut Parser,
) -> Result<Submitted, ApiError> {
    let received_us = ctx.clock.now_us();
    let parsed = parser.devices(body, call.format, &ctx.config.limits, received_us);
    let (items, rejected) = call.judge(ctx, parsed.map_err(ApiError::Invalid)?)?;
    let mut batch = batch_for(items.len(), body);
    for item in items {
        // Each its own time: items of one request may link one device to several users.
        let received_us = ctx.clock.now_us();
        let record = Body::Device(item.device);
        push(&mut batch, ctx.partitions, Topic::Devices, call.project(), received_us, record);
    }
    Ok(Submitted::new(ctx, batch, rejected))
}
