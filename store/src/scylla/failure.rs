//! What the driver's errors mean to a caller: try again, or never.

use scylla::errors::{
    DbError, DeserializationError, ExecutionError, IntoRowsResultError, NewSessionError,
    PrepareError, RequestAttemptError, RowsError,
};

use crate::StoreError;

/// A request that failed.
pub(super) fn failed(error: &ExecutionError) -> StoreError {
    if let ExecutionError::BadQuery(e) = error {
        return StoreError::Invalid(format!("the database cannot be asked this: {e}"));
    }
    match error {
        ExecutionError::LastAttemptError(attempt) => attempt_failed(attempt),
        ExecutionError::PrepareError(e) => prepare_failed(e),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

pub(super) fn prepare_failed(error: &PrepareError) -> StoreError {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => attempt_failed(first_attempt),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

fn attempt_failed(error: &RequestAttemptError) -> StoreError {
    match error {
        RequestAttemptError::DbError(
            DbError::SyntaxError | DbError::Invalid | DbError::Unauthorized | DbError::ConfigError,
            text,
        ) => StoreError::Invalid(format!("the database refuses: {text}")),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether another node, or the same one a moment later, may well answer. A time-out is not: the
/// caller has waited long enough.
pub(super) fn is_worth_another_try(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::ConnectionPoolError(_) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::BrokenConnectionError(_)) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => matches!(
            error,
            DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::Unavailable { .. }
                | DbError::RateLimitReached { .. }
        ),
        _ => false,
    }
}

pub(super) fn no_rows(error: &IntoRowsResultError) -> StoreError {
    StoreError::Unavailable(format!("the database answers without rows: {error}"))
}

pub(super) fn other_rows(error: &RowsError) -> StoreError {
    StoreError::Invalid(format!("a table is not as it was made: {error}"))
}

pub(super) fn unreadable(error: &DeserializationError) -> StoreError {
    StoreError::Invalid(format!("a row cannot be read: {error}"))
}

/// Why there is no connection: `Invalid` if it looks as if there never will be.
pub(super) fn not_connected(error: &NewSessionError) -> StoreError {
    let text = error.to_string();
    if let Some(advice) = advice(&text) {
        return StoreError::Invalid(format!("{advice} ({text})"));
    }
    // A server that speaks TLS only ends the connection at the first request; so may one that is
    // still starting.
    let hint = if text.contains("Request: OPTIONS") { "; does it ask for TLS?" } else { "" };
    StoreError::Unavailable(format!("{text}{hint}"))
}

/// The driver wraps the reason so deep, and differently for each way there, that its text is what
/// is left to look at.
fn advice(text: &str) -> Option<&'static str> {
    let mentions = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if mentions(&["bad credentials", "Authentication failed"]) {
        return Some("the database refuses the user or the password");
    }
    if mentions(&["requires authentication", "Authentication is required", "MissingAuth"]) {
        return Some("the database asks for a user and a password");
    }
    if mentions(&["invalid peer certificate"]) {
        return Some("TLS: the database's certificate is not one that is trusted");
    }
    if mentions(&["CertificateRequired", "certificate required"]) {
        return Some("TLS: the database asks for a certificate of ours");
    }
    if mentions(&["InvalidContentType"]) {
        return Some("TLS: the database does not speak TLS at this port");
    }
    None
}
