//! Signs receipts.

use std::path::Path;

use millrace_schema::receipt::{Receipt, TYP};
use millrace_schema::time::wall_clock_us;
use millrace_store::ReceiptKey;

use crate::signing_key::SigningKey;
use crate::{KeyFileError, PublicKey};

/// Signs receipts, and what carries them, with an Ed25519 private key that mints no API keys.
#[derive(Debug)]
pub struct ReceiptSigner(SigningKey);

impl ReceiptSigner {
    /// The signer of a key file (PKCS#8, PEM, mode 0600); makes the file at the first use.
    ///
    /// # Errors
    /// [`KeyFileError`], above all when others than the owner may read the file.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        SigningKey::load_or_create(path).map(Self)
    }

    /// What receipts are checked with.
    pub fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// The same, as it must be in the store before the first receipt is signed.
    pub fn receipt_key(&self) -> ReceiptKey {
        let public = self.public_key();
        ReceiptKey {
            kid: public.kid().to_owned(),
            public: public.bytes().to_vec(),
            created_us: wall_clock_us(),
        }
    }

    /// The token of a receipt.
    ///
    /// # Errors
    /// The signing itself failed, which nothing the caller does can cause.
    pub fn sign(&self, receipt: &Receipt) -> Result<String, jsonwebtoken::errors::Error> {
        self.0.token(TYP, receipt)
    }

    /// The Ed25519 signature (64 bytes) of some bytes.
    pub fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.signature(bytes)
    }
}
