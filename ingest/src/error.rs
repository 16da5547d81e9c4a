//! Every way in which the front door itself refuses a call: one enum, one table of statuses and
//! codes. Must not know in which shape it is said.

use std::time::Duration;

use hyper::StatusCode;
use millrace_accounts::{KeyError, Scope};
use millrace_log::AppendError;
use millrace_schema::error::{ErrorCode, ItemError, ItemErrors};
use millrace_store::StoreError;

use crate::standing::StandingsError;

/// What a client may do sooner than it would by itself.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// 401: the key is missing, malformed, expired, revoked, or of another project.
    #[error("{0}")]
    Unauthorized(Refused),
    /// 403: the key lacks the scope.
    #[error("the key lacks the scope {0:?}")]
    Forbidden(&'static str),
    /// 400: what the call brings is not as it must be.
    #[error("{} errors in the request", .0.total)]
    Invalid(ItemErrors),
    /// 400 of the bulk deletion, which has a message of its own.
    #[error("{} errors in the request", .0.total)]
    InvalidDeletion(ItemErrors),
    /// 404: no such route, user or job.
    #[error("{0}")]
    NotFound(&'static str),
    /// 404 with `Retry-After`: accepted, but the workers have not read it yet.
    #[error("{0}")]
    NotYetKnown(&'static str),
    /// 409: not in this state of the job.
    #[error("{0}")]
    Conflict(&'static str),
    /// 405: the route does not know the method.
    #[error("the route does not know this method; it knows {0}")]
    MethodNotAllowed(&'static str),
    /// 408: the body did not come in time.
    #[error("the body did not arrive within {} ms", .0.as_millis())]
    RequestTimeout(Duration),
    /// 413: more bytes than allowed, on the wire or after decompression.
    #[error("the body is over {limit_bytes} bytes {place}; send it in smaller parts")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: usize,
        /// `on the wire` or `after decompression`.
        place: &'static str,
    },
    /// 415: a `Content-Encoding` that is not one of ours.
    #[error("the Content-Encoding is none of gzip, zstd, deflate, br, identity, or more than one")]
    UnsupportedEncoding,
    /// 429: the project is over its rate.
    #[error("the project is over its rate of {items_per_s} items a second")]
    RateLimited {
        /// The rate.
        items_per_s: u32,
        /// When the next request passes.
        retry_after: Duration,
    },
    /// 503: the log, or what else the call needs, cannot take it now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// 500: a fault of ours.
    #[error("an internal error; the request id finds it in the log")]
    Internal,
}

/// Why a key is not honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No key, or not in the form of RFC 6750.
    #[error("the header must be: Authorization: Bearer {{api_key}}")]
    Missing,
    /// The key itself.
    #[error(transparent)]
    Key(KeyError),
    /// The key is good, but not for this project.
    #[error("the key belongs to another project than `project_id`")]
    OtherProject,
}

impl ApiError {
    /// A 400 about one thing that is no item's.
    pub(crate) fn request(
        code: ErrorCode,
        field: Option<&str>,
        message: impl Into<String>,
    ) -> Self {
        let mut errors = ItemErrors::default();
        errors.push(one(code, field, message.into()));
        Self::Invalid(errors)
    }

    /// The status line.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Invalid(_) | Self::InvalidDeletion(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) | Self::NotYetKnown(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The `code` of the error body.
    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Invalid(_) | Self::InvalidDeletion(_) => ErrorCode::InvalidRequest,
            Self::NotFound(_) | Self::NotYetKnown(_) => ErrorCode::NotFound,
            Self::Conflict(_) => ErrorCode::Conflict,
            Self::MethodNotAllowed(_) => ErrorCode::MethodNotAllowed,
            Self::RequestTimeout(_) => ErrorCode::RequestTimeout,
            Self::BodyTooLarge { .. } => ErrorCode::BodyTooLarge,
            Self::UnsupportedEncoding => ErrorCode::UnsupportedEncoding,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal => ErrorCode::Internal,
        }
    }

    /// The `Retry-After`, in whole seconds.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        let wait = match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            Self::Unavailable(_) | Self::NotYetKnown(_) => RETRY_SOON,
            _ => return None,
        };
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).map(|s| s.max(1))
    }

    /// The `message` of the error body.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Unauthorized(_) => "Unauthorized request.".to_owned(),
            Self::Invalid(_) => "Invalid request parameters.".to_owned(),
            Self::InvalidDeletion(_) => "Invalid request.".to_owned(),
            other => other.to_string(),
        }
    }

    /// The `errors` of the error body, and their total.
    pub(crate) fn details(&self) -> ItemErrors {
        let mut errors = ItemErrors::default();
        match self {
            Self::Invalid(found) | Self::InvalidDeletion(found) => return found.clone(),
            Self::Unauthorized(reason) => {
                errors.push(one(ErrorCode::Unauthorized, None, reason.to_string()));
            }
            _ => {}
        }
        errors
    }
}

