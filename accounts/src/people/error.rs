//! Every way in which a call of the accounts API is refused, and what it is on the wire.

use std::time::Duration;

use millrace_store::StoreError;
use serde_json::{Value, json};

use crate::field::FieldError;
use crate::password::PasswordError;
use crate::token::SigningError;

/// What a client may do sooner than it would by itself.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Where a password was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordUse {
    /// At registration.
    Register,
    /// When it was forgotten.
    Reset,
    /// In an update.
    Update,
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// 422: a body, query or path that is not as it must be.
    #[error("{} fields are not as they must be", .0.len())]
    Invalid(Vec<FieldError>),
    /// 400: an account of that address exists.
    #[error("an account of this address exists")]
    RegisterEmailTaken,
    /// 400: another account of that address exists.
    #[error("another account of this address exists")]
    UpdateEmailTaken,
    /// 400: the password may not be one.
    #[error("the password is refused: {reason}")]
    InvalidPassword {
        /// Where.
        at: PasswordUse,
        /// Why.
        reason: &'static str,
    },
    /// 400: wrong, unknown or inactive.
    #[error("the credentials are wrong")]
    BadCredentials,
    /// 400: verification is demanded, and missing.
    #[error("the address is not verified")]
    NotVerified,
    /// 400: a reset token that is not, or no longer, good.
    #[error("the reset token is not good")]
    BadResetToken,
    /// 400: a verify token that is not, or no longer, good.
    #[error("the verify token is not good")]
    BadVerifyToken,
    /// 400: verified before.
    #[error("the address was verified before")]
    AlreadyVerified,
    /// 401: no token, or one that is bad, expired or revoked.
    #[error("there is no good token")]
    Unauthorized,
    /// 403: the caller may not.
    #[error("the caller may not do it")]
    Forbidden,
    /// 404: there is no such user.
    #[error("there is no such user")]
    NotFound,
    /// 409: nobody would stay who may do everything.
    #[error("the last admin stays")]
    LastAdmin,
    /// 429: too often.
    #[error("too many attempts")]
    TooManyRequests(Duration),
    /// 501: it is not configured.
    #[error("{0} is not configured")]
    NotConfigured(&'static str),
    /// 503: worth another try.
    #[error("{0}")]
    Unavailable(&'static str),
    /// 500: a fault of ours.
    #[error("an internal error")]
    Internal,
}

impl PeopleError {
    pub(crate) fn field(at: &'static str, field: &str, wrong: crate::field::Wrong) -> Self {
        Self::Invalid(vec![FieldError::new(at, field, wrong)])
    }

    /// The status code.
    pub const fn status(&self) -> u16 {
        match self {
            Self::RegisterEmailTaken
            | Self::UpdateEmailTaken
            | Self::InvalidPassword { .. }
            | Self::BadCredentials
            | Self::NotVerified
            | Self::BadResetToken
            | Self::BadVerifyToken
            | Self::AlreadyVerified => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::LastAdmin => 409,
            Self::Invalid(_) => 422,
            Self::TooManyRequests(_) => 429,
            Self::Internal => 500,
            Self::NotConfigured(_) => 501,
            Self::Unavailable(_) => 503,
        }
    }

    /// The `detail` of the error body.
    pub fn detail(&self) -> Value {
        let text = match self {
            Self::Invalid(fields) => return json!(fields),
            Self::InvalidPassword { at, reason } => {
                return json!({"code": at.code(), "reason": reason});
            }
            Self::RegisterEmailTaken => "REGISTER_USER_ALREADY_EXISTS",
            Self::UpdateEmailTaken => "UPDATE_USER_EMAIL_ALREADY_EXISTS",
            Self::BadCredentials => "LOGIN_BAD_CREDENTIALS",
            Self::NotVerified => "LOGIN_USER_NOT_VERIFIED",
            Self::BadResetToken => "RESET_PASSWORD_BAD_TOKEN",
            Self::BadVerifyToken => "VERIFY_USER_BAD_TOKEN",
            Self::AlreadyVerified => "VERIFY_USER_ALREADY_VERIFIED",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::LastAdmin => "The last admin cannot be deleted, deactivated or demoted",
            Self::TooManyRequests(_) => "Too Many Requests",
            Self::NotConfigured(_) => "Not Implemented",
            Self::Unavailable(_) => "Service Unavailable",
            Self::Internal => "Internal Server Error",
        };
        json!(text)
    }

    /// The `Retry-After`, in whole seconds.
    pub fn retry_after_s(&self) -> Option<u64> {
        let wait = match self {
            Self::TooManyRequests(wait) => *wait,
            Self::Unavailable(_) => RETRY_SOON,
            _ => return None,
        };
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).map(|s| s.max(1))
    }
}

