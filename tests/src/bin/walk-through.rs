//! Walks through the documented examples of the accounts and back-office APIs and the log calls.

use std::io::stdout;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use millrace_tests::walk_through::{ApiKey, Credentials, Settings, Tally, walk};

/// Walks through the documented examples of the accounts API, the back office and the two log
/// calls against a live server, and prints each as a curl line, with its status and body
///
/// Exits with 1 if any status is another than the documented one. What is not given is left out.
/// Others see a flag in the list of processes: give what is secret by its variable.
#[derive(Debug, Parser)]
#[command(name = "walk-through")]
struct Options {
    /// Where the front door is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,

    /// An API key with the scope `write`, for the two log calls
    #[arg(long, env = "MILLRACE_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<Hidden>,

    /// The e-mail of an admin (`millrace user create --admin`), for budgets, users and audit log
    #[arg(long, env = "MILLRACE_ADMIN_EMAIL", value_name = "EMAIL")]
    admin_email: Option<String>,

    /// The admin's password
    #[arg(long, env = "MILLRACE_ADMIN_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    admin_password: Option<Hidden>,

    /// The bootstrap secret that the server was started with; leave it out the second time
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_SECRET", hide_env_values = true)]
    #[arg(value_name = "SECRET")]
    bootstrap_secret: Option<Hidden>,

    /// The e-mail of the first back-office user, as the server was started with
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_EMAIL", value_name = "EMAIL")]
    back_office_email: Option<String>,

    /// The first back-office user's password
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_PASSWORD", hide_env_values = true)]
    #[arg(value_name = "PASSWORD")]
    back_office_password: Option<Hidden>,
}

/// A text that `Debug` does not show.
#[derive(Clone)]
struct Hidden(String);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Options {
    fn settings(self) -> Result<Settings> {
        let back_office = credentials(
            (self.back_office_email, "--back-office-email"),
            (self.back_office_password, "--back-office-password"),
        )?;
        if self.bootstrap_secret.is_some() && back_office.is_none() {
            bail!("--bootstrap-secret needs --back-office-email and --back-office-password too");
        }
        Ok(Settings {
            url: self.url,
            api_key: self.api_key.map(|key| ApiKey(key.0)),
            admin: credentials(
                (self.admin_email, "--admin-email"),
                (self.admin_password, "--admin-password"),
            )?,
            bootstrap_secret: self.bootstrap_secret.map(|secret| secret.0),
            back_office,
        })
    }
}

/// Both or none.
fn credentials(
    (email, email_flag): (Option<String>, &str),
    (password, password_flag): (Option<Hidden>, &str),
) -> Result<Option<Credentials>> {
    match (email, password) {
        (Some(email), Some(Hidden(password))) => Ok(Some(Credentials { email, password })),
        (None, None) => Ok(None),
        (Some(_), None) => bail!("{email_flag} needs {password_flag} too"),
        (None, Some(_)) => bail!("{password_flag} needs {email_flag} too"),
    }
}

fn main() -> ExitCode {
    match Options::parse().settings().and_then(|settings| walk(&settings, &mut stdout().lock())) {
        Ok(Tally { calls, faults, .. }) if faults.is_empty() => {
            println!("\n{calls} calls, all as documented.");
            ExitCode::SUCCESS
        }
        Ok(Tally { calls, faults, .. }) => {
            println!("\n{calls} calls; not as documented:");
            faults.iter().for_each(|fault| println!("- {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
