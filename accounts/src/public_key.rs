//! The public half of a signing key, the name it goes by, and its file.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::file::{read_public, write_public};

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";
/// What stands before the 32 bytes in a `SubjectPublicKeyInfo` (RFC 8410, section 4).
const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// An Ed25519 public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    bytes: Vec<u8>,
}

/// Why a public key cannot be had from its file, or brought there.
#[derive(Debug, thiserror::Error)]
pub enum PublicKeyError {
    /// Reading or writing failed.
    #[error("cannot read or write the public key {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "public key {} is not one Ed25519 public key (PEM, as `keys/signing.pub.pem` of a data \
         folder is)",
        path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
    },
}

impl PublicKey {
    /// A key from its 32 bytes. Its `kid` is the JWK thumbprint (RFC 7638, members as in RFC 8037
    /// section 2), so that every process gives the same key the same name.
    pub fn new(bytes: [u8; 32]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(bytes);
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes()));
        Self { kid, bytes: bytes.to_vec() }
    }

    /// The key of a file (`SubjectPublicKeyInfo`, PEM).
    ///
    /// # Errors
    /// The file is not there, or holds something else.
    pub fn load(path: &Path) -> Result<Self, PublicKeyError> {
        let io = |source| PublicKeyError::Io { path: path.to_owned(), source };
        let pem = read_public(path).map_err(io)?;
        let invalid = || PublicKeyError::Invalid { path: path.to_owned() };
        Self::from_pem(&pem).ok_or_else(invalid)
    }

    /// Writes the key to a file that everybody may read, unless it is there already.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PublicKeyError> {
        let pem = self.to_pem();
        if read_public(path).is_ok_and(|is| is == pem) {
            return Ok(());
        }
        let io = |source| PublicKeyError::Io { path: path.to_owned(), source };
        write_public(path, pem.as_bytes()).map_err(io)
    }

    fn to_pem(&self) -> String {
        let der = [&DER_PREFIX, self.bytes.as_slice()].concat();
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der))
    }

    fn from_pem(pem: &str) -> Option<Self> {
        let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
        let text: String = body.split_whitespace().collect();
        let der = STANDARD.decode(text).ok()?;
        Some(Self::new(der.strip_prefix(&DER_PREFIX)?.try_into().ok()?))
    }

    /// What a token's header calls it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_is_the_pem_of_rfc_8410_and_everybody_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.pub.pem");
        // RFC 8410, section 10.1.
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                   -----END PUBLIC KEY-----\n";
        let key = PublicKey::from_pem(pem).unwrap();
        key.save(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), pem);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(PublicKey::load(&path).unwrap(), key);
    }

    #[test]
    fn a_file_that_is_not_there_or_holds_something_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        let error = PublicKey::load(&path).unwrap_err();
        assert!(matches!(error, PublicKeyError::Io { .. }), "{error}");
        let begun = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
        for content in ["", "no key", begun, &begun.replace("PUBLIC", "PRIVATE")] {
            fs::write(&path, content).unwrap();
            let error = PublicKey::load(&path).unwrap_err();
            assert!(error.to_string().contains("a.pem is not one Ed25519 public key"), "{error}");
        }
    }

    #[test]
    fn the_kid_is_the_thumbprint_of_rfc_8037() {
        // RFC 8037, appendices A.2 and A.3.
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let key = PublicKey::new(x.try_into().unwrap());
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
