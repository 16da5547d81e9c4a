//! Users: registering, signing in, roles, budgets, preferences, consents.
//!
//! Owns what each call takes, who may make it, and what it changes. Must not know HTTP: bodies
//! come as bytes, answers go as values, refusals as [`PeopleError`]s.

mod caller;
mod consent;
mod create;
mod delete;
pub(crate) mod email;
mod error;
mod form;
mod google;
mod list;
mod login;
mod logs;
mod mail;
mod money;
mod operator;
mod preferences;
mod update;
mod user;

use std::sync::Arc;

use millrace_store::Kind;
use uuid::Uuid;

use crate::core::Core;
use crate::documents::{self, Stored};
use crate::google::Google;
use crate::mailer::Mailer;
use crate::password::Password;

pub use caller::Caller;
pub use consent::Consent;
pub use error::{PasswordUse, PeopleError};
pub use login::AccessToken;
pub use money::Money;
pub use user::{Permissions, Role, User};

pub(crate) use user::EmailOwner;
use user::Person;

const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_CHARS_MAX: usize = 1_024;
/// Characters of a name, where nothing narrower is said.
const NAME_CHARS_MAX: usize = 250;

/// The calls of the accounts API.
#[derive(Debug)]
pub struct People {
    core: Arc<Core>,
    mailer: Mailer,
    google: Option<Google>,
}

impl People {
    /// Users of a store; without `google` nobody signs in with it.
    pub const fn new(core: Arc<Core>, mailer: Mailer, google: Option<Google>) -> Self {
        Self { core, mailer, google }
    }

    async fn person(&self, id: Uuid) -> Result<Option<Stored<Person>>, PeopleError> {
        Ok(documents::load(&*self.core.store, Kind::User, &id.to_string()).await?)
    }

    /// The user of an address. For an unknown one as much is done.
    async fn person_of(&self, address: &str) -> Result<Option<Stored<Person>>, PeopleError> {
        let id = match self.core.email_owner(address).await? {
            Some(Stored { value: EmailOwner::User(id), .. }) => id,
            _ => Uuid::nil(),
        };
        let store = &*self.core.store;
        Ok(documents::load_alike(store, Kind::User, &id.to_string(), user::DECOY).await?)
    }
}

/// Whether a password may be one of an account.
fn check_password(password: &Password, address: &str, at: PasswordUse) -> Result<(), PeopleError> {
    let text = password.expose();
    let chars = text.chars().count();
    let reason = if chars < PASSWORD_CHARS_MIN {
        "Password should have at least 8 characters"
    } else if chars > PASSWORD_CHARS_MAX {
        "Password should have at most 1024 characters"
    } else if email::key(text) == email::key(address) {
        "Password should not be the e-mail"
    } else {
        return Ok(());
    };
    Err(PeopleError::InvalidPassword { at, reason })
}

#[cfg(test)]
mod tests;
