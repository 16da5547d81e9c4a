//! Whom to trust when somebody signs in with Google.

use std::path::PathBuf;

use clap::Args;

const GOOGLES_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sign-in with Google")]
pub(crate) struct GoogleOptions {
    /// A client id that tokens may be for; may be repeated. Without one nobody signs in with Google
    #[arg(long = "google-client-id", env = "MILLRACE_GOOGLE_CLIENT_ID", value_delimiter = ',')]
    #[arg(hide_env_values = true, value_name = "ID")]
    pub(crate) google_client_ids: Vec<String>,

    /// Where the keys are that tokens are checked with; it is called whatever its address is
    #[arg(long, env = "MILLRACE_GOOGLE_JWKS_URL", default_value = GOOGLES_KEYS)]
    #[arg(hide_env_values = true, value_name = "URL", value_parser = url)]
    pub(crate) google_jwks_url: String,

    /// CA certificates (PEM) that it may have besides those that the system trusts
    #[arg(long, env = "MILLRACE_GOOGLE_CA", hide_env_values = true, value_name = "FILE")]
    pub(crate) google_ca: Option<PathBuf>,
}

fn url(text: &str) -> Result<String, String> {
    match millrace_client::check_url(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
