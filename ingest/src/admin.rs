//! The admin address: metrics, the ledger, health. For operators, so without keys.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use crate::context::Context;
use crate::error::ApiError;
use crate::refusal::Refusal;
use crate::response::{self, Response};
use crate::route::Api;
use crate::{health, read};

/// Answers a request of an operator.
pub(crate) async fn serve(ctx: Arc<Context>, request: Request<Incoming>) -> Response {
    let answer = answer(&ctx, request.method(), request.uri().path()).await;
    answer.unwrap_or_else(|error| Refusal::from(error).answer(Api::Ingestion))
}

async fn answer(ctx: &Context, method: &Method, path: &str) -> Result<Response, ApiError> {
    if !["/metrics", "/ledger", "/healthz", "/livez", "/readyz"].contains(&path) {
        return Err(ApiError::NotFound("there is no such route on the admin address"));
    }
    if ![Method::GET, Method::HEAD].contains(method) {
        return Err(ApiError::MethodNotAllowed("GET, HEAD"));
    }
    match path {
        "/metrics" => Ok(response::with_type(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            ctx.render_metrics(),
        )),
        "/ledger" => read::ledger(ctx).await,
        "/readyz" => Ok(health::ready(ctx)),
        _ => Ok(health::alive()),
    }
}
