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

/// The public half of a key that signs receipts. It stays for good, so that old receipts can be
/// checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptKey {
    /// What a receipt's header calls it.
    pub kid: String,
    /// The 32 bytes of the Ed25519 public key.
    pub public: Vec<u8>,
    /// When it was first seen, microseconds.
    pub created_us: i64,
}

/// Where a project wants its receipts sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The project.
    pub project: String,
    /// The address.
    pub url: String,
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

    /// Adds a key that signs receipts. One that is there stays as it is.
    fn add_receipt_key(&self, key: ReceiptKey) -> Answer<'_, ()>;

    /// All keys that ever signed receipts, oldest first.
    fn receipt_keys(&self) -> Answer<'_, Vec<ReceiptKey>>;

    /// Sets where a project's receipts are sent; `None`: nowhere.
    fn set_webhook(&self, project: &str, url: Option<String>) -> Answer<'_, ()>;

    /// All webhooks, by project.
    fn webhooks(&self) -> Answer<'_, Vec<Webhook>>;
}
