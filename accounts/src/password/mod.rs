//! Passwords: hashed and checked with Argon2id, on a bounded number of threads of their own.
//!
//! Owns the hash's form and cost. Must not know whose password it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// What a hash costs, and how many are made at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordSettings {
    /// Memory of one hash, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Hashes at once; at least 1.
    pub threads: usize,
    /// Hashes that may wait for a thread.
    pub queue: usize,
}

impl Default for PasswordSettings {
    /// OWASP's smallest (19 MiB, 2 passes), on half of the processors.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors / 2).max(1);
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1, threads, queue: 16 * threads }
    }
}

/// A password on its way to be hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// A password as typed.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A hash in PHC string format.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PasswordHash(String);

impl PasswordHash {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// Why there is no hash, or no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The settings cannot be.
    #[error(
        "the password settings cannot be: memory must be at least 8 KiB a lane, passes and lanes \
         at least 1"
    )]
    Settings,
    /// As many wait as may.
    #[error("too many passwords are being checked")]
    Busy,
    /// The account, or the address of the network, had as many hashed as it may; how long to wait.
    #[error("too many passwords were hashed for one account or address")]
    TooMany(Duration),
    /// The hashing itself failed: memory, or randomness.
    #[error("a password could not be hashed")]
    Failed,
}

/// Whether it was the right password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right {
        /// The hash at today's cost, if the old one had another.
        rehashed: Option<PasswordHash>,
    },
}

/// Hashes and checks passwords.
#[derive(Clone)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    /// What the password of nobody is checked against.
    decoy: PasswordHash,
    /// Whose blocking threads it uses; `None`: those of the caller's runtime.
    runtime: Option<Handle>,
    threads: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(
        settings: PasswordSettings,
        runtime: Option<Handle>,
    ) -> Result<Self, PasswordError> {
        let PasswordSettings { memory_kib, passes, lanes, threads, queue } = settings;
        let params = Params::new(memory_kib, passes, lanes, None);
        let params = params.map_err(|_| PasswordError::Settings)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let threads = threads.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = threads + queue.min(Semaphore::MAX_PERMITS / 2);
        Ok(Self {
            decoy: hash(&argon2, b"")?,
            argon2,
            runtime,
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(places)),
        })
    }

    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordError> {
        self.on_thread(move |argon2| hash(argon2, password.expose().as_bytes())).await
    }

    /// Checks a password against a hash. Without one it takes as long and is wrong.
    pub(crate) async fn verify(
        &self,
        password: Password,
        known: Option<PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        let is_known = known.is_some();
        let known = known.unwrap_or_else(|| self.decoy.clone());
        self.on_thread(move |argon2| verify(argon2, password.expose().as_bytes(), &known, is_known))
            .await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let thread =
            Arc::clone(&self.threads).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let argon2 = self.argon2.clone();
        // A caller who hangs up does not free the thread: the permits go with the work.
        let work = move || {
            let result = work(&argon2);
            drop((thread, place));
            result
        };
        let task = match &self.runtime {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        };
        task.await.map_err(|_| PasswordError::Failed)?
    }
}

#[cfg(test)]
impl Passwords {
    /// Takes all threads: nothing is hashed until they are let go.
    pub(crate) fn hold(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(self.threads.available_permits()).unwrap();
        Arc::clone(&self.threads).try_acquire_many_owned(all).unwrap()
    }

    /// How many more may wait, or be hashed.
    pub(crate) fn places(&self) -> usize {
        self.places.available_permits()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("params", self.argon2.params()).finish_non_exhaustive()
    }
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<PasswordHash, PasswordError> {
    let hash = argon2.hash_password(password).map_err(|_| PasswordError::Failed)?;
    Ok(PasswordHash(hash.to_string()))
}

fn verify(
    argon2: &Argon2<'_>,
    password: &[u8],
    known: &PasswordHash,
    is_known: bool,
) -> Result<Verdict, PasswordError> {
    let parsed = phc::PasswordHash::new(&known.0).map_err(|_| PasswordError::Failed)?;
    if argon2.verify_password(password, &parsed).is_err() || !is_known {
        return Ok(Verdict::Wrong);
    }
    let params = Params::try_from(&parsed).map_err(|_| PasswordError::Failed)?;
    let today = argon2.params();
    let is_today = parsed.algorithm == Algorithm::Argon2id.ident()
        && parsed.version == Some(Version::V0x13.into())
        && (params.m_cost(), params.t_cost(), params.p_cost())
            == (today.m_cost(), today.t_cost(), today.p_cost());
    let rehashed = if is_today { None } else { Some(hash(argon2, password)?) };
    Ok(Verdict::Right { rehashed })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordSettings =
        PasswordSettings { memory_kib: 64, passes: 1, lanes: 1, threads: 1, queue: 4 };

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let passwords = Passwords::new(CHEAP, None).unwrap();
        let hash = passwords.hash(password("correct horse")).await.unwrap();
        let right = passwords.verify(password("correct horse"), Some(hash.clone())).await;
        assert_eq!(right, Ok(Verdict::Right { rehashed: None }));
        for (text, known) in [("correct hors", Some(hash.clone())), ("", Some(hash)), ("", None)] {
            assert_eq!(passwords.verify(password(text), known).await, Ok(Verdict::Wrong));
        }
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_right_and_made_anew() {
        let old =
            Passwords::new(CHEAP, None).unwrap().hash(password("correct horse")).await.unwrap();
        let settings = PasswordSettings { passes: 2, ..CHEAP };
        let passwords = Passwords::new(settings, None).unwrap();
        let verdict = passwords.verify(password("correct horse"), Some(old)).await.unwrap();
        let Verdict::Right { rehashed: Some(new) } = verdict else { panic!("{verdict:?}") };
        let verdict = passwords.verify(password("correct horse"), Some(new)).await;
        assert_eq!(verdict, Ok(Verdict::Right { rehashed: None }));
    }

    #[tokio::test]
    async fn who_finds_every_place_taken_is_told_so_at_once() {
        let settings = PasswordSettings { queue: 1, ..CHEAP };
        let passwords = Passwords::new(settings, None).unwrap();
        let thread = passwords.threads.clone().acquire_owned().await.unwrap();
        let one_place = passwords.places.clone().acquire_owned().await.unwrap();
        let waiting = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.hash(password("waits")).await }
        });
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.hash(password("refused")).await, Err(PasswordError::Busy));
        drop((thread, one_place));
        assert!(waiting.await.unwrap().is_ok());
        assert!(passwords.hash(password("goes on")).await.is_ok());
    }

    #[tokio::test]
    async fn passwords_are_hashed_on_the_runtime_that_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let passwords = Passwords::new(CHEAP, Some(runtime.handle().clone())).unwrap();
        assert!(passwords.hash(password("correct horse")).await.is_ok());
        runtime.shutdown_background();
        let refused = passwords.hash(password("correct horse")).await;
        assert_eq!(refused, Err(PasswordError::Failed));
    }

    #[test]
    fn debug_shows_neither_password_nor_hash() {
        let passwords = Passwords::new(CHEAP, None).unwrap();
        let shown = format!("{:?} {:?} {:?}", passwords, passwords.decoy, password("s3cret"));
        assert!(!shown.contains("s3cret") && !shown.contains("$argon2"), "{shown}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        for settings in [
            PasswordSettings { memory_kib: 1, ..CHEAP },
            PasswordSettings { passes: 0, ..CHEAP },
            PasswordSettings { lanes: 0, ..CHEAP },
        ] {
            assert_eq!(Passwords::new(settings, None).unwrap_err(), PasswordError::Settings);
        }
    }
}
