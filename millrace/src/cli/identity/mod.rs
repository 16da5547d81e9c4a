//! What can be set of the accounts and back-office APIs.

mod attempts;
mod bootstrap;
mod google;
mod mail;
mod passwords;
mod tokens;

use clap::Args;

use self::attempts::AttemptOptions;
use self::bootstrap::BootstrapOptions;
pub(crate) use self::google::GoogleOptions;
pub(crate) use self::mail::MailOptions;
pub(super) use self::passwords::CostOptions;
use self::passwords::PasswordOptions;
use self::tokens::TokenOptions;

/// How people sign in, and who they are.
#[derive(Clone, Debug, Args)]
pub(crate) struct IdentityOptions {
    #[command(flatten)]
    pub(crate) tokens: TokenOptions,
    #[command(flatten)]
    pub(crate) passwords: PasswordOptions,
    #[command(flatten)]
    pub(crate) attempts: AttemptOptions,
    #[command(flatten)]
    pub(crate) mail: MailOptions,
    #[command(flatten)]
    pub(crate) google: GoogleOptions,
    #[command(flatten)]
    pub(crate) bootstrap: BootstrapOptions,
}

impl IdentityOptions {
    /// Options that contradict each other, whatever serves.
    pub(super) fn problem(&self) -> Option<String> {
        let tokens = self.tokens.problem();
        tokens.or_else(|| self.mail.problem()).or_else(|| self.bootstrap.problem())
    }

    /// What a front door of a cluster, which has no data folder, lacks besides.
    pub(super) fn problem_without_folder(&self) -> Option<String> {
        let lacks = || self.mail.missing();
        self.problem().or_else(|| self.tokens.are_named().then(lacks).flatten())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use millrace_accounts::{Limits, PasswordSettings};

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(args: &[&str]) -> IdentityOptions {
        let cli = Cli::try_parse_from([&["millrace", "dev"], args].concat()).unwrap();
        let Command::Dev(options) = cli.command else { panic!("{cli:?}") };
        options.identity
    }

    #[test]
    fn the_defaults_are_those_of_the_domain() {
        let options = options(&[]);
        assert_eq!(options.problem(), None);
        assert_eq!(options.passwords.settings(), PasswordSettings::default());
        assert_eq!(options.attempts.limits(), Limits::default());
        assert_eq!(options.problem_without_folder(), None);
    }

    #[test]
    fn the_queue_grows_with_the_threads() {
        let settings = options(&["--password-threads", "3"]).passwords.settings();
        assert_eq!((settings.threads, settings.queue), (3, 48));
        let settings = options(&["--password-threads", "3", "--password-queue", "0"]).passwords;
        assert_eq!(settings.settings().queue, 0);
    }

    #[test]
    fn mails_go_one_way_and_without_a_data_folder_it_must_be_named() {
        let secrets = ["--token-secrets-file", "f"];
        let problem = |args: &[&str]| {
            options(&[&secrets, args].concat()).problem_without_folder().unwrap_or_default()
        };
        assert!(problem(&[]).contains("--smtp-url"));
        assert!(problem(&["--outbox", "o"]).contains("--public-url"));
        assert_eq!(problem(&["--outbox", "o", "--public-url", "https://a.example"]), "");
        let both = ["--outbox", "o", "--smtp-url", "smtp://u:s3cret@h"];
        assert!(problem(&both).contains("one way"));
        assert!(!format!("{:?}", options(&both)).contains("s3cret"));
    }

    #[test]
    fn the_first_person_of_the_back_office_is_configured_whole_or_not_at_all() {
        let problem = |args: &[&str]| options(args).problem().unwrap_or_default();
        let of = |text: &str| {
            ["SECRET", "EMAIL", "PASSWORD", "FIRST_NAME", "LAST_NAME", "PHONE"]
                .map(|name| text.contains(&format!("MILLRACE_BO_BOOTSTRAP_{name}")))
        };
        assert_eq!(problem(&[]), "");
        let email = ["--bo-bootstrap-email", "a@b.example"];
        assert_eq!(of(&problem(&email)), [true, false, true, true, true, true]);
        assert_eq!(of(&problem(&["--bo-bootstrap-lang", "en"])), [true; 6]);
        let files = ["--bo-bootstrap-secret-file", "s", "--bo-bootstrap-password-file", "p"];
        let names = ["--bo-bootstrap-first-name", "", "--bo-bootstrap-last-name", ""];
        let phone = ["--bo-bootstrap-phone", ""];
        let whole = [&email[..], &files, &names, &phone].concat();
        assert_eq!(problem(&whole), "");
        assert_eq!(problem(&[&whole[..], &["--bo-bootstrap-lang", "de"]].concat()), "");
    }
}
