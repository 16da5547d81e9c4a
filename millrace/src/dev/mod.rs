//! `millrace dev`: front door, log, workers and store in one process; on a cluster, the front door
//! and the workers.

mod demo;
mod greeting;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use millrace_accounts::{AccountError, Accounts, TokenSecrets, Verifier};
use millrace_ingest::Readiness;
use millrace_schema::Topic;
use millrace_store::StoreError;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

pub(crate) use self::demo::Demo;
use self::greeting::Greeting;
use crate::Wrap;
use crate::admin::{AdminSocket, Backend, Users};
use crate::cli::{Common, DevOptions};
use crate::engines::{Engines, cluster, embedded};
use crate::folder::{DataFolder, Layout};
use crate::keys::{Issuer, Keys};
use crate::priority::yield_to_the_front_door;
use crate::serve::{self, Front, Host, Own, RUNTIME_GRACE, Running, Service, SignIn};

/// How often a start looks whether what it waits for is there.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often what the store did not take is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Runs until a signal comes or an engine fails.
///
/// # Errors
/// It could not start, or something was cut short at its end.
pub(crate) fn run(data: &Path, common: &Common, options: &DevOptions, wrap: Wrap) -> Result<()> {
    let folder = DataFolder::open(Layout::new(data))?;
    // What workers write to a database is the database's work; here it would only keep it waiting.
    let on_thread_start = if common.cluster.is_named() { || {} } else { yield_to_the_front_door };
    // Workers block on the store; on threads of their own they do not hold up requests.
    let back = serve::runtime("workers", on_thread_start)?;
    let hashing = serve::hashing()?;
    let dev = Dev { folder: &folder, common, options, back: &back, hashing: &hashing };
    let result = serve::run(&dev, wrap);
    hashing.shutdown_timeout(RUNTIME_GRACE);
    back.shutdown_timeout(RUNTIME_GRACE);
    result
}

struct Dev<'o> {
    folder: &'o DataFolder,
    common: &'o Common,
    options: &'o DevOptions,
    /// Where the workers work.
    back: &'o Runtime,
    /// Where passwords are hashed.
    hashing: &'o Runtime,
}

impl Service for Dev<'_> {
    fn open(&self) -> Result<Engines> {
        if self.common.cluster.is_named() {
            return cluster::open(self.common, Some(&self.options.front));
        }
        let config = serve::embedded_log(self.common.partitions(), self.options);
        embedded::open(self.folder, config)
    }

    async fn start(&self, host: &Host<'_>) -> Result<Running> {
        let keys = Keys::load_or_create(self.folder.layout())?;
        let issuer = self.issuer()?;
        let deliveries = serve::deliveries(host, &self.options.webhooks, &issuer)?;
        let (engines, options) = (host.engines, &self.options.front);
        let bound = Front::bind(options).await?;
        let sign_in = self.sign_in(host, bound.addr())?;
        let users = Users::new(Arc::clone(&sign_in.core))?;
        let accounts = keys.accounts(Arc::clone(&engines.accounts), sign_in.core.audit());
        let socket = AdminSocket::bind(self.folder.layout())?;
        let front = Front::open(host, bound, Arc::clone(&keys.verifier), Some(sign_in));
        let workers = {
            let _on_their_threads = self.back.enter();
            let events = &self.options.events;
            serve::start_workers(host, events, &Topic::CONSUMED, Some(&issuer))?
        };
        let (log, store) = (Arc::clone(&engines.log), Arc::clone(&engines.store));
        let mut background = JoinSet::new();
        background.spawn(front.honour_keys(host, options));
        background.spawn_on(deliveries, self.back.handle());
        let backend = Backend { accounts: accounts.clone(), users, log, store };
        background.spawn(socket.serve(backend));
        Ok(Running {
            greeting: Box::pin(self.greeting(host, &front, accounts, keys.verifier)),
            readiness: front.readiness,
            server: Some(front.server),
            postman: front.postman,
            workers: Some(workers),
            background,
            admin: JoinSet::new(),
        })
    }

    fn shutdown_timeout(&self) -> Duration {
        self.options.front.process.shutdown_timeout()
    }
}

impl Dev<'_> {
    /// Those who sign in.
    fn sign_in(&self, host: &Host<'_>, listen: SocketAddr) -> Result<SignIn> {
        let (layout, options) = (self.folder.layout(), &self.options.identity);
        let secrets = match options.tokens.secrets()? {
            Some(secrets) => secrets,
            None => TokenSecrets::load_or_create(&layout.token_secret())?,
        };
        let own = Own { listen, outbox: Some(&layout.outbox()) };
        SignIn::open(host, options, &own, secrets, self.hashing.handle().clone())
    }

    /// Who signs receipts: with the key of the data folder, unless another is named.
    fn issuer(&self) -> Result<Issuer> {
        let receipts = &self.options.receipts;
        let own = self.folder.layout().receipt_key();
        let key = receipts.receipt_key.as_deref().unwrap_or(&own);
        Issuer::load_or_create(&receipts.receipt_issuer, key)
    }

    /// The greeting, once the demo key is good; on a cluster, once everything is.
    fn greeting(
        &self,
        host: &Host<'_>,
        front: &Front,
        accounts: Accounts,
        verifier: Arc<Verifier>,
    ) -> impl Future<Output = Result<String>> + Send + 'static {
        let (listen, admin_listen) = (front.server.addr(), front.server.admin_addr());
        let layout = self.folder.layout().clone();
        let json = self.common.json;
        let readiness = host.engines.are_remote().then(|| Arc::clone(&front.readiness));
        async move {
            until_good(&verifier, readiness.as_deref()).await;
            let demo = loop {
                match Demo::load_or_create(&layout, &accounts, &verifier).await {
                    Err(error) if is_away(&error) => tokio::time::sleep(RETRY_EVERY).await,
                    done => break done?,
                }
            };
            let data = layout.root().to_owned();
            let greeting = Greeting { listen, admin_listen, demo, data };
            Ok(if json { greeting.to_json() } else { greeting.to_text() })
        }
    }
}

async fn until_good(verifier: &Verifier, readiness: Option<&Readiness>) {
    let mut said = Vec::new();
    loop {
        let report = readiness.map(Readiness::report);
        if verifier.has_revocations() && report.as_ref().is_none_or(|report| report.is_ready()) {
            return;
        }
        let reasons = report.map(|report| report.reasons().to_vec()).unwrap_or_default();
        if reasons != said {
            tracing::info!(reasons = reasons.join("; "), "waiting");
            said = reasons;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a try failed because the store is away.
fn is_away(error: &anyhow::Error) -> bool {
    let account = error.downcast_ref::<AccountError>();
    matches!(account, Some(AccountError::Store(StoreError::Unavailable(_))))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn an_engine_that_fails_for_good_stops_everything_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let args = ["millrace", "dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let cli = Cli::try_parse_from(args).unwrap();
        let Command::Dev(options) = cli.command else { panic!("another command") };
        let failed = Box::pin(async { "fdatasync: out of luck".to_owned() });
        let wrap: Wrap = Box::new(|engines| Engines { failed, ..engines });
        let error = run(&data, &cli.common, &options, wrap).unwrap_err();
        assert!(format!("{error:#}").contains("fdatasync: out of luck"), "{error:#}");
        DataFolder::open(Layout::new(&data)).unwrap();
    }
}
