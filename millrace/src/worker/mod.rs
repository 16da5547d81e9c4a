//! `millrace worker`: workers of a cluster, and nothing else.

mod admin;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use millrace_ingest::Readiness;
use millrace_schema::Topic;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Wrap;
use crate::cli::{Common, Role, WorkerSettings};
use crate::engines::{Engines, cluster};
use crate::http::url;
use crate::keys::Issuer;
use crate::serve::{self, Host, Running, Service};

/// Runs until a signal comes, or it is certain that the cluster cannot be used.
///
/// # Errors
/// It could not start, or something was cut short at its end.
pub(crate) fn run(
    common: &Common,
    roles: &[Role],
    settings: &WorkerSettings,
    wrap: Wrap,
) -> Result<()> {
    let wanted = |topic: &Topic| roles.iter().any(|role| role.topics().contains(topic));
    let topics = Topic::CONSUMED.into_iter().filter(wanted).collect();
    let issuer = issuer(roles, settings)?;
    serve::run(&Worker { common, settings, topics, issuer }, wrap)
}

/// Who completes deletions, if that is among the roles; the command line sees to it that the key
/// is named then.
fn issuer(roles: &[Role], settings: &WorkerSettings) -> Result<Option<Issuer>> {
    let receipts = &settings.receipts;
    let key = receipts.receipt_key.as_ref().filter(|_| roles.contains(&Role::Deletions));
    key.map(|key| Issuer::load_or_create(&receipts.receipt_issuer, key)).transpose()
}

struct Worker<'o> {
    common: &'o Common,
    settings: &'o WorkerSettings,
    topics: Vec<Topic>,
    issuer: Option<Issuer>,
}

impl Service for Worker<'_> {
    fn open(&self) -> Result<Engines> {
        cluster::open(self.common, None)
    }

    async fn start(&self, host: &Host<'_>) -> Result<Running> {
        let issuer = self.issuer.as_ref();
        let mut background = JoinSet::new();
        if let Some(issuer) = issuer {
            background.spawn(serve::deliveries(host, &self.settings.webhooks, issuer)?);
        }
        let address = self.settings.process.admin_listen;
        let bound = TcpListener::bind(address).await;
        let listener = bound.with_context(|| format!("cannot listen on {address}"))?;
        let admin_url = url(listener.local_addr()?);
        let readiness =
            Arc::new(Readiness::new(Arc::clone(&host.engines.log), serve::worker_checks(host)));
        let mut admin = JoinSet::new();
        admin.spawn(admin::serve(listener, Arc::clone(&readiness), host.recorder.clone()));
        let events = &self.settings.events;
        let workers = serve::start_workers(host, events, &self.topics, issuer)?;
        let greeting = if self.common.json {
            format!("{}\n", json!({ "admin_url": admin_url }))
        } else {
            format!("Admin    {admin_url}/readyz  {admin_url}/metrics\n")
        };
        Ok(Running {
            greeting: Box::pin(std::future::ready(Ok(greeting))),
            readiness,
            server: None,
            postman: None,
            workers: Some(workers),
            background,
            admin,
        })
    }

    fn shutdown_timeout(&self) -> Duration {
        self.settings.process.shutdown_timeout()
    }
}
