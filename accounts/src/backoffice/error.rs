//! Every way in which a call of the back office is refused, and what it is on the wire.

use std::time::Duration;

use millrace_store::StoreError;
use serde::Serialize;

use crate::field::{FieldError, Loc, Wrong};
use crate::password::PasswordError;
use crate::people::PeopleError;
use crate::token::SigningError;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvalidField {
    /// Its name; `body` for the whole.
    pub field: String,
    /// For people.
    pub message: String,
}

impl From<FieldError> for InvalidField {
    fn from(error: FieldError) -> Self {
        let names = error.loc.iter().skip(1).filter_map(|step| match step {
            Loc::Name(name) => Some(name.to_string()),
            Loc::Index(_) => None,
        });
        let field = names.collect::<Vec<_>>().join(".");
        let field = if field.is_empty() { "body".to_owned() } else { field };
        Self { field, message: error.msg.into_owned() }
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackOfficeError {
    /// 400: a body, query or path that is not as it must be.
    #[error("Invalid request.")]
    Invalid(Vec<InvalidField>),
    /// 401: a token is missing or not good.
    #[error("The access token or the session token is missing or invalid.")]
    Unauthorized,
    /// 401: the refresh token is not good.
    #[error("The refresh token is invalid.")]
    BadRefreshToken,
    /// 401: the address or the password is wrong.
    #[error("The e-mail or the password is wrong.")]
    BadCredentials,
    /// 401: the bootstrap secret is wrong.
    #[error("The bootstrap secret is wrong.")]
    BadSecret,
    /// 403: only the back office's people may.
    #[error("Only back-office users may do this.")]
    Forbidden,
    /// 404: there is no such audit user.
    #[error("There is no such audit user.")]
    NotFound,
    /// 409: the address is used.
    #[error("The e-mail is used already.")]
    EmailTaken,
    /// 409: the first user exists.
    #[error("The back office was bootstrapped before.")]
    AlreadyBootstrapped,
    /// 429: too often.
    #[error("Too many attempts; try again later.")]
    TooManyRequests(Duration),
    /// 501: nobody signs in here.
    #[error("The back office is not configured here.")]
    NotConfigured,
    /// 503: worth another try.
    #[error("{0}")]
    Unavailable(&'static str),
    /// 500: a fault of ours.
    #[error("An internal error.")]
    Internal,
}

impl BackOfficeError {
    pub(super) fn field(at: &'static str, field: &str, wrong: Wrong) -> Self {
        Self::Invalid(vec![FieldError::new(at, field, wrong).into()])
    }

    /// The status code.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) => 400,
            Self::Unauthorized | Self::BadRefreshToken | Self::BadCredentials | Self::BadSecret => {
                401
            }
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::EmailTaken | Self::AlreadyBootstrapped => 409,
            Self::TooManyRequests(_) => 429,
            Self::Internal => 500,
            Self::NotConfigured => 501,
            Self::Unavailable(_) => 503,
        }
    }

    /// The `code` of the error body.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::Unauthorized | Self::BadRefreshToken | Self::BadCredentials | Self::BadSecret => {
                "UNAUTHORIZED"
            }
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::EmailTaken | Self::AlreadyBootstrapped => "CONFLICT",
            Self::TooManyRequests(_) => "RATE_LIMITED",
            Self::Internal => "INTERNAL",
            Self::NotConfigured => "NOT_IMPLEMENTED",
            Self::Unavailable(_) => "UNAVAILABLE",
        }
    }

    /// The `message` of the error body.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The `fields` of the error body.
    pub fn fields(&self) -> &[InvalidField] {
        match self {
            Self::Invalid(fields) => fields,
            _ => &[],
        }
    }

    /// The `Retry-After`, in whole seconds.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests(wait) => PeopleError::TooManyRequests(*wait).retry_after_s(),
            Self::Unavailable(why) => PeopleError::Unavailable(why).retry_after_s(),
            _ => None,
        }
    }
}

impl From<Vec<FieldError>> for BackOfficeError {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Invalid(errors.into_iter().map(InvalidField::from).collect())
    }
}

/// Faults that are nobody's in particular, said alike by both APIs.
fn shared(error: PeopleError) -> BackOfficeError {
    match error {
        PeopleError::Unavailable(why) => BackOfficeError::Unavailable(why),
        PeopleError::TooManyRequests(wait) => BackOfficeError::TooManyRequests(wait),
        _ => BackOfficeError::Internal,
    }
}

impl From<StoreError> for BackOfficeError {
    fn from(error: StoreError) -> Self {
        shared(error.into())
    }
}

impl From<PasswordError> for BackOfficeError {
    fn from(error: PasswordError) -> Self {
        shared(error.into())
    }
}

impl From<SigningError> for BackOfficeError {
    fn from(error: SigningError) -> Self {
        shared(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_code_and_retry_after() {
        let field = BackOfficeError::field("body", "email", Wrong::missing());
        let wait = Duration::from_millis(1_500);
        let table = [
            (field.clone(), 400, "INVALID_REQUEST", None),
            (BackOfficeError::Unauthorized, 401, "UNAUTHORIZED", None),
            (BackOfficeError::BadRefreshToken, 401, "UNAUTHORIZED", None),
            (BackOfficeError::BadCredentials, 401, "UNAUTHORIZED", None),
            (BackOfficeError::BadSecret, 401, "UNAUTHORIZED", None),
            (BackOfficeError::Forbidden, 403, "FORBIDDEN", None),
            (BackOfficeError::NotFound, 404, "NOT_FOUND", None),
            (BackOfficeError::EmailTaken, 409, "CONFLICT", None),
            (BackOfficeError::AlreadyBootstrapped, 409, "CONFLICT", None),
            (BackOfficeError::TooManyRequests(wait), 429, "RATE_LIMITED", Some(2)),
            (BackOfficeError::Internal, 500, "INTERNAL", None),
            (BackOfficeError::NotConfigured, 501, "NOT_IMPLEMENTED", None),
            (BackOfficeError::Unavailable("away"), 503, "UNAVAILABLE", Some(1)),
        ];
        for (error, status, code, retry_after_s) in table {
            assert_eq!(error.status(), status, "{error:?}");
            assert_eq!(error.code(), code, "{error:?}");
            assert_eq!(error.retry_after_s(), retry_after_s, "{error:?}");
        }
        let message = "Field required".to_owned();
        assert_eq!(field.fields(), [InvalidField { field: "email".to_owned(), message }]);
    }
}
