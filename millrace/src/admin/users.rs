//! The commands about people: users of the accounts API, and people of the back office.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use millrace_accounts::{
    BackOffice, BackOfficeError, Core, FieldError, Loc, Mailer, Password, People, PeopleError, Role,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reply::{Reply, UserReply};
use crate::cli;

const ON_STDIN: &str = "the password on stdin is refused";

/// What can be asked about people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum UserCommand {
    Create {
        email: String,
        name: String,
        role: Role,
        admin: bool,
        verified: bool,
        password: cli::Password,
    },
    List,
    Deactivate {
        email: String,
    },
    SetPassword {
        email: String,
        password: cli::Password,
    },
}

/// All people.
#[derive(Clone)]
pub(crate) struct Users {
    people: Arc<People>,
    back_office: Arc<BackOffice>,
}

impl Users {
    pub(crate) fn new(core: Arc<Core>) -> Result<Self> {
        let people = Arc::new(People::new(Arc::clone(&core), Mailer::idle()?, None));
        Ok(Self { people, back_office: Arc::new(BackOffice::new(core, None)) })
    }

    async fn list(&self) -> Result<Vec<UserReply>> {
        let users = self.people.all_users().await?.into_iter().map(UserReply::from);
        let people = self.back_office.all_people().await?.into_iter().map(UserReply::from);
        Ok(users.chain(people).collect())
    }

    async fn deactivate(&self, email: &str) -> Result<()> {
        match self.people.deactivate_as_operator(email).await {
            Ok(_) => Ok(()),
            Err(PeopleError::NotFound) => {
                let done = self.back_office.deactivate_as_operator(email).await;
                done.map(drop).map_err(|error| of_back_office(error, email))
            }
            Err(error) => Err(of_people(error, email)),
        }
    }

    async fn set_password(&self, email: &str, password: String) -> Result<()> {
        let new = Password::new(password.clone());
        match self.people.set_password_as_operator(email, new).await {
            Ok(_) => Ok(()),
            Err(PeopleError::NotFound) => {
                let done = self.back_office.set_password_as_operator(email, &password).await;
                done.map(drop).map_err(|error| of_back_office(error, email))
            }
            Err(error) => Err(of_people(error, email)),
        }
    }
}

impl UserCommand {
    /// Does it.
    pub(crate) async fn execute(self, users: &Users) -> Result<Reply> {
        Ok(match self {
            Self::Create { email, name, role, admin, verified, password } => {
                let cli::Password(password) = password;
                let body = json!({
                    "email": email, "name": name, "role": role, "password": password,
                    "permissions": {}, "is_superuser": admin, "is_verified": verified,
                });
                let made = users.people.create_as_operator(body.to_string().as_bytes()).await;
                let user = made.map_err(|error| of_people(error, &email))?;
                Reply::User(UserReply::from(user))
            }
            Self::List => Reply::Users(users.list().await?),
            Self::Deactivate { email } => {
                users.deactivate(&email).await?;
                Reply::Deactivated { email }
            }
            Self::SetPassword { email, password: cli::Password(password) } => {
                users.set_password(&email, password).await?;
                Reply::PasswordSet { email }
            }
        })
    }
}

/// What is wrong, by the names of the flags.
fn of_people(error: PeopleError, email: &str) -> anyhow::Error {
    match error {
        PeopleError::Invalid(fields) => {
            let fields: Vec<String> = fields.iter().map(of_field).collect();
            anyhow!(fields.join("; "))
        }
        PeopleError::RegisterEmailTaken => {
            anyhow!("--email: {email} is the address of somebody already; see `millrace user list`")
        }
        PeopleError::InvalidPassword { reason, .. } => anyhow!("{ON_STDIN}: {reason}"),
        other => anyhow!(other),
    }
}

fn of_back_office(error: BackOfficeError, email: &str) -> anyhow::Error {
    match error {
        BackOfficeError::NotFound => {
            anyhow!("there is nobody with the address {email:?}; `millrace user list` shows all")
        }
        BackOfficeError::Invalid(fields) => {
            let reasons: Vec<&str> = fields.iter().map(|field| field.message.as_str()).collect();
            anyhow!("{ON_STDIN}: {}", reasons.join("; "))
        }
        other => anyhow!(other),
    }
}

fn of_field(field: &FieldError) -> String {
    let flag = match field.loc.get(1) {
        Some(Loc::Name(name)) if name == "password" => ON_STDIN.to_owned(),
        Some(Loc::Name(name)) => format!("--{name}"),
        _ => "the user".to_owned(),
    };
    format!("{flag}: {}", field.msg)
}
