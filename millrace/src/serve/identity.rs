//! Those who sign in at a front door of this process: from the options to the parts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use hyper::{Request, StatusCode};
use millrace_accounts::{
    BackOffice, Clock, Core, FetchKeys, Google, GoogleSettings, MailError, Mailer, People, Postman,
    Settings, TokenSecrets,
};
use millrace_client::{Client, Options};
use millrace_ingest::Identity;
use tokio::runtime::Handle;

use super::Host;
use crate::cli::{GoogleOptions, IdentityOptions, MailOptions};
use crate::http::url;

const KEYS_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEYS_TIMEOUT: Duration = Duration::from_secs(5);
const KEYS_BYTES_MAX: usize = 64 * 1024;

/// What stands in for options that are not given.
pub(crate) struct Own<'o> {
    /// Where the front door listens.
    pub(crate) listen: SocketAddr,
    /// Where mails may be kept.
    pub(crate) outbox: Option<&'o Path>,
}

/// Those who sign in, and what they share with commands.
pub(crate) struct SignIn {
    pub(crate) identity: Identity,
    pub(crate) core: Arc<Core>,
    /// Sends their mails.
    pub(crate) postman: Postman,
}

impl SignIn {
    /// What the options say. Passwords are hashed on the blocking threads of `hashing`.
    ///
    /// # Errors
    /// Something is wrong with them. The text names the option.
    pub(crate) fn open(
        host: &Host<'_>,
        options: &IdentityOptions,
        own: &Own<'_>,
        secrets: TokenSecrets,
        hashing: Handle,
    ) -> Result<Self> {
        let (mailer, postman) = mailer(&options.mail, own)?;
        let google = google(&options.google)?;
        let bootstrap = options.bootstrap.person()?;
        let settings = Settings {
            secrets,
            passwords: options.passwords.settings(),
            hashing: Some(hashing),
            limits: options.attempts.limits(),
            must_verify: options.tokens.verified_email_required,
        };
        let documents = Arc::clone(&host.engines.documents);
        let core = Core::new(documents, settings, Clock::default())
            .context("--argon2-memory-kib, --argon2-passes, --argon2-lanes")?;
        let identity = Identity {
            people: People::new(Arc::clone(&core), mailer, google),
            back_office: BackOffice::new(Arc::clone(&core), bootstrap),
        };
        Ok(Self { identity, core, postman })
    }
}

fn mailer(options: &MailOptions, own: &Own<'_>) -> Result<(Mailer, Postman)> {
    let settings = options.settings(&url(own.listen), own.outbox)?;
    Mailer::new(settings).map_err(|error| {
        let flag = match error {
            MailError::From => "--mail-from",
            MailError::PublicUrl => "--public-url",
            MailError::SmtpUrl => "--smtp-url",
            MailError::Outbox { .. } => "--outbox",
        };
        anyhow!(error).context(flag)
    })
}

fn google(options: &GoogleOptions) -> Result<Option<Google>> {
    let GoogleOptions { google_client_ids, google_jwks_url, google_ca } = options;
    let Some(first) = google_client_ids.first() else { return Ok(None) };
    let client = Client::new(Options {
        connect_timeout: KEYS_CONNECT_TIMEOUT,
        timeout: KEYS_TIMEOUT,
        body_bytes_max: KEYS_BYTES_MAX,
        roots: google_ca.clone(),
        ..Options::default()
    })
    .context("--google-ca")?;
    let client_ids = google_client_ids.clone();
    let settings = GoogleSettings { client_ids, ..GoogleSettings::new(first.clone()) };
    let url: Arc<str> = google_jwks_url.as_str().into();
    let fetch: FetchKeys = Arc::new(move || {
        let (client, url) = (client.clone(), Arc::clone(&url));
        Box::pin(async move { fetch(&client, &url).await })
    });
    Ok(Some(Google::new(settings, fetch, Clock::default())))
}

async fn fetch(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let request = Request::get(url).body(Bytes::new()).map_err(|error| error.to_string())?;
    let answer = client.call(request).await.map_err(|error| error.to_string())?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body().to_vec()),
        status => Err(format!("answered {status}")),
    }
}
