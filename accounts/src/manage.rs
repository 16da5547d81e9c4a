//! Making projects, making, rotating and revoking their keys, and setting their webhooks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_schema::id::new_id;
use millrace_schema::limits::PROJECT_ID_BYTES;
use millrace_schema::time::wall_clock_us;
use millrace_store::{AccountStore, ApiKey, Project, Scope, StoreError, Webhook};
use serde::Serialize;
use uuid::Uuid;

use crate::audit::{Actor, Audit, Entry};
use crate::claims::US_PER_SECOND;
use crate::{Signer, Verifier};

/// Bytes of a project's name.
const PROJECT_NAME_BYTES: usize = 256;

/// Projects and keys, with what it takes to mint and to refuse.
#[derive(Clone)]
pub struct Accounts {
    store: Arc<dyn AccountStore>,
    signer: Arc<Signer>,
    verifier: Arc<Verifier>,
    audit: Option<Arc<Audit>>,
}

/// A key that was just minted. The token is kept nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What is kept of it.
    pub key: ApiKey,
    /// The key itself.
    pub token: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why a project or key is not as asked for.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The id cannot be a project's.
    #[error(
        "a project id has 1 to {PROJECT_ID_BYTES} bytes and no control characters; this one has \
         {bytes} bytes{}", if *.control { " and a control character" } else { "" }
    )]
    ProjectId {
        /// Its length.
        bytes: usize,
        /// Whether it holds a control character.
        control: bool,
    },
    /// The name is too long or holds what would garble a terminal.
    #[error("a project name has at most {PROJECT_NAME_BYTES} bytes and no control characters")]
    ProjectName,
    /// There is no such project.
    #[error("there is no project {0:?}; `millrace project list` shows all")]
    UnknownProject(String),
    /// There is no such key.
    #[error("there is no key {0}; `millrace key list` shows all")]
    UnknownKey(Uuid),
    /// It was revoked, so it has no successor.
    #[error("key {0} was revoked before; create a new one instead")]
    AlreadyRevoked(Uuid),
    /// A key that may do nothing.
    #[error("a key needs at least one scope of write, delete, read")]
    NoScopes,
    /// The key would end at once, or beyond what can be told.
    #[error("a key's lifetime must be at least a second and at most 100 years")]
    Lifetime,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token could not be signed.
    #[error("the key could not be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

impl Accounts {
    /// Accounts in a store, with keys minted by `signer`; revocations reach `verifier` at once.
    pub fn new(store: Arc<dyn AccountStore>, signer: Arc<Signer>, verifier: Arc<Verifier>) -> Self {
        Self { store, signer, verifier, audit: None }
    }

