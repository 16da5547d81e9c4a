//! `millrace ingest`: a front door of a cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use millrace_accounts::Verifier;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Wrap;
use crate::cli::{Common, IngestOptions};
use crate::engines::{Engines, cluster};
use crate::http::url;
use crate::keys::verifier_of;
use crate::serve::{self, Front, Host, Own, RUNTIME_GRACE, Running, Service, SignIn};

const NOBODY_SIGNS_IN: &str = "The accounts and back-office APIs answer 501: there are no token \
                               secrets (--token-secrets-file).\n";

/// Runs until a signal comes, or it is certain that the cluster cannot be used.
///
/// # Errors
/// It could not start, or something was cut short at its end.
pub(crate) fn run(common: &Common, options: &IngestOptions, wrap: Wrap) -> Result<()> {
    let verifier = verifier_of(&options.verify_keys)?;
    let hashing = serve::hashing()?;
    let result = serve::run(&Ingest { common, options, verifier, hashing: &hashing }, wrap);
    hashing.shutdown_timeout(RUNTIME_GRACE);
    result
}

struct Ingest<'o> {
    common: &'o Common,
    options: &'o IngestOptions,
    verifier: Arc<Verifier>,
    /// Where passwords are hashed.
    hashing: &'o Runtime,
}

impl Service for Ingest<'_> {
    fn open(&self) -> Result<Engines> {
        cluster::open(self.common, Some(&self.options.front))
    }

    async fn start(&self, host: &Host<'_>) -> Result<Running> {
        let options = &self.options.front;
        let bound = Front::bind(options).await?;
        let sign_in = self.sign_in(host, bound.addr())?;
        let nobody = if sign_in.is_none() { NOBODY_SIGNS_IN } else { "" };
        let front = Front::open(host, bound, Arc::clone(&self.verifier), sign_in);
        let mut background = JoinSet::new();
        background.spawn(front.honour_keys(host, options));
        let (url, admin_url) = (url(front.server.addr()), url(front.server.admin_addr()));
        let greeting = if self.common.json {
            format!("{}\n", json!({ "url": url, "admin_url": admin_url }))
        } else {
            format!("API      {url}\nAdmin    {admin_url}/readyz  {admin_url}/metrics\n{nobody}")
        };
        Ok(Running {
            greeting: Box::pin(std::future::ready(Ok(greeting))),
            readiness: front.readiness,
            server: Some(front.server),
            postman: front.postman,
            workers: None,
            background,
            admin: JoinSet::new(),
        })
    }

    fn shutdown_timeout(&self) -> Duration {
        self.options.front.process.shutdown_timeout()
    }
}

impl Ingest<'_> {
    /// Those who sign in, if there are token secrets.
    fn sign_in(&self, host: &Host<'_>, listen: SocketAddr) -> Result<Option<SignIn>> {
        let options = &self.options.identity;
        let Some(secrets) = options.tokens.secrets()? else {
            tracing::info!("{}", NOBODY_SIGNS_IN.trim_end());
            return Ok(None);
        };
        let own = Own { listen, outbox: None };
        SignIn::open(host, options, &own, secrets, self.hashing.handle().clone()).map(Some)
    }
}
