//! Sign-in with Google: ID tokens (OpenID Connect Core 1.0) checked against Google's keys.
//!
//! Owns what a token must say. How the keys are fetched is the caller's.

mod keys;

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use millrace_store::BoxFuture;
use serde::Deserialize;

use crate::clock::Clock;
use keys::Keys;

/// Bytes of a token; what is longer is refused unread.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far Google's clock may be off.
const LEEWAY_S: i64 = 60;

/// Fetches the key set (RFC 7517); the text says why it could not.
pub type FetchKeys = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;

/// Whom to trust, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleSettings {
    /// Our client ids: the audiences that are accepted.
    pub client_ids: Vec<String>,
    /// Who may have issued a token.
    pub issuers: Vec<String>,
}

impl GoogleSettings {
    /// Google's issuers, for a client.
    pub fn new(client_id: String) -> Self {
        let issuers = ["https://accounts.google.com", "accounts.google.com"];
        Self { client_ids: vec![client_id], issuers: issuers.map(str::to_owned).to_vec() }
    }
}

/// Why nobody is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GoogleError {
    #[error("the token is not good")]
    BadToken,
    #[error("the keys cannot be fetched")]
    Unavailable,
}

#[derive(Deserialize)]
struct IdToken {
    email: String,
    email_verified: Truth,
    name: Option<String>,
    exp: i64,
}

/// Google has sent both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Truth {
    Flag(bool),
    Text(String),
}

/// Who signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoogleUser {
    pub(crate) email: String,
    pub(crate) name: Option<String>,
}

/// Checks Google's ID tokens.
pub struct Google {
    settings: GoogleSettings,
    clock: Clock,
    keys: Arc<Keys>,
}

impl Google {
    /// A checker whose keys come from `fetch`, at most every 10 s.
    pub fn new(settings: GoogleSettings, fetch: FetchKeys, clock: Clock) -> Self {
        Self { settings, keys: Arc::new(Keys::new(fetch, clock.clone())), clock }
    }

    /// Whom a token stands for.
    pub(crate) async fn check(&self, token: &str) -> Result<GoogleUser, GoogleError> {
        let bad = |_| GoogleError::BadToken;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(GoogleError::BadToken);
        }
        let header = decode_header(token).map_err(bad)?;
        if header.alg != Algorithm::RS256 {
            return Err(GoogleError::BadToken);
        }
        let key = self.keys.key(&header.kid.ok_or(GoogleError::BadToken)?).await?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&self.settings.client_ids);
        validation.set_issuer(&self.settings.issuers);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // Checked below, by our clock.
        validation.validate_exp = false;
        let claims = decode::<IdToken>(token, &key, &validation).map_err(bad)?.claims;
        let is_over = self.clock.now_s() >= claims.exp.saturating_add(LEEWAY_S);
        let is_verified = match claims.email_verified {
            Truth::Flag(flag) => flag,
            Truth::Text(text) => text == "true",
        };
        if is_over || !is_verified {
            return Err(GoogleError::BadToken);
        }
        Ok(GoogleUser { email: claims.email, name: claims.name })
    }
}

impl fmt::Debug for Google {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Google").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