    /// The same, with an entry in the audit log for every change. It is written before the change,
    /// because the two cannot be one: no change is without its entry, but an entry may tell of a
    /// change that then failed.
    #[must_use]
    pub fn with_audit(self, audit: Arc<Audit>) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// Adds a project.
    ///
    /// # Errors
    /// The id is taken or cannot be one.
    pub async fn create_project(&self, id: &str, name: &str) -> Result<Project, AccountError> {
        let control = id.chars().any(char::is_control);
        if id.is_empty() || id.len() > PROJECT_ID_BYTES || control {
            return Err(AccountError::ProjectId { bytes: id.len(), control });
        }
        if name.len() > PROJECT_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(AccountError::ProjectName);
        }
        let project =
            Project { id: id.to_owned(), name: name.to_owned(), created_us: wall_clock_us() };
        if self.store.projects().await?.iter().any(|known| known.id == id) {
            return Err(StoreError::Exists(format!("project {id:?}")).into());
        }
        let entry = entry("create", format!("project:{id}"), "project made").with_new(&project);
        self.note(entry).await?;
        self.store.create_project(project.clone()).await?;
        Ok(project)
    }

    /// All projects, by id.
    ///
    /// # Errors
    /// The store is away.
    pub async fn projects(&self) -> Result<Vec<Project>, AccountError> {
        Ok(self.store.projects().await?)
    }

    /// The keys of a project, or all keys, oldest first.
    ///
    /// # Errors
    /// The store is away.
    pub async fn keys(&self, project: Option<&str>) -> Result<Vec<ApiKey>, AccountError> {
        let mut keys = self.store.keys().await?;
        keys.retain(|key| project.is_none_or(|project| key.project == project));
        Ok(keys)
    }

    /// Mints a key of a project, for `lifetime` or for good.
    ///
    /// # Errors
    /// There is no such project, no scope, or the lifetime is out of bounds.
    pub async fn create_key(
        &self,
        project: &str,
        scopes: &[Scope],
        lifetime: Option<Duration>,
    ) -> Result<NewKey, AccountError> {
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(AccountError::NoScopes);
        }
        self.known(project).await?;
        let created_us = wall_clock_us();
        let expires_us = lifetime.map(|lifetime| end_us(created_us, lifetime)).transpose()?;
        let id = new_id(created_us);
        let project = project.to_owned();
        self.add(ApiKey { id, project, scopes, created_us, expires_us, revoked_us: None }).await
    }

    /// Mints a successor with the same project, scopes and length of life, then revokes the old
    /// key, unless it is to be kept until its callers have moved.
    ///
    /// # Errors
    /// There is no such key, or it was revoked.
    pub async fn rotate_key(&self, id: Uuid, keep_old: bool) -> Result<NewKey, AccountError> {
        let keys = self.store.keys().await?;
        let old = keys.into_iter().find(|key| key.id == id).ok_or(AccountError::UnknownKey(id))?;
        if old.revoked_us.is_some() {
            return Err(AccountError::AlreadyRevoked(id));
        }
        let created_us = wall_clock_us();
        let lifetime_us = old.expires_us.map(|end_us| end_us.saturating_sub(old.created_us));
        let expires_us = lifetime_us.map(|us| whole_seconds(created_us.saturating_add(us)));
        let new = ApiKey { id: new_id(created_us), created_us, expires_us, ..old };
        let new = self.add(new).await?;
        if !keep_old {
            self.revoke_key(id).await?;
        }
        Ok(new)
    }

    /// Revokes a key. A second revocation changes nothing.
    ///
    /// # Errors
    /// There is no such key.
    pub async fn revoke_key(&self, id: Uuid) -> Result<(), AccountError> {
        let keys = self.store.keys().await?;
        let old = keys.into_iter().find(|key| key.id == id).ok_or(AccountError::UnknownKey(id))?;
        if old.revoked_us.is_none() {
            let revoked_us = wall_clock_us();
            let new = ApiKey { revoked_us: Some(revoked_us), ..old.clone() };
            let entry = entry("update", format!("key:{id}"), "key revoked");
            self.note(entry.with_difference(&old, &new)).await?;
            if !self.store.revoke_key(id, revoked_us).await? {
                return Err(AccountError::UnknownKey(id));
            }
        }
        self.verifier.revoke(id);
        Ok(())
    }

    /// Sets where a project's receipts are sent from now on; `None`: nowhere.
    ///
    /// # Errors
    /// There is no such project.
    pub async fn set_webhook(
        &self,
        project: &str,
        url: Option<String>,
    ) -> Result<(), AccountError> {
        self.known(project).await?;
        let old = self.store.webhooks().await?.into_iter().find(|old| old.project == project);
        let what = if url.is_some() { "webhook set" } else { "webhook cleared" };
        let entry = entry("update", format!("project:{project}"), what)
            .with_old(&Destination::of(old.map(|old| old.url).as_deref()))
            .with_new(&Destination::of(url.as_deref()));
        self.note(entry).await?;
        Ok(self.store.set_webhook(project, url).await?)
    }

    /// All webhooks, by project.
    ///
    /// # Errors
    /// The store is away.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, AccountError> {
        Ok(self.store.webhooks().await?)
    }

    async fn known(&self, project: &str) -> Result<(), AccountError> {
        let projects = self.store.projects().await?;
        let known = projects.iter().any(|known| known.id == project);
        known.then_some(()).ok_or_else(|| AccountError::UnknownProject(project.to_owned()))
    }

    async fn add(&self, key: ApiKey) -> Result<NewKey, AccountError> {
        let token = self.signer.mint(&key).map_err(AccountError::Signing)?;
        let entry = entry("create", format!("key:{}", key.id), "key made").with_new(&key);
        self.note(entry).await?;
        self.store.create_key(key.clone()).await?;
        Ok(NewKey { key, token })
    }

    async fn note(&self, entry: Entry) -> Result<(), AccountError> {
        match &self.audit {
            Some(audit) => Ok(audit.write(entry).await?),
            None => Ok(()),
        }
    }
}

/// What may be told of a webhook: where it is. What follows the host may be a secret.
#[derive(Serialize)]
struct Destination<'u> {
    webhook: Option<&'u str>,
}

impl<'u> Destination<'u> {
    fn of(url: Option<&'u str>) -> Self {
        Self { webhook: url.map(origin) }
    }
}

/// The scheme and host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(host..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or_default()
}

/// Projects and keys are changed at the command line only.
fn entry(event_type: &'static str, resource: String, description: &'static str) -> Entry {
    Entry::new(event_type, Actor::Operator, resource, description)
}

fn end_us(created_us: i64, lifetime: Duration) -> Result<i64, AccountError> {
    const MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    if lifetime < Duration::from_secs(1) || lifetime > MAX {
        return Err(AccountError::Lifetime);
    }
    let lifetime_us = i64::try_from(lifetime.as_micros()).map_err(|_| AccountError::Lifetime)?;
    Ok(whole_seconds(created_us.saturating_add(lifetime_us)))
}

/// A JWT counts seconds; what is kept must say the same.
fn whole_seconds(us: i64) -> i64 {
    us.div_euclid(US_PER_SECOND).saturating_mul(US_PER_SECOND)
}

#[cfg(test)]
mod tests;
