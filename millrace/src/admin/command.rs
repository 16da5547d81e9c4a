//! The commands, and how each is done with the stores at hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_accounts::{Accounts, Scope};
use millrace_ingest::{PartitionLedger, standings};
use millrace_log::Log;
use millrace_store::Store;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::replay::replay;
use super::reply::{KeyReply, ProjectReply, Reply, WebhookReply};
use super::users::{UserCommand, Users};

/// Bytes of a webhook's address.
const URL_BYTES_MAX: usize = 2048;

/// What can be asked of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    Accounts(AccountCommand),
    Users(UserCommand),
    Ledger,
    Replay,
}

/// What can be asked about projects, keys and webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum AccountCommand {
    ProjectCreate { id: String, name: String },
    ProjectList,
    KeyCreate { project: String, scopes: Vec<Scope>, lifetime_seconds: Option<u64> },
    KeyList { project: Option<String> },
    KeyRotate { id: Uuid, keep_old: bool },
    KeyRevoke { id: Uuid },
    WebhookSet { project: String, url: String },
    WebhookClear { project: String },
    WebhookList,
}

/// What it takes to do a command.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) accounts: Accounts,
    pub(crate) users: Users,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
}

impl Command {
    /// Does it.
    pub(crate) async fn execute(self, backend: &Backend) -> Result<Reply> {
        match self {
            Self::Accounts(command) => command.execute(&backend.accounts).await,
            Self::Users(command) => command.execute(&backend.users).await,
            Self::Ledger => ledger(&*backend.log, &*backend.store).await,
            Self::Replay => replay(&*backend.log, &*backend.store).await,
        }
    }
}

/// Where every partition stands.
pub(crate) async fn ledger(log: &dyn Log, store: &dyn Store) -> Result<Reply> {
    let standings = standings(log, store).await?;
    let partitions = standings.into_iter().map(PartitionLedger::from).collect();
    Ok(Reply::Ledger { partitions })
}

impl AccountCommand {
    /// Does it.
    pub(crate) async fn execute(self, accounts: &Accounts) -> Result<Reply> {
        Ok(match self {
            Self::ProjectCreate { id, name } => {
                Reply::Project(ProjectReply::from(accounts.create_project(&id, &name).await?))
            }
            Self::ProjectList => {
                let projects = accounts.projects().await?;
                Reply::Projects(projects.into_iter().map(ProjectReply::from).collect())
            }
            Self::KeyCreate { project, scopes, lifetime_seconds } => {
                let lifetime = lifetime_seconds.map(Duration::from_secs);
                let new = accounts.create_key(&project, &scopes, lifetime).await?;
                Reply::NewKey(KeyReply::from(new))
            }
            Self::KeyList { project } => {
                let keys = accounts.keys(project.as_deref()).await?;
                Reply::Keys(keys.into_iter().map(KeyReply::from).collect())
            }
            Self::KeyRotate { id, keep_old } => {
                Reply::NewKey(KeyReply::from(accounts.rotate_key(id, keep_old).await?))
            }
            Self::KeyRevoke { id } => {
                accounts.revoke_key(id).await?;
                Reply::Revoked { id }
            }
            Self::WebhookSet { project, url } => {
                check(&url).context("the address of a webhook")?;
                accounts.set_webhook(&project, Some(url.clone())).await?;
                Reply::Webhook(WebhookReply { project_id: project, url: Some(url) })
            }
            Self::WebhookClear { project } => {
                accounts.set_webhook(&project, None).await?;
                Reply::Webhook(WebhookReply { project_id: project, url: None })
            }
            Self::WebhookList => {
                let webhooks = accounts.webhooks().await?;
                Reply::Webhooks(webhooks.into_iter().map(WebhookReply::from).collect())
            }
        })
    }
}

/// Whether receipts could be sent to an address. Which ones may be reached is the sender's to say.
fn check(url: &str) -> Result<()> {
    let bytes = url.len();
    ensure!(bytes <= URL_BYTES_MAX, "has {bytes} bytes, and may have {URL_BYTES_MAX}");
    Ok(millrace_client::check_url(url)?)
}
