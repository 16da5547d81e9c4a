//! Tokens of people: JWTs (RFC 7519) signed with HS256, each kind with an audience of its own.
//!
//! Owns what the tokens say and for how long. Whether their bearer still exists is not known here.

mod secret;

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::claims::ISSUER;
use crate::clock::Clock;
use crate::password::PasswordHash;

pub use secret::{SecretError, TokenSecrets};

/// Bytes of a token; what is longer is refused unread.
const TOKEN_BYTES_MAX: usize = 4 * 1024;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

/// Seconds that an access token is good for.
pub(crate) const ACCESS_S: i64 = HOUR_S;

/// What a kind of token says. Those with an audience also say who made them and have an id.
pub(crate) trait Claims: Serialize + DeserializeOwned {
    /// `None`: a kind whose members are given, and tell it from all others.
    const AUDIENCE: Option<&'static str>;

    /// When it ends, seconds since 1970.
    fn exp(&self) -> i64;
}

macro_rules! claims {
    ($(#[$doc:meta])* $name:ident, $audience:literal, $lifetime:expr,
     { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) struct $name {
            iss: String,
            aud: String,
            pub(crate) jti: Uuid,
            pub(crate) exp: i64,
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        }

        impl $name {
            pub(crate) fn new(clock: &Clock, $($field: $type),*) -> Self {
                Self {
                    iss: ISSUER.to_owned(),
                    aud: $audience.to_owned(),
                    jti: Uuid::new_v4(),
                    exp: clock.now_s().saturating_add($lifetime),
                    $($field,)*
                }
            }
        }

        impl Claims for $name {
            const AUDIENCE: Option<&'static str> = Some($audience);

            fn exp(&self) -> i64 {
                self.exp
            }
        }
    };
}

claims!(
    /// A user is signed in.
    Access, "millrace-access", ACCESS_S, {
        sub: Uuid,
        /// Must be the person's: it grows whenever all their tokens die.
        generation: u64,
    }
);
claims!(
    /// A user may set a new password.
    Reset, "millrace-reset", HOUR_S, {
        sub: Uuid,
        /// Of the password hash that is to be replaced, and of the address it was sent to.
        fingerprint: String,
        /// As of [`Access`].
        generation: u64,
    }
);
claims!(
    /// A user reads the mail of an address.
    Verify, "millrace-verify", HOUR_S, {
        sub: Uuid,
        /// In lower case.
        email: String,
        /// As of [`Access`].
        generation: u64,
    }
);
claims!(
    /// A person of the back office is signed in.
    BackOfficeAccess, "millrace-back-office-access", ACCESS_S, {
        sub: String,
        session: Uuid,
    }
);
claims!(
    /// A session of the back office may be continued.
    Refresh, "millrace-back-office-refresh", 30 * DAY_S, {
        sub: String,
        session: Uuid,
    }
);

/// The session token of the back office.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Session {
    pub(crate) user_id: String,
    pub(crate) session_id: String,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
}

impl Session {
    pub(crate) fn new(clock: &Clock, user_id: String, session_id: String) -> Self {
        let iat = clock.now_s();
        Self { user_id, session_id, iat, exp: iat.saturating_add(DAY_S) }
    }
}

impl Claims for Session {
    const AUDIENCE: Option<&'static str> = None;

    fn exp(&self) -> i64 {
        self.exp
    }
}

/// A token that could not be made: nothing the caller does can cause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token could not be signed")]
pub(crate) struct SigningError;

/// Makes and reads tokens.
pub(crate) struct Tokens {
    secrets: TokenSecrets,
    clock: Clock,
}

impl Tokens {
    pub(crate) const fn new(secrets: TokenSecrets, clock: Clock) -> Self {
        Self { secrets, clock }
    }

    pub(crate) fn sign<T: Claims>(&self, claims: &T) -> Result<String, SigningError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.secrets.signing)
            .map_err(|_| SigningError)
    }

    /// What a genuine token of this kind says that has not ended; of all others nothing.
    pub(crate) fn read<T: Claims>(&self, token: &str) -> Option<T> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        if decode_header(token).ok()?.alg != Algorithm::HS256 {
            return None;
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp"]);
        // Checked below, by our clock and without leeway.
        validation.validate_exp = false;
        match T::AUDIENCE {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.set_issuer(&[ISSUER]);
                validation.set_required_spec_claims(&["exp", "aud", "iss"]);
            }
            None => validation.validate_aud = false,
        }
        let mut secrets = self.secrets.accepted.iter();
        let claims = secrets.find_map(|key| decode::<T>(token, key, &validation).ok())?.claims;
        (self.clock.now_s() < claims.exp()).then_some(claims)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// What binds a token to a password, or to having none, and to an address in lower case. It says
/// nothing about the password: the hash is salted and itself unknown.
pub(crate) fn fingerprint(hash: Option<&PasswordHash>, email: &str) -> String {
    let hash = hash.map(PasswordHash::as_bytes).unwrap_or_default();
    let bytes = [hash, b"\0", email.as_bytes()].concat();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &bytes))
}

#[cfg(test)]
mod tests;
