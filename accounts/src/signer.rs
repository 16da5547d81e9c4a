//! Mints API keys.

use std::path::Path;

use millrace_store::ApiKey;

use crate::claims::{Claims, TYP};
use crate::signing_key::SigningKey;
use crate::{KeyFileError, PublicKey};

/// Mints API keys with an Ed25519 private key.
#[derive(Debug)]
pub struct Signer(SigningKey);

impl Signer {
    /// The signer of a key file (PKCS#8, PEM, mode 0600); makes the file at the first use.
    ///
    /// # Errors
    /// [`KeyFileError`], above all when others than the owner may read the file.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        SigningKey::load_or_create(path).map(Self)
    }

    /// What a [`crate::Verifier`] needs to check this signer's keys.
    pub fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// The token of an API key.
    ///
    /// # Errors
    /// The signing itself failed, which nothing the caller does can cause.
    pub fn mint(&self, key: &ApiKey) -> Result<String, jsonwebtoken::errors::Error> {
        self.0.token(TYP, &Claims::of(key))
    }

    #[cfg(test)]
    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.der()
    }
}
