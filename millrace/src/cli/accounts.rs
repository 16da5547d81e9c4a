//! What can be typed about projects, their webhooks and keys.

use clap::{Subcommand, ValueEnum};
use millrace_accounts::Scope;
use uuid::Uuid;

use crate::admin::AccountCommand;

const DAY_SECONDS: u64 = 24 * 3600;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Make a project
    #[command(after_help = "Example:\n  millrace project create shop --name 'My shop'")]
    Create {
        /// What callers send as `project_id`: 1 to 128 bytes
        id: String,
        /// A name for people [default: the id]
        #[arg(long)]
        name: Option<String>,
    },
    /// List all projects
    List,
    /// Set where the receipts of deletions are sent
    #[command(subcommand)]
    Webhook(WebhookCommand),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Send the receipts of deletion jobs that complete from now on to an address
    #[command(after_help = "\
The receipt (a JWT) is sent by POST with the headers of the Standard Webhooks specification, until
it is answered with 2xx, for a day at most. The state stands in the job. Redirects are not followed.
Private addresses, and http:// without TLS, are used only where the worker has --webhook-allow-net.

Example:
  millrace project webhook set shop https://hooks.example.org/receipts")]
    Set {
        /// The project
        id: String,
        /// Its address: https://host/path
        url: String,
    },
    /// Send receipts nowhere from now on; those under way are still sent
    Clear {
        /// The project
        id: String,
    },
    /// List the addresses of all projects
    List,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; it is shown once and kept nowhere
    #[command(after_help = "\
Examples:
  millrace key create --project shop
  millrace key create --project shop --scope write --scope read --expires-days 90
  KEY=$(millrace key create --project shop --json | jq -r .api_key)")]
    Create {
        /// The project it belongs to
        #[arg(long, env = "MILLRACE_PROJECT", value_name = "ID", hide_env_values = true)]
        project: String,
        /// What it may do; may be repeated [default: all three]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<ScopeName>,
        /// Days until it ends [default: it does not]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        expires_days: Option<u64>,
    },
    /// List keys, never the keys themselves
    List {
        /// Only those of a project
        #[arg(long, env = "MILLRACE_PROJECT", value_name = "ID", hide_env_values = true)]
        project: Option<String>,
    },
    /// Make a successor with the same project and scopes, and revoke the old key
    Rotate {
        /// The key's id, as `millrace key list` shows it
        id: Uuid,
        /// Keep the old key until `millrace key revoke`, so that callers can move one by one
        #[arg(long)]
        keep_old: bool,
    },
    /// Refuse a key from now on, for good
    Revoke {
        /// The key's id, as `millrace key list` shows it
        id: Uuid,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    /// Send events, profiles and devices
    Write,
    /// Delete users
    Delete,
    /// Read back
    Read,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Write => Self::Write,
            ScopeName::Delete => Self::Delete,
            ScopeName::Read => Self::Read,
        }
    }
}

impl From<ProjectCommand> for AccountCommand {
    fn from(command: ProjectCommand) -> Self {
        match command {
            ProjectCommand::Create { id, name } => {
                Self::ProjectCreate { name: name.unwrap_or_else(|| id.clone()), id }
            }
            ProjectCommand::List => Self::ProjectList,
            ProjectCommand::Webhook(WebhookCommand::Set { id, url }) => {
                Self::WebhookSet { project: id, url }
            }
            ProjectCommand::Webhook(WebhookCommand::Clear { id }) => {
                Self::WebhookClear { project: id }
            }
            ProjectCommand::Webhook(WebhookCommand::List) => Self::WebhookList,
        }
    }
}

impl From<KeyCommand> for AccountCommand {
    fn from(command: KeyCommand) -> Self {
        match command {
            KeyCommand::Create { project, scopes, expires_days } => {
                let all = || Scope::ALL.to_vec();
                let scopes: Vec<Scope> = scopes.into_iter().map(Scope::from).collect();
                let scopes = if scopes.is_empty() { all() } else { scopes };
                let lifetime_seconds = expires_days.map(|days| days.saturating_mul(DAY_SECONDS));
                Self::KeyCreate { project, scopes, lifetime_seconds }
            }
            KeyCommand::List { project } => Self::KeyList { project },
            KeyCommand::Rotate { id, keep_old } => Self::KeyRotate { id, keep_old },
            KeyCommand::Revoke { id } => Self::KeyRevoke { id },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn a_key_without_scopes_gets_all_of_them() {
        let cli = Cli::try_parse_from(["millrace", "key", "create", "--project", "p"]).unwrap();
        let Command::Key(command) = cli.command else { panic!("{cli:?}") };
        let AccountCommand::KeyCreate { scopes, lifetime_seconds, .. } = command.into() else {
            panic!("another command")
        };
        assert_eq!((scopes, lifetime_seconds), (Scope::ALL.to_vec(), None));
    }
}
