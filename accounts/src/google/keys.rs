//! Google's keys, kept for a while.
//!
//! Owns when they are fetched anew. Must not know what is signed with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use millrace_schema::time::Micros;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{FetchKeys, GoogleError};
use crate::clock::Clock;

/// Bytes of a key set; what is longer is refused unread.
const KEY_SET_BYTES_MAX: usize = 64 * 1024;
const KEYS_MAX: usize = 32;
/// How long fetched keys are used.
const KEYS_FRESH_US: i64 = 3_600 * 1_000_000;
/// How often an unknown key, or a failed fetch, may lead to another fetch.
const REFETCH_US: i64 = 10 * 1_000_000;

/// Fetches keys and keeps them.
pub(super) struct Keys {
    fetch: FetchKeys,
    clock: Clock,
    known: Mutex<Known>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<String, DecodingKey>,
    tried_us: Option<Micros>,
    /// The last try that succeeded.
    fetched_us: Option<Micros>,
}

impl Keys {
    pub(super) fn new(fetch: FetchKeys, clock: Clock) -> Self {
        let fetching = tokio::sync::Mutex::new(());
        Self { fetch, clock, known: Mutex::default(), fetching }
    }

    /// The key of an id. For one that is known nobody waits, whatever is fetched meanwhile.
    pub(super) async fn key(self: &Arc<Self>, id: &str) -> Result<DecodingKey, GoogleError> {
        if let Some(key) = self.fresh(id) {
            return Ok(key);
        }
        // By a task of its own: a caller who hangs up ends no fetch that others wait for.
        let keys = Arc::clone(self);
        let refreshed = tokio::spawn(async move { keys.refresh().await });
        refreshed.await.map_err(|_| GoogleError::Unavailable)?;
        match self.fresh(id) {
            Some(key) => Ok(key),
            None if self.last_try_succeeded() => Err(GoogleError::BadToken),
            None => Err(GoogleError::Unavailable),
        }
    }

    fn fresh(&self, id: &str) -> Option<DecodingKey> {
        let known = self.known();
        let is_fresh = self.is_within(known.fetched_us, KEYS_FRESH_US);
        known.by_id.get(id).filter(|_| is_fresh).cloned()
    }

    fn last_try_succeeded(&self) -> bool {
        let known = self.known();
        known.fetched_us.is_some() && known.fetched_us == known.tried_us
    }

    /// Fetches the keys, unless that was tried a moment ago.
    async fn refresh(&self) {
        let _fetching = self.fetching.lock().await;
        if self.is_within(self.known().tried_us, REFETCH_US) {
            return;
        }
        let now_us = self.clock.now_us();
        self.known().tried_us = Some(now_us);
        match (self.fetch)().await.and_then(|bytes| parse(&bytes)) {
            Ok(by_id) => {
                let mut known = self.known();
                (known.by_id, known.fetched_us) = (by_id, Some(now_us));
            }
            Err(reason) => {
                let text = "Google's keys cannot be had; nobody can sign in with Google";
                tracing::warn!(reason, "{text}");
            }
        }
    }

    fn is_within(&self, since: Option<Micros>, us: i64) -> bool {
        let now_us = self.clock.now_us();
        since.is_some_and(|since| now_us.saturating_sub(since).unsigned_abs() < us.unsigned_abs())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct KeySet<'b> {
    #[serde(borrow)]
    keys: Vec<&'b RawValue>,
}

/// The RSA keys of a key set, by id. What is not understood is passed over (RFC 7517, section 5).
fn parse(bytes: &[u8]) -> Result<HashMap<String, DecodingKey>, String> {
    if bytes.len() > KEY_SET_BYTES_MAX {
        return Err(format!("the key set is larger than {KEY_SET_BYTES_MAX} bytes"));
    }
    let set: KeySet<'_> =
        serde_json::from_slice(bytes).map_err(|error| format!("the key set is none: {error}"))?;
    let keys = set.keys.iter().filter_map(|key| serde_json::from_str::<Jwk>(key.get()).ok());
    let by_id: HashMap<String, DecodingKey> = keys
        .filter(|key| matches!(key.algorithm, AlgorithmParameters::RSA(_)))
        .filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(&key).ok()?)))
        .take(KEYS_MAX)
        .collect();
    if by_id.is_empty() {
        return Err("the key set holds no RSA key".to_owned());
    }
    Ok(by_id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_set_is_bounded_and_holds_rsa_keys() {
        for text in ["", "{}", "{\"keys\": []}", "[]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let symmetric =
            json!({"keys": [{"kty": "oct", "kid": "one", "k": "AAAA", "alg": "HS256"}]});
        assert!(parse(symmetric.to_string().as_bytes()).is_err());
        let large = " ".repeat(KEY_SET_BYTES_MAX + 1);
        assert!(parse(large.as_bytes()).unwrap_err().contains("65536"));
    }

    #[test]
    fn keys_that_are_not_understood_are_passed_over() {
        let set = json!({"keys": [
            {"kty": "AKP", "kid": "a", "alg": "ML-DSA-44", "pub": "AA"}, {"kid": "nothing"}, 7,
            {"kty": "RSA", "kid": "no text", "n": "!", "e": "AQAB"}, {"kty": "RSA", "kid": "half"},
            {"kty": "RSA", "kid": "good", "n": "AQAB", "e": "AQAB"},
        ]});
        let keys = parse(set.to_string().as_bytes()).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["good"]);
    }
}
