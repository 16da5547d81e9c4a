//! Where mails to users go, and where their links lead.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use millrace_accounts::{MailSettings, MailTransport};

const NO_WAY: &str = "who forgets a password gets a mail: give --smtp-url (MILLRACE_SMTP_URL), or \
                      --outbox (MILLRACE_OUTBOX) for a folder; or leave out the token secrets";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Mail")]
pub(crate) struct MailOptions {
    /// What the links in mails begin with: where your users open /reset-password and /verify
    /// [default of `millrace dev`: where it listens]
    #[arg(long, env = "MILLRACE_PUBLIC_URL", hide_env_values = true, value_name = "URL")]
    public_url: Option<String>,

    /// The sender of mails
    #[arg(long, env = "MILLRACE_MAIL_FROM", default_value = "Millrace <no-reply@localhost>")]
    #[arg(hide_env_values = true, value_name = "MAILBOX")]
    mail_from: String,

    /// The server that mails are sent by, as smtp://user:password@host:587?tls=required or
    /// smtps://…; others see a flag in the list of processes, so use the variable for a password
    #[arg(long, env = "MILLRACE_SMTP_URL", hide_env_values = true, value_name = "URL")]
    smtp_url: Option<Hidden>,

    /// A folder that mails are written to instead, each as a file (.eml) with a link that is a key
    /// [default of `millrace dev`: outbox in the data folder]
    #[arg(long, env = "MILLRACE_OUTBOX", hide_env_values = true, value_name = "FOLDER")]
    outbox: Option<PathBuf>,
}

/// A text that may hold a password. Shown to nobody.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl MailOptions {
    pub(super) fn problem(&self) -> Option<String> {
        let both = self.smtp_url.is_some() && self.outbox.is_some();
        both.then(|| {
            "mails go one way: leave out --smtp-url (MILLRACE_SMTP_URL) or --outbox \
             (MILLRACE_OUTBOX)"
                .to_owned()
        })
    }

    /// What is missing where there are no defaults.
    pub(super) fn missing(&self) -> Option<String> {
        if self.smtp_url.is_none() && self.outbox.is_none() {
            return Some(NO_WAY.to_owned());
        }
        self.public_url.is_none().then(|| {
            "links in mails lead to --public-url (MILLRACE_PUBLIC_URL), as \
             https://app.example.com; give it"
                .to_owned()
        })
    }

    /// The settings; with `own_url` and `own_outbox` where nothing is said.
    ///
    /// # Errors
    /// Mails have no way to go.
    pub(crate) fn settings(
        &self,
        own_url: &str,
        own_outbox: Option<&Path>,
    ) -> Result<MailSettings> {
        let outbox = self.outbox.as_deref().or(own_outbox);
        let transport = match (&self.smtp_url, outbox) {
            (Some(Hidden(url)), _) => MailTransport::Smtp(url.clone()),
            (None, Some(folder)) => MailTransport::Outbox(folder.to_owned()),
            (None, None) => bail!(NO_WAY),
        };
        let public_url = self.public_url.as_deref().unwrap_or(own_url).to_owned();
        Ok(MailSettings { from: self.mail_from.clone(), public_url, transport })
    }
}
