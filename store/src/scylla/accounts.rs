//! Projects and keys. Few, and each written by a condition.

use uuid::Uuid;

use super::connection::Connection;
use super::value::{json, key, read_json, values};
use crate::{ApiKey, Project, StoreError};

type KeyLine = (Uuid, Option<String>, Option<String>, Option<i64>, Option<i64>, Option<i64>);

impl Connection {
    pub(super) async fn create_project(&self, project: &Project) -> Result<(), StoreError> {
        if project.id.is_empty() {
            return Err(StoreError::Invalid("a project needs an id".to_owned()));
        }
        let values = values![key(&project.id)?, &*project.name, project.created_us];
        if self.apply(&self.statements.put_project, &values).await? {
            return Ok(());
        }
        Err(StoreError::Exists(format!("project {:?}", project.id)))
    }

    pub(super) async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        let rows: Vec<(String, Option<String>, Option<i64>)> =
            self.rows(&self.statements.projects, &[]).await?;
        let project = |(id, name, created_us): (String, Option<String>, Option<i64>)| Project {
            id,
            name: name.unwrap_or_default(),
            created_us: created_us.unwrap_or_default(),
        };
        let mut projects: Vec<Project> = rows.into_iter().map(project).collect();
        projects.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(projects)
    }

    pub(super) async fn create_key(&self, new: &ApiKey) -> Result<(), StoreError> {
        let scopes = json(&new.scopes)?;
        let values =
            values![new.id, &*new.project, scopes, new.created_us, new.expires_us, new.revoked_us];
        if self.apply(&self.statements.put_key, &values).await? {
            return Ok(());
        }
        Err(StoreError::Exists(format!("key {}", new.id)))
    }

    pub(super) async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows: Vec<KeyLine> = self.rows(&self.statements.keys, &[]).await?;
        // A revocation that outlived its key says nothing.
        let is_whole = |line: &KeyLine| line.1.is_some() && line.2.is_some();
        let keys = rows.into_iter().filter(is_whole).map(api_key);
        let mut keys: Vec<ApiKey> = keys.collect::<Result<_, _>>()?;
        keys.sort_by_key(|key| (key.created_us, key.id));
        Ok(keys)
    }

    pub(super) async fn revoke_key(&self, id: Uuid, revoked_us: i64) -> Result<bool, StoreError> {
        let values = values![id];
        let found: Option<(Option<i64>,)> = self.row(&self.statements.key_revoked, &values).await?;
        match found {
            None => Ok(false),
            Some((Some(_),)) => Ok(true),
            Some((None,)) => {
                // Where the condition does not hold another call has revoked it.
                let values = values![revoked_us, id];
                self.apply(&self.statements.revoke_key, &values).await?;
                Ok(true)
            }
        }
    }
}

fn api_key(line: KeyLine) -> Result<ApiKey, StoreError> {
    let (id, project, scopes, created_us, expires_us, revoked_us) = line;
    Ok(ApiKey {
        id,
        project: project.unwrap_or_default(),
        scopes: read_json("api_keys", &scopes.unwrap_or_default())?,
        created_us: created_us.unwrap_or_default(),
        expires_us,
        revoked_us,
    })
}