impl PasswordUse {
    const fn code(self) -> &'static str {
        match self {
            Self::Register => "REGISTER_INVALID_PASSWORD",
            Self::Reset => "RESET_PASSWORD_INVALID_PASSWORD",
            Self::Update => "UPDATE_USER_INVALID_PASSWORD",
        }
    }
}

impl From<Vec<FieldError>> for PeopleError {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Invalid(errors)
    }
}

impl From<StoreError> for PeopleError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Stopped(_) | StoreError::Restarted => {
                tracing::warn!(%error, "accounts cannot be read or changed");
                Self::Unavailable("the store is not available; try again shortly")
            }
            StoreError::Fenced { .. } | StoreError::Invalid(_) | StoreError::Exists(_) => {
                tracing::error!(%error, "the store refused a call of the accounts");
                Self::Internal
            }
        }
    }
}

impl From<PasswordError> for PeopleError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => {
                Self::Unavailable("too many passwords are being checked; try again shortly")
            }
            PasswordError::TooMany(wait) => Self::TooManyRequests(wait),
            PasswordError::Settings | PasswordError::Failed => {
                tracing::error!(%error, "a password could not be hashed or checked");
                Self::Internal
            }
        }
    }
}

impl From<SigningError> for PeopleError {
    fn from(error: SigningError) -> Self {
        tracing::error!(%error, "no token was made");
        Self::Internal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Wrong;

    #[test]
    fn every_refusal_has_its_status_detail_and_retry_after() {
        use PasswordUse::{Register, Reset, Update};
        let wait = Duration::from_millis(1_500);
        let password = |at| PeopleError::InvalidPassword { at, reason: "why" };
        let refused = |code: &str| json!({"code": code, "reason": "why"});
        let field = PeopleError::field("body", "email", Wrong::missing());
        let fields =
            json!([{"loc": ["body", "email"], "msg": "Field required", "type": "missing"}]);
        let table = [
            (field, 422, fields, None),
            (PeopleError::RegisterEmailTaken, 400, json!("REGISTER_USER_ALREADY_EXISTS"), None),
            (PeopleError::UpdateEmailTaken, 400, json!("UPDATE_USER_EMAIL_ALREADY_EXISTS"), None),
            (password(Register), 400, refused("REGISTER_INVALID_PASSWORD"), None),
            (password(Reset), 400, refused("RESET_PASSWORD_INVALID_PASSWORD"), None),
            (password(Update), 400, refused("UPDATE_USER_INVALID_PASSWORD"), None),
            (PeopleError::BadCredentials, 400, json!("LOGIN_BAD_CREDENTIALS"), None),
            (PeopleError::NotVerified, 400, json!("LOGIN_USER_NOT_VERIFIED"), None),
            (PeopleError::BadResetToken, 400, json!("RESET_PASSWORD_BAD_TOKEN"), None),
            (PeopleError::BadVerifyToken, 400, json!("VERIFY_USER_BAD_TOKEN"), None),
            (PeopleError::AlreadyVerified, 400, json!("VERIFY_USER_ALREADY_VERIFIED"), None),
            (PeopleError::Unauthorized, 401, json!("Unauthorized"), None),
            (PeopleError::Forbidden, 403, json!("Forbidden"), None),
            (PeopleError::NotFound, 404, json!("Not Found"), None),
            (
                PeopleError::LastAdmin,
                409,
                json!("The last admin cannot be deleted, deactivated or demoted"),
                None,
            ),
            (PeopleError::TooManyRequests(wait), 429, json!("Too Many Requests"), Some(2)),
            (PeopleError::NotConfigured("it"), 501, json!("Not Implemented"), None),
            (PeopleError::Unavailable("away"), 503, json!("Service Unavailable"), Some(1)),
            (PeopleError::Internal, 500, json!("Internal Server Error"), None),
        ];
        for (error, status, detail, retry_after_s) in table {
            assert_eq!(error.status(), status, "{error:?}");
            assert_eq!(error.detail(), detail, "{error:?}");
            assert_eq!(error.retry_after_s(), retry_after_s, "{error:?}");
        }
    }

    #[test]
    fn a_failing_store_is_worth_a_retry_and_leaks_nothing() {
        let error = PeopleError::from(StoreError::Unavailable("/secret/path".to_owned()));
        assert_eq!(error.status(), 503);
        assert!(!format!("{error} {}", error.detail()).contains("secret"));
    }
}
