//! What can be typed about people.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use millrace_accounts::{PasswordSettings, Role};

use super::identity::CostOptions;
use crate::admin;
use crate::password_stdin;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user of the accounts API
    #[command(after_help = "\
Examples:
  millrace user create --email ann@example.com --name 'Ann Lee' --role admin --admin \\
    --password-stdin < password.txt
  pass show ann | head -n 1 | millrace user create --email ann@example.com --name 'Ann Lee' \\
    --role advertiser --password-stdin")]
    Create(NewUser),
    /// List all people: users, and those of the back office
    List,
    /// Let somebody, of the back office too, sign in no more; all their tokens die at once
    #[command(after_help = "Example:\n  millrace user deactivate ann@example.com")]
    Deactivate {
        /// Their e-mail address
        email: String,
    },
    /// Set the password of somebody, of the back office too; all their tokens die at once
    #[command(after_help = "\
Example:
  millrace user set-password ann@example.com --password-stdin < password.txt")]
    SetPassword {
        /// Their e-mail address
        email: String,
        #[command(flatten)]
        password: PasswordStdin,
    },
}

/// A user to be made.
#[derive(Clone, Debug, Args)]
pub(crate) struct NewUser {
    /// Their e-mail address; nobody else may have it, whatever its case
    #[arg(long)]
    email: String,
    /// What they are called
    #[arg(long)]
    name: String,
    /// What they are here for
    #[arg(long, value_name = "ROLE")]
    role: RoleName,
    /// Let them do everything, whatever their role
    #[arg(long)]
    admin: bool,
    /// Take their address for verified
    #[arg(long)]
    verified: bool,
    #[command(flatten)]
    password: PasswordStdin,
}

/// An argument would be seen in the list of processes. The cost is that of the front doors: where
/// it differs, the account is told by the time of a failed login. A running `millrace dev` takes
/// its own.
#[derive(Clone, Debug, Args)]
pub(crate) struct PasswordStdin {
    /// Read the password from stdin: one line. There is no other way
    #[arg(long, required = true)]
    password_stdin: bool,
    #[command(flatten)]
    cost: CostOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Buys
    Advertiser,
    /// Sells
    Retailer,
    /// Runs the installation
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Advertiser => Self::Advertiser,
            RoleName::Retailer => Self::Retailer,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl UserCommand {
    /// What a password that it takes is hashed at.
    pub(crate) fn passwords(&self) -> PasswordSettings {
        match self {
            Self::Create(NewUser { password, .. }) | Self::SetPassword { password, .. } => {
                password.cost.settings()
            }
            Self::List | Self::Deactivate { .. } => PasswordSettings::default(),
        }
    }

    /// The command, with the password from stdin if it takes one.
    ///
    /// # Errors
    /// There is no password on stdin.
    pub(crate) fn read(self) -> Result<admin::UserCommand> {
        Ok(match self {
            Self::Create(NewUser { email, name, role, admin, verified, .. }) => {
                let password = password_stdin::read()?;
                let role = role.into();
                admin::UserCommand::Create { email, name, role, admin, verified, password }
            }
            Self::List => admin::UserCommand::List,
            Self::Deactivate { email } => admin::UserCommand::Deactivate { email },
            Self::SetPassword { email, .. } => {
                admin::UserCommand::SetPassword { email, password: password_stdin::read()? }
            }
        })
    }
}
