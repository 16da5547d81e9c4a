//! What commands answer, in the form that `--json` prints.

use std::fmt;

use millrace_accounts::{ApiKey, NewKey, Project, Scope, Webhook};
use millrace_ingest::PartitionLedger;
use millrace_schema::time::format_us;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Project(ProjectReply),
    Projects(Vec<ProjectReply>),
    NewKey(KeyReply),
    Keys(Vec<KeyReply>),
    Revoked { id: Uuid },
    Webhook(WebhookReply),
    Webhooks(Vec<WebhookReply>),
    Ledger { partitions: Vec<PartitionLedger> },
    Replay { partitions: usize, records: u64 },
}

impl Reply {
    /// As a machine reads it: one thing by its fields, many under their name.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Project(project) => json!(project),
            Self::Projects(projects) => json!({ "projects": projects }),
            Self::NewKey(key) => json!(key),
            Self::Keys(keys) => json!({ "keys": keys }),
            Self::Revoked { id } => json!({ "id": id, "revoked": true }),
            Self::Webhook(webhook) => json!(webhook),
            Self::Webhooks(webhooks) => json!({ "webhooks": webhooks }),
            Self::Ledger { partitions } => json!({ "partitions": partitions }),
            Self::Replay { partitions, records } => {
                json!({ "partitions": partitions, "records": records })
            }
        }
    }
}

/// A project, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProjectReply {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_at: String,
}

impl From<Project> for ProjectReply {
    fn from(project: Project) -> Self {
        let Project { id, name, created_us } = project;
        Self { id, name, created_at: format_us(created_us) }
    }
}

/// Where a project's receipts are sent, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WebhookReply {
    pub(crate) project_id: String,
    pub(crate) url: Option<String>,
}

impl From<Webhook> for WebhookReply {
    fn from(webhook: Webhook) -> Self {
        Self { project_id: webhook.project, url: Some(webhook.url) }
    }
}

/// A key, as it is shown; with the key itself only when it was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyReply {
    pub(crate) id: Uuid,
    pub(crate) project_id: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) created_at: String,
    pub(crate) expires_at: Option<String>,
    pub(crate) revoked_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
}

impl From<ApiKey> for KeyReply {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            project_id: key.project,
            scopes: key.scopes,
            created_at: format_us(key.created_us),
            expires_at: key.expires_us.map(format_us),
            revoked_at: key.revoked_us.map(format_us),
            api_key: None,
        }
    }
}

impl From<NewKey> for KeyReply {
    fn from(new: NewKey) -> Self {
        Self { api_key: Some(new.token), ..Self::from(new.key) }
    }
}

impl fmt::Debug for KeyReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyReply")
            .field("id", &self.id)
            .field("project_id", &self.project_id)
            .finish_non_exhaustive()
    }
}
