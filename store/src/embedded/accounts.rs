//! Projects, their keys and webhooks, and the keys of receipts. Few, and durable when acknowledged.

use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::embedded::failure::failed;
use crate::embedded::space::Space;
use crate::embedded::{Engine, key, value};
use crate::{ApiKey, Project, ReceiptKey, StoreError, Webhook};

impl Engine {
    pub(super) fn create_project(&self, project: &Project) -> Result<(), StoreError> {
        if project.id.is_empty() {
            return Err(StoreError::Invalid("a project needs an id".to_owned()));
        }
        let name = format!("project {:?}", project.id);
        self.create(Space::Projects, project.id.as_bytes(), value::plain(project)?, name)
    }

    pub(super) fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.all(Space::Projects)
    }

    pub(super) fn create_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.create(Space::Keys, key.id.as_bytes(), value::plain(key)?, format!("key {}", key.id))
    }

    pub(super) fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let mut keys: Vec<ApiKey> = self.all(Space::Keys)?;
        keys.sort_by_key(|key| (key.created_us, key.id));
        Ok(keys)
    }

    pub(super) fn revoke_key(&self, id: Uuid, revoked_us: i64) -> Result<bool, StoreError> {
        let mut draft = self.draft();
        let Some(stored) = draft.get(Space::Keys, id.as_bytes())? else {
            return Ok(false);
        };
        let mut key: ApiKey = value::read_plain(Space::Keys, &stored)?;
        if key.revoked_us.is_some() {
            self.persist()?;
            return Ok(true);
        }
        key.revoked_us = Some(revoked_us);
        draft.put(Space::Keys, id.as_bytes().to_vec(), value::plain(&key)?);
        draft.commit_durably()?;
        Ok(true)
    }

    pub(super) fn add_receipt_key(&self, key: &ReceiptKey) -> Result<(), StoreError> {
        let mut draft = self.draft();
        let kid = key::id(key.kid.as_bytes()).finish()?;
        if draft.get(Space::ReceiptKeys, &kid)?.is_some() {
            // The first call may have failed between its write and its sync.
            return self.persist();
        }
        draft.put(Space::ReceiptKeys, kid, value::plain(key)?);
        draft.commit_durably()
    }

    pub(super) fn receipt_keys(&self) -> Result<Vec<ReceiptKey>, StoreError> {
        let mut keys: Vec<ReceiptKey> = self.all(Space::ReceiptKeys)?;
        keys.sort_by(|a, b| (a.created_us, &a.kid).cmp(&(b.created_us, &b.kid)));
        Ok(keys)
    }

    pub(super) fn set_webhook(&self, project: &str, url: Option<String>) -> Result<(), StoreError> {
        let mut draft = self.draft();
        let key = key::id(project.as_bytes()).finish()?;
        match url {
            Some(url) => {
                let webhook = Webhook { project: project.to_owned(), url };
                draft.put(Space::Webhooks, key, value::plain(&webhook)?);
            }
            None => draft.remove(Space::Webhooks, key),
        }
        draft.commit_durably()
    }

    pub(super) fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        self.all(Space::Webhooks)
    }

    /// All rows of a keyspace, by key.
    fn all<T: DeserializeOwned>(&self, space: Space) -> Result<Vec<T>, StoreError> {
        let rows = self.spaces.get(space).iter();
        rows.map(|row| value::read_plain(space, &row.value().map_err(failed)?)).collect()
    }

    fn create(
        &self,
        space: Space,
        id: &[u8],
        value: Vec<u8>,
        name: String,
    ) -> Result<(), StoreError> {
        let mut draft = self.draft();
        let key = key::id(id).finish()?;
        if draft.get(space, &key)?.is_some() {
            return Err(StoreError::Exists(name));
        }
        draft.put(space, key, value);
        draft.commit_durably()
    }
}
