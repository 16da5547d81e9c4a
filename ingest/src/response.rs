//! Answers: JSON bodies, and empty ones.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use millrace_log::Durability;
use serde::Serialize;

/// What is answered.
pub(crate) type Response = hyper::Response<Full<Bytes>>;

/// The header that says how durable an accepted request is.
const MILLRACE_ACK: HeaderName = HeaderName::from_static("millrace-ack");

/// The content type of nearly every body of the API.
pub(crate) const JSON: &str = "application/json";

/// A JSON answer.
pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    json_as(status, JSON, value)
}

/// An answer of some kind of JSON.
pub(crate) fn json_as<T: Serialize + ?Sized>(
    status: StatusCode,
    content_type: &'static str,
    value: &T,
) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, content_type, body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be serialized");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// An answer of some other type, or of JSON that is text already.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 202 without a body: the request is durable.
pub(crate) fn accepted(durability: Durability) -> Response {
    let mut response = empty(StatusCode::ACCEPTED);
    acknowledge(&mut response, durability);
    response
}

/// Says how durable the request is.
pub(crate) fn acknowledge(response: &mut Response, durability: Durability) {
    let name = HeaderValue::from_static(durability.name());
    response.headers_mut().insert(MILLRACE_ACK, name);
}

/// The JSON `null`: there is nothing to say.
pub(crate) fn null(status: StatusCode) -> Response {
    with_type(status, JSON, "null")
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
