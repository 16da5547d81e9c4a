//! Alive, and ready.

use hyper::StatusCode;

use crate::context::Context;
use crate::response::{self, Response};

/// 200 as long as the process answers at all.
pub(crate) fn alive() -> Response {
    response::with_type(StatusCode::OK, response::JSON, r#"{"status":"alive"}"#)
}

/// 200 if requests can be expected to succeed, else 503 with the reasons.
pub(crate) fn ready(ctx: &Context) -> Response {
    let report = ctx.parts.readiness.report();
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response::json(status, &report)
}
