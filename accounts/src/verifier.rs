//! Checks API keys with public keys only, and remembers those it has checked.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use millrace_store::{AccountStore, Scope, StoreError};
use uuid::Uuid;

use crate::PublicKey;
use crate::claims::{AUDIENCE, Claims, ISSUER, TYP, US_PER_SECOND};

/// Bytes of a token; what is longer is refused unread.
const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Tokens remembered. Only genuine ones are, so a stranger cannot push others out.
const CACHED_TOKENS_MAX: usize = 10_000;

/// Whom a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The key's `jti`.
    pub key_id: Uuid,
    /// The project it belongs to.
    pub project: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it ends, microseconds; `None`: never.
    pub expires_us: Option<i64>,
}

impl Principal {
    /// Whether the key may do it.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyError {
    /// Not a JWT of ours: form, algorithm, or claims.
    #[error("the key is malformed")]
    Malformed,
    /// Signed with a key that is not known here.
    #[error("the key's signer is not known")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the key's signature is wrong")]
    BadSignature,
    /// Its time is over.
    #[error("the key has expired")]
    Expired,
    /// It was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// Genuine, but the revocations were never read, so that it may be revoked.
    #[error("keys cannot be checked before the list of revoked keys was read")]
    RevocationsUnread,
}

type TokenHash = [u8; SHA256_OUTPUT_LEN];

/// Checks API keys. Cheap for a key it has seen: one SHA-256 and two look-ups.
pub struct Verifier {
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
    checked: RwLock<HashMap<TokenHash, Arc<Principal>>>,
    checked_max: usize,
    revoked: RwLock<HashSet<Uuid>>,
    /// Whether `revoked` was read once.
    has_revocations: AtomicBool,
}

impl Verifier {
    /// A verifier of tokens signed with any of these keys. It honours none before the first
    /// [`Verifier::refresh`].
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys = keys
            .into_iter()
            .map(|key| (key.kid().to_owned(), DecodingKey::from_ed_der(key.bytes())))
            .collect();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud"]);
        // Checked at every use, also of a remembered token.
        validation.validate_exp = false;
        Self {
            keys,
            validation,
            checked: RwLock::default(),
            checked_max: CACHED_TOKENS_MAX,
            revoked: RwLock::default(),
            has_revocations: AtomicBool::new(false),
        }
    }

    /// Whom the token stands for at `now_us` (microseconds since 1970).
    ///
    /// # Errors
    /// [`KeyError`]: the token must not be honoured.
    pub fn verify(&self, token: &str, now_us: i64) -> Result<Arc<Principal>, KeyError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(KeyError::Malformed);
        }
        let principal = self.genuine(token)?;
        if principal.expires_us.is_some_and(|end_us| now_us >= end_us) {
            return Err(KeyError::Expired);
        }
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        if revoked.contains(&principal.key_id) {
            return Err(KeyError::Revoked);
        }
        if !self.has_revocations() {
            return Err(KeyError::RevocationsUnread);
        }
        Ok(principal)
    }

    fn genuine(&self, token: &str) -> Result<Arc<Principal>, KeyError> {
        let mut hash: TokenHash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let known = self.checked.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some(principal) = known {
            return Ok(principal);
        }
        let principal = Arc::new(self.check(token)?);
        let mut checked = self.checked.write().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= self.checked_max {
            checked.clear();
        }
        checked.insert(hash, Arc::clone(&principal));
        Ok(principal)
    }

    fn check(&self, token: &str) -> Result<Principal, KeyError> {
        let header = decode_header(token).map_err(|_| KeyError::Malformed)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYP) {
            return Err(KeyError::Malformed);
        }
        let kid = header.kid.ok_or(KeyError::Malformed)?;
        let key = self.keys.get(&kid).ok_or(KeyError::UnknownKey)?;
        let claims =
            decode::<Claims>(token, key, &self.validation).map_err(|e| match e.kind() {
                ErrorKind::InvalidSignature => KeyError::BadSignature,
                _ => KeyError::Malformed,
            })?;
        let Claims { jti, project_id, scopes, exp, .. } = claims.claims;
        let expires_us = exp.map(|seconds| seconds.saturating_mul(US_PER_SECOND));
        Ok(Principal { key_id: jti, project: project_id, scopes, expires_us })
    }

    /// As after reading an empty list.
    #[cfg(test)]
    pub(crate) fn without_revocations(mut self) -> Self {
        self.has_revocations = AtomicBool::new(true);
        self
    }

    /// Whether the revocations were read, so that keys are honoured.
    pub fn has_revocations(&self) -> bool {
        self.has_revocations.load(Ordering::Acquire)
    }

    /// Refuses a key from now on. A revocation is never taken back.
    pub fn revoke(&self, key_id: Uuid) {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).insert(key_id);
    }

    /// Reads the revocations from the store. A key that the store does not know stays valid: its
    /// signature says enough.
    ///
    /// # Errors
    /// The store is away; what was known before stays in force.
    pub async fn refresh(&self, store: &dyn AccountStore) -> Result<(), StoreError> {
        let keys = store.keys().await?;
        let revoked = keys.iter().filter(|key| key.revoked_us.is_some()).map(|key| key.id);
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).extend(revoked);
        self.has_revocations.store(true, Ordering::Release);
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("kids", &self.keys.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
