//! What tokens are signed with.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use millrace_accounts::TokenSecrets;

/// Never a flag: others would see it in the list of processes.
const SECRETS_VARIABLE: &str = "MILLRACE_TOKEN_SECRETS";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accounts")]
pub(crate) struct TokenOptions {
    /// A file (mode 0600) with the secrets that tokens are signed with, one a line, of at least 32
    /// bytes; of two the first signs, and both are accepted. The same for every front door. Or the
    /// secrets themselves, separated by commas, in the variable MILLRACE_TOKEN_SECRETS. A front
    /// door without either answers 501 to the accounts and back-office APIs [default of `millrace
    /// dev`: keys/token.secret in the data folder, made at the first use]
    #[arg(long, env = "MILLRACE_TOKEN_SECRETS_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) token_secrets_file: Option<PathBuf>,

    /// Let nobody sign in whose e-mail address is not verified
    #[arg(long, env = "MILLRACE_VERIFIED_EMAIL_REQUIRED", action = clap::ArgAction::SetTrue)]
    #[arg(value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    pub(crate) verified_email_required: bool,
}

impl TokenOptions {
    /// Whether secrets are given.
    pub(crate) fn are_named(&self) -> bool {
        self.token_secrets_file.is_some() || std::env::var_os(SECRETS_VARIABLE).is_some()
    }

    pub(super) fn problem(&self) -> Option<String> {
        let twice =
            self.token_secrets_file.is_some() && std::env::var_os(SECRETS_VARIABLE).is_some();
        twice.then(|| {
            "the token secrets are given twice: leave out --token-secrets-file or the variable \
             MILLRACE_TOKEN_SECRETS"
                .to_owned()
        })
    }

    /// The secrets, if they are given.
    ///
    /// # Errors
    /// They cannot be had, or are too short. The text says which, and what to do.
    pub(crate) fn secrets(&self) -> Result<Option<TokenSecrets>> {
        if let Some(file) = &self.token_secrets_file {
            return TokenSecrets::load(file).context("--token-secrets-file").map(Some);
        }
        if std::env::var_os(SECRETS_VARIABLE).is_some() {
            let text = std::env::var(SECRETS_VARIABLE).context(SECRETS_VARIABLE)?;
            let secrets: Vec<String> = text.split(',').map(|one| one.trim().to_owned()).collect();
            return TokenSecrets::new(&secrets).context(SECRETS_VARIABLE).map(Some);
        }
        Ok(None)
    }
}
