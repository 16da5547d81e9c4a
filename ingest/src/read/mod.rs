//! Reading back: what the store holds, as JSON, for keys with the scope `read` and for operators.
//!
//! Owns the shapes of those answers and their parameters. Must not know how a row came to be:
//! what is read is the store's rows and the ledger's positions, nothing else.

use std::borrow::Cow;

use hyper::StatusCode;
use millrace_schema::UserKey;
use millrace_schema::error::ErrorCode;
use millrace_schema::limits::USER_ID_BYTES;
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::query::decode_segment;
use crate::response::{JSON, Response, with_type};

mod accounting;
mod cursor;
mod devices;
mod events;
mod jobs;
mod profile;
mod receipt;

pub(crate) use accounting::{accounting, ledger};
pub(crate) use devices::devices;
pub(crate) use events::events;
pub(crate) use jobs::{job, jobs};
pub(crate) use profile::profile;
pub(crate) use receipt::{jwks, receipt};

/// The description of the API.
pub(crate) fn openapi() -> Response {
    with_type(StatusCode::OK, JSON, millrace_schema::openapi::JSON)
}

/// The user that a path names.
fn user_of(project: &str, segment: &str) -> Result<UserKey, ApiError> {
    let user = decode_segment(segment)
        .ok_or_else(|| invalid("user_id", "`user_id` must be percent-encoded UTF-8"))?;
    if user.is_empty() || user.len() > USER_ID_BYTES {
        let message = format!("`user_id` must have 1 to {USER_ID_BYTES} bytes");
        return Err(ApiError::request(ErrorCode::InvalidLength, Some("user_id"), message));
    }
    Ok(UserKey::new(project, user))
}

/// Where a page begins, if the client says so.
fn page_start<T>(
    cursor: Option<Cow<'_, str>>,
    decode: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let start = decode(&cursor);
    start.map(Some).ok_or_else(|| {
        invalid("cursor", "`cursor` must be the `next_cursor` of an earlier answer, unchanged")
    })
}

/// A 400 about a parameter.
fn invalid(parameter: &str, message: impl Into<String>) -> ApiError {
    ApiError::request(ErrorCode::InvalidValue, Some(parameter), message)
}

/// Stored JSON text, to be written as it is.
fn raw(text: &str) -> Result<&RawValue, ApiError> {
    serde_json::from_str(text).map_err(|error| unreadable(&error))
}

/// What is stored is not what workers write.
fn unreadable(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a stored row cannot be read");
    ApiError::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_percent_encoded_within_the_limit() {
        assert_eq!(user_of("p", "u%2F1%20%C3%A9").unwrap(), UserKey::new("p", "u/1 é"));
        assert!(user_of("p", &"u".repeat(USER_ID_BYTES)).is_ok());
        for bad in [String::new(), "%FF".to_owned(), "u".repeat(USER_ID_BYTES + 1)] {
            assert_eq!(user_of("p", &bad).unwrap_err().status(), 400, "{bad}");
        }
    }
}
