//! Projects and keys. Few, and durable when acknowledged.

use uuid::Uuid;

use crate::embedded::failure::failed;
use crate::embedded::space::Space;
use crate::embedded::{Engine, key, value};
use crate::{ApiKey, Project, StoreError};

impl Engine {
    pub(super) fn create_project(&self, project: &Project) -> Result<(), StoreError> {
        if project.id.is_empty() {
            return Err(StoreError::Invalid("a project needs an id".to_owned()));
        }
        let name = format!("project {:?}", project.id);
        self.create(Space::Projects, project.id.as_bytes(), value::plain(project)?, name)
    }

    pub(super) fn projects(&self) -> Result<Vec<Project>, StoreError> {
        let rows = self.spaces.get(Space::Projects).iter();
        rows.map(|row| value::read_plain(Space::Projects, &row.value().map_err(failed)?)).collect()
    }

    pub(super) fn create_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.create(Space::Keys, key.id.as_bytes(), value::plain(key)?, format!("key {}", key.id))
    }

    pub(super) fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows = self.spaces.get(Space::Keys).iter();
        let keys = rows.map(|row| value::read_plain(Space::Keys, &row.value().map_err(failed)?));
        let mut keys: Vec<ApiKey> = keys.collect::<Result<_, _>>()?;
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
