//! `millrace ingest`: a front door of a cluster.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use millrace_accounts::Verifier;
use serde_json::json;
use tokio::task::JoinSet;

use crate::Wrap;
use crate::cli::{Common, IngestOptions};
use crate::engines::{Engines, cluster};
use crate::http::url;
use crate::keys::verifier_of;
use crate::serve::{self, Front, Host, Running, Service};

/// Runs until a signal comes, or it is certain that the cluster cannot be used.
///
/// # Errors
/// It could not start, or something was cut short at its end.
pub(crate) fn run(common: &Common, options: &IngestOptions, wrap: Wrap) -> Result<()> {
    let verifier = verifier_of(&options.verify_keys)?;
    serve::run(&Ingest { common, options, verifier }, wrap)
}

struct Ingest<'o> {
    common: &'o Common,
    options: &'o IngestOptions,
    verifier: Arc<Verifier>,
}

impl Service for Ingest<'_> {
    fn open(&self) -> Result<Engines> {
        cluster::open(self.common, Some(&self.options.front))
    }

    async fn start(&self, host: &Host<'_>) -> Result<Running> {
        let options = &self.options.front;
        let front = Front::open(host, options, Arc::clone(&self.verifier)).await?;
        let mut background = JoinSet::new();
        background.spawn(front.honour_keys(host, options));
        let (url, admin_url) = (url(front.server.addr()), url(front.server.admin_addr()));
        let greeting = if self.common.json {
            format!("{}\n", json!({ "url": url, "admin_url": admin_url }))
        } else {
            format!("API      {url}\nAdmin    {admin_url}/readyz  {admin_url}/metrics\n")
        };
        Ok(Running {
            greeting: Box::pin(std::future::ready(Ok(greeting))),
            readiness: front.readiness,
            server: Some(front.server),
            workers: None,
            background,
            admin: JoinSet::new(),
        })
    }

    fn shutdown_timeout(&self) -> Duration {
        self.options.front.process.shutdown_timeout()
    }
}
