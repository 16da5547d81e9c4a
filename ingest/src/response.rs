//! Answers: JSON bodies, error bodies, the empty 202.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use millrace_log::Durability;
use millrace_schema::error::{ErrorCode, ItemErrors};
use serde::Serialize;

use crate::error::ApiError;

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

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The body of every refusal.
#[derive(Serialize)]
struct ErrorBody {
    code: ErrorCode,
    message: String,
    #[serde(flatten)]
    details: ItemErrors,
}

/// A refusal.
pub(crate) fn refusal(error: &ApiError) -> Response {
    let body = ErrorBody { code: error.code(), message: error.message(), details: error.details() };
    let mut response = json(error.status(), &body);
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match error {
        ApiError::MethodNotAllowed(allow) => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        ApiError::Unauthorized(_) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        ApiError::UnsupportedEncoding => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, deflate, br"));
        }
        // What is left of the body cannot be told from a next request.
        ApiError::RequestTimeout(_) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_405_says_what_is_allowed_and_a_503_when_to_come_back() {
        let response = refusal(&ApiError::MethodNotAllowed("GET, HEAD"));
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let response = refusal(&ApiError::Unavailable("later"));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn an_error_body_has_all_four_members() {
        let error = ApiError::request(ErrorCode::MissingField, Some("project_id"), "missing");
        let body =
            ErrorBody { code: error.code(), message: error.message(), details: error.details() };
        assert_eq!(
            serde_json::to_value(body).unwrap(),
            serde_json::json!({
                "code": "INVALID_REQUEST",
                "message": "Invalid request parameters.",
                "total": 1,
                "errors": [{"field": "project_id", "code": "MISSING_FIELD", "message": "missing"}],
            })
        );
    }
}
