//! The documented examples of the accounts and back-office APIs and of the two log calls, in order,
//! against a live server of whatever engine.
//!
//! Owns what is called and which status is documented. Must not know how the server was started.

mod accounts;
mod back_office;
mod logs;
mod secrets;
mod walker;

use std::fmt;
use std::io::Write;

use anyhow::Result;
use uuid::Uuid;

pub use walker::Tally;
use walker::Walker;

/// Where to walk, and as whom. What is not given is left out, and said to be.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `http://host:port`.
    pub url: String,
    /// An API key with the scope `write`, for the two log calls.
    pub api_key: Option<ApiKey>,
    /// An admin of the accounts API, for budgets, users and the audit log.
    pub admin: Option<Credentials>,
    /// The bootstrap secret, where the first back-office user is still to be made.
    pub bootstrap_secret: Option<String>,
    /// The first back-office user.
    pub back_office: Option<Credentials>,
}

/// An API key, hidden from `Debug`.
#[derive(Clone)]
pub struct ApiKey(pub String);

/// Who signs in. The password is hidden from `Debug`.
#[derive(Clone)]
pub struct Credentials {
    /// Their address.
    pub email: String,
    /// Their password.
    pub password: String,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("email", &self.email).finish_non_exhaustive()
    }
}

/// Walks through all examples and prints each as a `curl` line with what was answered; secrets are
/// shortened. Whoever is made has an address of its own, so it can be done again.
///
/// # Errors
/// Nobody listens at the address, or the output cannot be written. What is not as documented is in the tally.
pub fn walk(settings: &Settings, out: &mut dyn Write) -> Result<Tally> {
    let mut walker = Walker::new(&settings.url, out)?;
    let run = Uuid::new_v4().simple().to_string();

    let email = format!("minji-{run}@example.com");
    let walked = accounts::walk(&mut walker, settings.admin.as_ref(), &email);
    walked.or_else(|error| walker.ended(&error))?;

    let email = format!("audit-{run}@example.com");
    let secret = settings.bootstrap_secret.as_deref();
    let walked = match &settings.back_office {
        Some(first) => back_office::walk(&mut walker, secret, first, &email),
        None => walker.leave_out("the back office, which needs its first user's credentials"),
    };
    walked.or_else(|error| walker.ended(&error))?;

    let walked = match &settings.api_key {
        Some(key) => logs::walk(&mut walker, key, &run),
        None => walker.leave_out("the two log calls, which need an API key"),
    };
    walked.or_else(|error| walker.ended(&error))?;
    Ok(walker.tally)
}
