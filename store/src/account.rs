//! Projects and their API keys, as they are kept.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Answer;

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// 1..=128 bytes, without NUL.
    pub id: String,
    /// For people.
    pub name: String,
    /// When it was made, microseconds.
    pub created_us: i64,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send events, profiles and devices.
    Write,
    /// Delete users.
    Delete,
    /// Read back.
    Read,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Write, Self::Delete, Self::Read];
}

/// What is kept of an API key; the key itself is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The key's `jti`.
    pub id: Uuid,
    /// Its project.
    pub project: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made, microseconds.
    pub created_us: i64,
    /// When it ends, microseconds; `None`: never.
    pub expires_us: Option<i64>,
    /// When it was revoked, microseconds.
    pub revoked_us: Option<i64>,
}

/// People and keys. Durable when acknowledged where [`crate::Store::settle`] is zero; elsewhere a
/// crash of all copies may take back what is younger than that.
pub trait AccountStore: Send + Sync + 'static {
    /// Adds a project.
    ///
    /// # Errors
    /// [`crate::StoreError::Exists`] if the id is taken.
    fn create_project(&self, project: Project) -> Answer<'_, ()>;

    /// All projects, by id.
    fn projects(&self) -> Answer<'_, Vec<Project>>;

    /// Adds a key.
    fn create_key(&self, key: ApiKey) -> Answer<'_, ()>;

    /// All keys, oldest first.
    fn keys(&self) -> Answer<'_, Vec<ApiKey>>;

    /// Revokes a key. `false`: there is no such key. A second revocation changes nothing.
    fn revoke_key(&self, id: Uuid, revoked_us: i64) -> Answer<'_, bool>;
}
