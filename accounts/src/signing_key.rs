//! A private Ed25519 key and its file. The private half never leaves it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::file::create_private;
use crate::{PublicKey, read_private};

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Signs with an Ed25519 private key.
pub(crate) struct SigningKey {
    tokens: EncodingKey,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// Why a signing key cannot be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Reading or writing failed, or others may read it.
    #[error("signing key {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("signing key {} is not an Ed25519 private key (PKCS#8, PEM)", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
    },
    /// No randomness, or no key from it.
    #[error("no signing key could be generated")]
    Generation,
}

impl SigningKey {
    /// The key of a file (PKCS#8, PEM, mode 0600); makes the file at the first use.
    ///
    /// # Errors
    /// [`KeyFileError`], above all when others than the owner may read the file.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        let io = |source| KeyFileError::Io { path: path.to_owned(), source };
        let invalid = || KeyFileError::Invalid { path: path.to_owned() };
        let pem = match read_private(path).map_err(io)? {
            Some(pem) => pem,
            None => {
                // Where another process is faster, its key is the one of the file.
                create_private(path, Self::generate()?.as_bytes()).map_err(io)?;
                read_private(path).map_err(io)?.ok_or(KeyFileError::Generation)?
            }
        };
        Self::from_der(&der_of(&pem).ok_or_else(invalid)?).ok_or_else(invalid)
    }

    /// A new key, PEM.
    fn generate() -> Result<String, KeyFileError> {
        let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
            .map_err(|_| KeyFileError::Generation)?;
        Ok(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(document.as_ref())))
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
        let public = PublicKey::new(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { tokens: EncodingKey::from_ed_der(der), pair, public })
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// A JWT of some claims under this key's `kid`; `typ` as in RFC 7515, section 4.1.9.
    pub(crate) fn token(
        &self,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.public.kid().to_owned());
        encode(&header, claims, &self.tokens)
    }

    /// The signature (64 bytes) of some bytes.
    pub(crate) fn signature(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }

    #[cfg(test)]
    pub(crate) fn der(&self) -> Vec<u8> {
        self.tokens.as_bytes().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.public.kid()).finish_non_exhaustive()
    }
}

fn der_of(pem: &str) -> Option<Vec<u8>> {
    let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let text: String = body.split_whitespace().collect();
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::write_private;

    fn key_path(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("signing.pem")
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = key_path(&folder);
        let first = SigningKey::load_or_create(&path).unwrap();
        let second = SigningKey::load_or_create(&path).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn who_makes_a_key_file_at_the_same_time_gets_the_key_that_is_in_it() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = key_path(&folder);
            let kid = || SigningKey::load_or_create(&path).unwrap().public_key().kid().to_owned();
            let kids: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(kid)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(kids, vec![kid(); 8]);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        }
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = key_path(&folder);
        SigningKey::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SigningKey::load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("its mode is 0640"), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = key_path(&folder);
        for content in
            ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
        {
            write_private(&path, content.as_bytes()).unwrap();
            let error = SigningKey::load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Invalid { .. }), "{content:?}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn debug_shows_no_private_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::load_or_create(&key_path(&folder)).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("SigningKey {{ kid: {:?}, .. }}", key.public_key().kid()));
    }
}
