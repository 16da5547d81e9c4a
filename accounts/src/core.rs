//! What users and the people of the back office share: the store, passwords, tokens, the audit
//! log, and the limits of attempts.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_store::{DocumentStore, Kind, StoreError};
use tokio::runtime::Handle;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::documents::{self, Stored};
use crate::limits::{Buckets, Rate, subscriber};
use crate::password::{Password, PasswordError, PasswordHash, PasswordSettings, Passwords};
use crate::people::{EmailOwner, email};
use crate::token::{TokenSecrets, Tokens};

/// How often something may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failed logins of one account.
    pub logins_per_account: Rate,
    /// Failed logins of one address.
    pub logins_per_address: Rate,
    /// Passwords hashed for one account: at every login, and at every change of a password.
    pub hashes_per_account: Rate,
    /// Passwords hashed for one address, also for accounts that it makes.
    pub hashes_per_address: Rate,
    /// Mails to one account.
    pub mails_per_account: Rate,
    /// Mails that one address asks for.
    pub mails_per_address: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        let rate = |burst, seconds| Rate { burst, period: Duration::from_secs(seconds) };
        let tenth = Duration::from_millis(100);
        Self {
            logins_per_account: rate(10, 30),
            logins_per_address: rate(100, 3),
            hashes_per_account: rate(60, 1),
            hashes_per_address: Rate { burst: 600, period: tenth },
            mails_per_account: rate(5, 600),
            mails_per_address: rate(50, 60),
        }
    }
}

/// What the configuration says.
#[derive(Debug)]
pub struct Settings {
    /// What tokens are signed with.
    pub secrets: TokenSecrets,
    /// What a password's hash costs.
    pub passwords: PasswordSettings,
    /// The runtime on whose blocking threads passwords are hashed; `None`: the caller's.
    pub hashing: Option<Handle>,
    /// How often something may be tried.
    pub limits: Limits,
    /// Whether only users whose address is verified may sign in.
    pub must_verify: bool,
}

/// What is shared by [`crate::People`] and [`crate::BackOffice`].
pub struct Core {
    pub(crate) store: Arc<dyn DocumentStore>,
    pub(crate) passwords: Passwords,
    pub(crate) tokens: Tokens,
    pub(crate) audit: Arc<Audit>,
    pub(crate) clock: Clock,
    pub(crate) must_verify: bool,
    pub(crate) logins: Attempts,
    pub(crate) hashes: Attempts,
    pub(crate) mails: Attempts,
}

impl Core {
    /// Makes it; hashes one password.
    ///
    /// # Errors
    /// The settings of passwords cannot be.
    pub fn new(
        store: Arc<dyn DocumentStore>,
        settings: Settings,
        clock: Clock,
    ) -> Result<Arc<Self>, PasswordError> {
        let Settings { secrets, passwords, hashing, limits, must_verify } = settings;
        Ok(Arc::new(Self {
            passwords: Passwords::new(passwords, hashing)?,
            tokens: Tokens::new(secrets, clock.clone()),
            audit: Arc::new(Audit::new(Arc::clone(&store), clock.clone())),
            must_verify,
            logins: Attempts::new(limits.logins_per_account, limits.logins_per_address),
            hashes: Attempts::new(limits.hashes_per_account, limits.hashes_per_address),
            mails: Attempts::new(limits.mails_per_account, limits.mails_per_address),
            store,
            clock,
        }))
    }

    /// One for commands, of which none asks for a token. Its secret is this process's own and is
    /// forgotten with it.
    ///
    /// # Errors
    /// There is no randomness, or the settings of passwords cannot be.
    pub fn for_commands(
        store: Arc<dyn DocumentStore>,
        passwords: PasswordSettings,
    ) -> Result<Arc<Self>, PasswordError> {
        let settings = Settings {
            secrets: TokenSecrets::of_this_process().map_err(|_| PasswordError::Failed)?,
            passwords,
            hashing: None,
            limits: Limits::default(),
            must_verify: false,
        };
        Self::new(store, settings, Clock::default())
    }

    /// The audit log, for [`crate::Accounts::with_audit`].
    pub fn audit(&self) -> Arc<Audit> {
        Arc::clone(&self.audit)
    }

    /// Counts a login, and the hash that it costs.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_login(&self, account: &str, from: IpAddr) -> Result<(), Duration> {
        let now_us = self.clock.now_us();
        self.logins.count(account, from, now_us)?;
        self.hashes.count(account, from, now_us).inspect_err(|_| self.logins.forgive(account, from))
    }

    /// A login whose password was not looked at does not count.
    pub(crate) fn forget_login(&self, account: &str, from: IpAddr) {
        self.logins.forgive(account, from);
        self.hashes.forgive(account, from);
    }

    /// Hashes a password that somebody at an address sets by their account, and counts it.
    ///
    /// # Errors
    /// [`PasswordError::TooMany`], or it is not hashed.
    pub(crate) async fn hash(
        &self,
        account: &str,
        from: IpAddr,
        password: Password,
    ) -> Result<PasswordHash, PasswordError> {
        let counted = self.hashes.count(account, from, self.clock.now_us());
        counted.map_err(PasswordError::TooMany)?;
        let hash = self.passwords.hash(password).await;
        hash.inspect_err(|_| self.hashes.forgive(account, from))
    }

    /// Counts an account that somebody at an address makes, and the hash that it costs.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_new(&self, from: IpAddr) -> Result<(), Duration> {
        self.hashes.count_address(from, self.clock.now_us())
    }

    /// Hashes the first password of an account that was counted.
    ///
    /// # Errors
    /// It is not hashed.
    pub(crate) async fn hash_new(
        &self,
        from: IpAddr,
        password: Password,
    ) -> Result<PasswordHash, PasswordError> {
        let hash = self.passwords.hash(password).await;
        hash.inspect_err(|_| self.hashes.forgive_address(from))
    }

    /// Whose an e-mail address is.
    pub(crate) async fn email_owner(
        &self,
        address: &str,
    ) -> Result<Option<Stored<EmailOwner>>, StoreError> {
        // What is too long is nobody's, and no key that a store could look for.
        let key = match address.len() {
            ..=email::ADDRESS_BYTES_MAX => email::key(address),
            _ => "nobody".to_owned(),
        };
        documents::load(&*self.store, Kind::Email, &key).await
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

/// Attempts at an account, counted by account and by address.
#[derive(Debug)]
pub(crate) struct Attempts {
    by_account: Buckets,
    by_address: Buckets,
}

impl Attempts {
    fn new(per_account: Rate, per_address: Rate) -> Self {
        Self { by_account: Buckets::new(per_account), by_address: Buckets::new(per_address) }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count(&self, account: &str, from: IpAddr, now_us: i64) -> Result<(), Duration> {
        self.count_address(from, now_us)?;
        self.by_account.take(email::key(account), now_us).inspect_err(|_| {
            self.forgive_address(from);
        })
    }

    /// Counts an attempt whose account is not known yet.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_address(&self, from: IpAddr, now_us: i64) -> Result<(), Duration> {
        self.by_address.take(subscriber(from), now_us)
    }

    pub(crate) fn forgive_address(&self, from: IpAddr) {
        self.by_address.give_back(subscriber(from));
    }

    /// Gives back an attempt that should not count.
    pub(crate) fn forgive(&self, account: &str, from: IpAddr) {
        self.by_account.give_back(email::key(account));
        self.forgive_address(from);
    }
}