fn one(code: ErrorCode, field: Option<&str>, message: String) -> ItemError {
    ItemError { index: None, field: field.map(str::to_owned), code, message }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::RevocationsUnread => Self::Unavailable(
                "API keys cannot be checked until the store was reached once; try again shortly",
            ),
            refused => Self::Unauthorized(Refused::Key(refused)),
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        Self::Unavailable(match error {
            AppendError::Full { .. } => "the log's queue is full; try again shortly",
            AppendError::DiskLow { .. } => "the log is short of disk; try again later",
            AppendError::TimedOut(_) => "the log did not acknowledge in time; try again shortly",
            AppendError::Unavailable(_) => "the log is not available; try again shortly",
        })
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Stopped(_) | StoreError::Restarted => {
                Self::Unavailable("the store is not available; try again shortly")
            }
            StoreError::Fenced { .. } | StoreError::Invalid(_) | StoreError::Exists(_) => {
                tracing::error!(%error, "the store refused a call");
                Self::Internal
            }
        }
    }
}

impl From<StandingsError> for ApiError {
    fn from(error: StandingsError) -> Self {
        match error {
            StandingsError::Store(error) => error.into(),
            StandingsError::Log(error) => {
                tracing::warn!(%error, "the log did not say its bounds");
                Self::Unavailable("the log is not available; try again shortly")
            }
        }
    }
}

/// The name of a scope, as in keys.
pub(crate) const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Write => "write",
        Scope::Delete => "delete",
        Scope::Read => "read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_code_and_retry_after() {
        let none = ItemErrors::default();
        let second = Duration::from_secs(1);
        let rate = ApiError::RateLimited { items_per_s: 5, retry_after: second * 3 / 2 };
        let large = ApiError::BodyTooLarge { limit_bytes: 9, place: "on the wire" };
        let table = [
            (ApiError::Unauthorized(Refused::Missing), 401, "UNAUTHORIZED", None),
            (ApiError::Forbidden("write"), 403, "FORBIDDEN", None),
            (ApiError::Invalid(none.clone()), 400, "INVALID_REQUEST", None),
            (ApiError::InvalidDeletion(none), 400, "INVALID_REQUEST", None),
            (ApiError::NotFound(""), 404, "NOT_FOUND", None),
            (ApiError::NotYetKnown(""), 404, "NOT_FOUND", Some(1)),
            (ApiError::Conflict(""), 409, "CONFLICT", None),
            (ApiError::MethodNotAllowed("GET"), 405, "METHOD_NOT_ALLOWED", None),
            (ApiError::RequestTimeout(second), 408, "REQUEST_TIMEOUT", None),
            (large, 413, "BODY_TOO_LARGE", None),
            (ApiError::UnsupportedEncoding, 415, "UNSUPPORTED_ENCODING", None),
            (rate, 429, "RATE_LIMITED", Some(2)),
            (ApiError::Unavailable(""), 503, "UNAVAILABLE", Some(1)),
            (ApiError::Internal, 500, "INTERNAL", None),
        ];
        for (error, status, code, retry_after_s) in table {
            assert_eq!(error.status().as_u16(), status, "{error:?}");
            assert_eq!(serde_json::to_value(error.code()).unwrap(), code, "{error:?}");
            assert_eq!(error.retry_after_s(), retry_after_s, "{error:?}");
        }
    }

    #[test]
    fn the_original_names_of_the_answers_are_kept() {
        let message = |e: ApiError| e.message();
        let none = ItemErrors::default;
        assert_eq!(message(ApiError::Unauthorized(Refused::Missing)), "Unauthorized request.");
        assert_eq!(message(ApiError::Invalid(none())), "Invalid request parameters.");
        assert_eq!(message(ApiError::InvalidDeletion(none())), "Invalid request.");
    }

    #[test]
    fn a_failing_log_is_worth_a_retry_and_leaks_nothing() {
        let error = ApiError::from(AppendError::Unavailable("/secret/path".into()));
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!error.message().contains("secret"));
    }
}
