//! The closed list of error codes, and the body of an error answer.

use serde::{Deserialize, Serialize};

use crate::limits::ERRORS_LISTED;

/// What is wrong, in one word. The list is closed and documented in `openapi.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The request as a whole is refused; `errors` says why.
    InvalidRequest,
    /// The body is not the JSON (or NDJSON, or encoding) it claims to be.
    InvalidJson,
    /// A required field, parameter or member is absent.
    MissingField,
    /// A value is of another type than it must be.
    InvalidType,
    /// A string is empty, or longer than its limit.
    InvalidLength,
    /// A value is none of those allowed.
    InvalidValue,
    /// A timestamp is not RFC 3339 with a zone, or outside the limits.
    InvalidTimestamp,
    /// More items than a call may bring, or none where one is required.
    InvalidCount,
    /// An item is larger than the limit.
    ItemTooLarge,
    /// Arrays and objects are nested deeper than the limit.
    TooDeep,
    /// A number is beyond the range of a double.
    NumberOutOfRange,
    /// The key is missing, malformed, expired, revoked, or of another project.
    Unauthorized,
    /// The key lacks the scope.
    Forbidden,
    /// There is no such route, user or job.
    NotFound,
    /// The route does not know the method.
    MethodNotAllowed,
    /// The resource is not in a state that allows the call: a deletion that is not completed has no
    /// receipt.
    Conflict,
    /// The request did not come in time.
    RequestTimeout,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The `Content-Encoding` is not one of ours.
    UnsupportedEncoding,
    /// The project is over its rate.
    RateLimited,
    /// The log, or what else the call needs, cannot take it now.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// The item, from 0 (NDJSON: counting non-empty lines); absent if it is not about one item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// The field, as a path within the item: `timestamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, in one word.
    pub code: ErrorCode,
    /// What is wrong and what to do, with the number of the limit.
    pub message: String,
}

/// All that is wrong with a request: the first [`ERRORS_LISTED`], and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemErrors {
    /// How many.
    pub total: usize,
    /// The first of them.
    pub errors: Vec<ItemError>,
}

impl ItemErrors {
    /// Counts an error, and keeps it if there is room.
    pub fn push(&mut self, error: ItemError) {
        self.total += 1;
        if self.errors.len() < ERRORS_LISTED {
            self.errors.push(error);
        }
    }

    /// Whether nothing is wrong.
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }
}
