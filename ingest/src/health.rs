//! Alive, and ready.

use hyper::StatusCode;
use serde::Serialize;

use crate::context::Context;
use crate::response::{self, Response};

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    reasons: Vec<String>,
}

/// 200 as long as the process answers at all.
pub(crate) fn alive() -> Response {
    response::with_type(StatusCode::OK, response::JSON, r#"{"status":"alive"}"#)
}

/// 200 if requests can be expected to succeed, else 503 with the reasons.
pub(crate) fn ready(ctx: &Context) -> Response {
    let reasons = ctx.unready();
    if reasons.is_empty() {
        return response::json(StatusCode::OK, &Readiness { status: "ready", reasons });
    }
    response::json(StatusCode::SERVICE_UNAVAILABLE, &Readiness { status: "not ready", reasons })
}
