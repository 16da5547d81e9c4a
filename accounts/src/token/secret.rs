//! The secrets that tokens are signed with: from the configuration, or made and kept.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::file::create_private;
use crate::read_private;

/// Bytes of a secret: 256 bits.
const SECRET_BYTES_MIN: usize = 32;
/// Secrets in force at once: today's, and the one before or after it.
const SECRETS_MAX: usize = 2;

/// One or two secrets. Tokens are signed with the first; both are accepted.
pub struct TokenSecrets {
    pub(super) signing: EncodingKey,
    pub(super) accepted: Vec<DecodingKey>,
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// None, or too many.
    #[error("{0} token secrets are configured; it must be one, or two while they change")]
    Count(usize),
    /// Too short to be one.
    #[error(
        "token secret {place} has {bytes} bytes; at least {SECRET_BYTES_MIN} are needed (256 \
         bits): make one with `openssl rand -base64 48`"
    )]
    Short {
        /// Which, from 1.
        place: usize,
        /// Its length.
        bytes: usize,
    },
    /// Two that are one.
    #[error("the two token secrets are the same; a rotation needs two different ones")]
    Same,
    /// Reading or writing the file failed, or others may read it.
    #[error("token secret {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No randomness.
    #[error("no token secret could be generated")]
    Generation,
}

impl TokenSecrets {
    /// Secrets from the configuration; the bytes of each text are the key.
    ///
    /// # Errors
    /// None or more than two, the same twice, or one below 256 bits.
    pub fn new(secrets: &[String]) -> Result<Self, SecretError> {
        let Some(first) = secrets.first().filter(|_| secrets.len() <= SECRETS_MAX) else {
            return Err(SecretError::Count(secrets.len()));
        };
        for (index, secret) in secrets.iter().enumerate() {
            if secret.len() < SECRET_BYTES_MIN {
                return Err(SecretError::Short { place: index + 1, bytes: secret.len() });
            }
        }
        if secrets.get(1) == Some(first) {
            return Err(SecretError::Same);
        }
        let accepted = secrets.iter().map(|text| DecodingKey::from_secret(text.as_bytes()));
        let accepted = accepted.collect();
        Ok(Self { signing: EncodingKey::from_secret(first.as_bytes()), accepted })
    }

    /// The secrets of a file (mode 0600), one to a line.
    ///
    /// # Errors
    /// [`SecretError`], above all when there is no file, or others than the owner may read it.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let io = |source| SecretError::Io { path: path.to_owned(), source };
        let none = || {
            let text = "there is no such file; make one with `openssl rand -base64 48`, mode 0600";
            io(io::Error::new(io::ErrorKind::NotFound, text))
        };
        let text = read_private(path).map_err(io)?.ok_or_else(none)?;
        let secrets: Vec<String> = text.lines().map(str::to_owned).collect();
        Self::new(&secrets)
    }

    /// The secrets of a file, made with one at the first use.
    ///
    /// # Errors
    /// As [`Self::load`], but for the missing file.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        let io = |source| SecretError::Io { path: path.to_owned(), source };
        if read_private(path).map_err(io)?.is_none() {
            // Where another process is faster, its secret is the one of the file.
            create_private(path, format!("{}\n", generate()?).as_bytes()).map_err(io)?;
        }
        Self::load(path)
    }

    /// A secret that nobody else has, for who neither makes nor checks tokens of others.
    pub(crate) fn of_this_process() -> Result<Self, SecretError> {
        Self::new(&[generate()?])
    }
}

fn generate() -> Result<String, SecretError> {
    let mut bytes = [0; 48];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretError::Generation)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl fmt::Debug for TokenSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSecrets").field("secrets", &self.accepted.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn text(of: char, bytes: usize) -> String {
        of.to_string().repeat(bytes)
    }

    #[test]
    fn a_secret_has_at_least_256_bits_and_there_are_one_or_two() {
        assert!(TokenSecrets::new(&[text('a', 32)]).is_ok());
        assert!(TokenSecrets::new(&[text('a', 32), text('b', 32)]).is_ok());
        let message = |secrets: &[String]| TokenSecrets::new(secrets).unwrap_err().to_string();
        assert!(message(&[]).contains("0 token secrets"));
        assert!(message(&[text('a', 31)]).contains("has 31 bytes; at least 32"));
        assert!(message(&[text('a', 32), text('b', 5)]).contains("secret 2 has 5 bytes"));
        assert!(message(&[text('a', 32), text('a', 32)]).contains("the same"));
        let three = [text('a', 32), text('b', 32), text('c', 32)];
        assert!(message(&three).contains("3 token secrets"));
        assert!(!message(&[text('q', 31)]).contains("qqq"));
    }

    #[test]
    fn a_secret_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.secret");
        TokenSecrets::load_or_create(&path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        TokenSecrets::load_or_create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(TokenSecrets::load(&path).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(TokenSecrets::load_or_create(&path), Err(SecretError::Io { .. })));
        let missing = TokenSecrets::load(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("there is no such file"), "{missing}");
    }

    #[test]
    fn who_asks_for_a_missing_secret_at_once_gets_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.secret");
        let load = || TokenSecrets::load_or_create(&path).unwrap().signing.as_bytes().to_vec();
        let all: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|secret| *secret == all[0]));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
