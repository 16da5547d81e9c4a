//! Projects, keys and webhooks. Few, and each written by a condition.

use uuid::Uuid;

use super::connection::Connection;
use super::value::{Value, json, key, read_json, values};
use crate::{ApiKey, Project, ReceiptKey, StoreError, Webhook};

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

    /// Where the condition does not hold it is there.
    pub(super) async fn add_receipt_key(&self, new: &ReceiptKey) -> Result<(), StoreError> {
        let values = values![key(&new.kid)?, Value::Blob(&new.public), new.created_us];
        self.apply(&self.statements.put_receipt_key, &values).await.map(drop)
    }

    pub(super) async fn receipt_keys(&self) -> Result<Vec<ReceiptKey>, StoreError> {
        let rows: Vec<(String, Vec<u8>, i64)> =
            self.rows(&self.statements.receipt_keys, &[]).await?;
        let key = |(kid, public, created_us)| ReceiptKey { kid, public, created_us };
        let mut keys: Vec<ReceiptKey> = rows.into_iter().map(key).collect();
        keys.sort_by(|a, b| (a.created_us, &a.kid).cmp(&(b.created_us, &b.kid)));
        Ok(keys)
    }

    /// Where the condition does not hold it is so already.
    pub(super) async fn set_webhook(
        &self,
        project: &str,
        url: Option<&str>,
    ) -> Result<(), StoreError> {
        let project = key(project)?;
        let (prepared, values) = match url {
            Some(url) => (&self.statements.set_webhook, values![url, project, url]),
            None => (&self.statements.clear_webhook, values![project]),
        };
        self.apply(prepared, &values).await.map(drop)
    }

    pub(super) async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let rows: Vec<(String, Option<String>)> = self.rows(&self.statements.webhooks, &[]).await?;
        let webhook =
            |(project, url): (String, Option<String>)| Some(Webhook { project, url: url? });
        let mut webhooks: Vec<Webhook> = rows.into_iter().filter_map(webhook).collect();
        webhooks.sort_by(|a, b| a.project.cmp(&b.project));
        Ok(webhooks)
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
