//! Sign-in with Google: ID tokens (OpenID Connect Core 1.0) checked against Google's keys.
//!
//! Owns the keys' cache and what a token must say. How the keys are fetched is the caller's.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use millrace_schema::time::Micros;
use millrace_store::BoxFuture;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::clock::Clock;

/// Bytes of a token and of a key set; what is longer is refused unread.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
const KEY_SET_BYTES_MAX: usize = 64 * 1024;
const KEYS_MAX: usize = 32;
/// How long fetched keys are used.
const KEYS_FRESH_US: i64 = 3_600 * 1_000_000;
/// How often an unknown key, or a failed fetch, may lead to another fetch.
const REFETCH_US: i64 = 10 * 1_000_000;
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

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    fetched_us: Option<Micros>,
    tried_us: Option<Micros>,
}

/// Checks Google's ID tokens.
pub struct Google {
    settings: GoogleSettings,
    fetch: FetchKeys,
    clock: Clock,
    keys: Mutex<Keys>,
}

impl Google {
    /// A checker whose keys come from `fetch`, at most every 10 s.
    pub fn new(settings: GoogleSettings, fetch: FetchKeys, clock: Clock) -> Self {
        Self { settings, fetch, clock, keys: Mutex::default() }
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
        let key = self.key(&header.kid.ok_or(GoogleError::BadToken)?).await?;
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

    async fn key(&self, id: &str) -> Result<DecodingKey, GoogleError> {
        let mut keys = self.keys.lock().await;
        let now_us = self.clock.now_us();
        let within = |since: Option<Micros>, us: i64| {
            since.is_some_and(|since| {
                now_us.saturating_sub(since).unsigned_abs() < us.unsigned_abs()
            })
        };
        let is_fresh = within(keys.fetched_us, KEYS_FRESH_US);
        if let Some(key) = keys.by_id.get(id).filter(|_| is_fresh) {
            return Ok(key.clone());
        }
        if !within(keys.tried_us, REFETCH_US) {
            keys.tried_us = Some(now_us);
            keys.by_id = self.fetch_keys().await?;
            keys.fetched_us = Some(now_us);
        } else if !is_fresh {
            return Err(GoogleError::Unavailable);
        }
        keys.by_id.get(id).cloned().ok_or(GoogleError::BadToken)
    }

    async fn fetch_keys(&self) -> Result<HashMap<String, DecodingKey>, GoogleError> {
        let fetched = (self.fetch)().await.and_then(|bytes| parse(&bytes));
        fetched.map_err(|reason| {
            tracing::warn!(reason, "Google's keys cannot be had; nobody can sign in with Google");
            GoogleError::Unavailable
        })
    }
}

impl fmt::Debug for Google {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Google").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The RSA keys of a key set, by id.
fn parse(bytes: &[u8]) -> Result<HashMap<String, DecodingKey>, String> {
    if bytes.len() > KEY_SET_BYTES_MAX {
        return Err(format!("the key set is larger than {KEY_SET_BYTES_MAX} bytes"));
    }
    let set: JwkSet =
        serde_json::from_slice(bytes).map_err(|error| format!("the key set is none: {error}"))?;
    let keys = set.keys.iter().filter(|key| matches!(key.algorithm, AlgorithmParameters::RSA(_)));
    let by_id: HashMap<String, DecodingKey> = keys
        .filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(key).ok()?)))
        .take(KEYS_MAX)
        .collect();
    if by_id.is_empty() {
        return Err("the key set holds no RSA key".to_owned());
    }
    Ok(by_id)
}

#[cfg(test)]
mod tests;
