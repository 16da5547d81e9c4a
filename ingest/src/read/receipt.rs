//! `GET …/deletion-job/{job_id}/receipt` and `GET /.well-known/jwks.json`: what proves a deletion,
//! and what the proof is checked with.

use hyper::StatusCode;
use millrace_schema::time::wall_clock_us;

use super::jobs;
use crate::context::Context;
use crate::error::ApiError;
use crate::response::{Response, json_as, with_type};

/// RFC 7519, section 10.3.1.
const JWT: &str = "application/jwt";
/// RFC 7517, section 8.5.2.
const JWK_SET: &str = "application/jwk-set+json";

/// The receipt of a completed job, as it was signed.
///
/// # Errors
/// 404 while the job is not known, 409 while it is not completed, and for good if it has failed.
pub(crate) async fn receipt(
    ctx: &Context,
    project: &str,
    segment: &str,
) -> Result<Response, ApiError> {
    let row = jobs::find(ctx, project, segment).await?;
    let settle = ctx.parts.store.settle();
    let Some(completion) = row.settled_completion(wall_clock_us(), settle) else {
        return Err(ApiError::Conflict(
            "the job is not completed yet; its receipt is there when its `status` is `completed`",
        ));
    };
    let Some(receipt) = &completion.receipt else {
        return Err(ApiError::Conflict(
            "the job has failed: some of what it had to erase was still there; it has no receipt",
        ));
    };
    Ok(with_type(StatusCode::OK, JWT, receipt.token.clone()))
}

/// All keys that ever signed receipts.
///
/// # Errors
/// They were never read, because the store is away.
pub(crate) async fn jwks(ctx: &Context) -> Result<Response, ApiError> {
    let keys = ctx.parts.receipt_keys.jwks().await?;
    Ok(json_as(StatusCode::OK, JWK_SET, &*keys))
}
