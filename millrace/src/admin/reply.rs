//! What commands answer, in the form that `--json` prints.

use std::fmt;

use millrace_accounts::{ApiKey, NewKey, PersonRow, Project, Role, Scope, User, Webhook};
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
    User(UserReply),
    Users(Vec<UserReply>),
    Deactivated { email: String },
    PasswordSet { email: String },
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
            Self::User(user) => json!(user),
            Self::Users(users) => json!({ "users": users }),
            Self::Deactivated { email } => json!({ "email": email, "is_active": false }),
            Self::PasswordSet { email } => json!({ "email": email, "password_set": true }),
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

/// Somebody, as they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserReply {
    /// A UUID; of the back office a number.
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: Option<String>,
    /// `advertiser`, `retailer`, `admin`; of the back office `back_office`, `audit`.
    pub(crate) role: String,
    pub(crate) is_superuser: bool,
    pub(crate) is_active: bool,
    /// `None`: of the back office nobody asks.
    pub(crate) is_verified: Option<bool>,
}

impl From<User> for UserReply {
    fn from(user: User) -> Self {
        let role = match user.role {
            Role::Advertiser => "advertiser",
            Role::Retailer => "retailer",
            Role::Admin => "admin",
        };
        Self {
            id: user.id.to_string(),
            email: user.email,
            name: user.name,
            role: role.to_owned(),
            is_superuser: user.is_superuser,
            is_active: user.is_active,
            is_verified: Some(user.is_verified),
        }
    }
}

impl From<PersonRow> for UserReply {
    fn from(person: PersonRow) -> Self {
        let PersonRow { user, r#type: kind, deleted_at, .. } = person;
        let name = format!("{} {}", user.first_name, user.last_name);
        Self {
            id: user.id.to_string(),
            email: user.email,
            name: Some(name.trim().to_owned()),
            role: if kind == 1 { "back_office" } else { "audit" }.to_owned(),
            is_superuser: false,
            is_active: deleted_at.is_none(),
            is_verified: None,
        }
    }
}
