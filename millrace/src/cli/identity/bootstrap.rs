//! The first person of the back office.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use millrace_accounts::{BackOfficeError, Bootstrap, BootstrapSettings, read_private};

/// Never flags: others would see them in the list of processes.
const SECRET_VARIABLE: &str = "MILLRACE_BO_BOOTSTRAP_SECRET";
const PASSWORD_VARIABLE: &str = "MILLRACE_BO_BOOTSTRAP_PASSWORD";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "First person of the back office")]
pub(crate) struct BootstrapOptions {
    /// A file (mode 0600) whose first line is the secret that POST
    /// /users/v1/bo/back-office/bootstrap takes; or the variable MILLRACE_BO_BOOTSTRAP_SECRET.
    /// These options are given all, but for the language, or none
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_SECRET_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    bo_bootstrap_secret_file: Option<PathBuf>,

    /// Their e-mail address
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_EMAIL", hide_env_values = true)]
    #[arg(value_name = "EMAIL")]
    bo_bootstrap_email: Option<String>,

    /// A file (mode 0600) whose first line is their password; or the variable
    /// MILLRACE_BO_BOOTSTRAP_PASSWORD
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_PASSWORD_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    bo_bootstrap_password_file: Option<PathBuf>,

    /// Their given name
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_FIRST_NAME", hide_env_values = true)]
    #[arg(value_name = "NAME")]
    bo_bootstrap_first_name: Option<String>,

    /// Their family name
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_LAST_NAME", hide_env_values = true)]
    #[arg(value_name = "NAME")]
    bo_bootstrap_last_name: Option<String>,

    /// Their phone
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_PHONE", hide_env_values = true)]
    #[arg(value_name = "NUMBER")]
    bo_bootstrap_phone: Option<String>,

    /// Their language: fr, en or de [default: none is said]
    #[arg(long, env = "MILLRACE_BO_BOOTSTRAP_LANG", hide_env_values = true)]
    #[arg(value_name = "LANG", value_parser = ["fr", "en", "de"])]
    bo_bootstrap_lang: Option<String>,
}

/// A secret: in a variable, or the first line of a file.
struct Hidden<'o> {
    variable: &'static str,
    flag: &'static str,
    file: Option<&'o Path>,
}

impl Hidden<'_> {
    fn is_given(&self) -> bool {
        self.file.is_some() || std::env::var_os(self.variable).is_some()
    }

    fn is_given_twice(&self) -> bool {
        self.file.is_some() && std::env::var_os(self.variable).is_some()
    }

    fn read(&self) -> Result<String> {
        let Some(file) = self.file else {
            return std::env::var(self.variable).context(self.variable);
        };
        let what = || format!("{} {}", self.flag, file.display());
        let text = read_private(file).with_context(what)?;
        let text = text.ok_or_else(|| anyhow!("there is no such file")).with_context(what)?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

impl BootstrapOptions {
    fn secret(&self) -> Hidden<'_> {
        Hidden {
            variable: SECRET_VARIABLE,
            flag: "--bo-bootstrap-secret-file",
            file: self.bo_bootstrap_secret_file.as_deref(),
        }
    }

    fn password(&self) -> Hidden<'_> {
        Hidden {
            variable: PASSWORD_VARIABLE,
            flag: "--bo-bootstrap-password-file",
            file: self.bo_bootstrap_password_file.as_deref(),
        }
    }

    /// What must be there if anything is, and whether it is.
    fn needed(&self) -> [(&'static str, bool); 6] {
        [
            (SECRET_VARIABLE, self.secret().is_given()),
            ("MILLRACE_BO_BOOTSTRAP_EMAIL", self.bo_bootstrap_email.is_some()),
            (PASSWORD_VARIABLE, self.password().is_given()),
            ("MILLRACE_BO_BOOTSTRAP_FIRST_NAME", self.bo_bootstrap_first_name.is_some()),
            ("MILLRACE_BO_BOOTSTRAP_LAST_NAME", self.bo_bootstrap_last_name.is_some()),
            ("MILLRACE_BO_BOOTSTRAP_PHONE", self.bo_bootstrap_phone.is_some()),
        ]
    }

    pub(super) fn problem(&self) -> Option<String> {
        for hidden in [self.secret(), self.password()] {
            if hidden.is_given_twice() {
                let Hidden { variable, flag, .. } = hidden;
                return Some(format!(
                    "leave out {flag} or the variable {variable}: it is given twice"
                ));
            }
        }
        let needed = self.needed();
        let none = needed.iter().all(|(_, is_given)| !is_given) && self.bo_bootstrap_lang.is_none();
        let missing: Vec<&str> =
            needed.iter().filter(|(_, is_given)| !is_given).map(|(name, _)| *name).collect();
        (!none && !missing.is_empty()).then(|| {
            format!(
                "the first person of the back office is configured in part: give {} too (or the \
                 flags of the same names), or nothing of it",
                missing.join(", ")
            )
        })
    }

    /// The first person; `None` if nothing is said of them.
    ///
    /// # Errors
    /// A file cannot be read, or a value breaks a rule. The text names it, and not its value.
    pub(crate) fn person(&self) -> Result<Option<Bootstrap>> {
        if !self.secret().is_given() {
            return Ok(None);
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let settings = BootstrapSettings {
            secret: self.secret().read()?,
            email: text(&self.bo_bootstrap_email),
            password: self.password().read()?,
            first_name: text(&self.bo_bootstrap_first_name),
            last_name: text(&self.bo_bootstrap_last_name),
            phone: text(&self.bo_bootstrap_phone),
            lang: self.bo_bootstrap_lang.clone(),
        };
        Bootstrap::new(settings).map(Some).map_err(|error| refused(&error))
    }
}

/// Names the variable of each field that breaks a rule.
fn refused(error: &BackOfficeError) -> anyhow::Error {
    let fields = error.fields().iter().map(|field| {
        let variable = match field.field.as_str() {
            "secret" => SECRET_VARIABLE,
            "password" => PASSWORD_VARIABLE,
            "email" => "MILLRACE_BO_BOOTSTRAP_EMAIL",
            "firstName" => "MILLRACE_BO_BOOTSTRAP_FIRST_NAME",
            "lastName" => "MILLRACE_BO_BOOTSTRAP_LAST_NAME",
            "phone" => "MILLRACE_BO_BOOTSTRAP_PHONE",
            _ => "MILLRACE_BO_BOOTSTRAP_LANG",
        };
        format!("{variable}: {}", field.message)
    });
    let fields: Vec<String> = fields.collect();
    anyhow!("the first person of the back office: {}", fields.join("; "))
}
