//! A front door in this process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use millrace_accounts::{ReceiptKeys, Verifier, watch};
use millrace_ingest::{Bound, Check, Parts, Problem, Readiness, Server};
use tokio::task::JoinHandle;

use super::{Host, SignIn, config};
use crate::cli::FrontOptions;
use crate::engines::{Engines, Verification};

/// A front door that listens. No key is honoured yet: [`Front::honour_keys`] does that.
pub(crate) struct Front {
    pub(crate) server: Server,
    pub(crate) readiness: Arc<Readiness>,
    /// Sends mails until the server is gone and none waits.
    pub(crate) postman: Option<JoinHandle<()>>,
    verifier: Arc<Verifier>,
}

impl Front {
    /// Takes the addresses of a front door.
    pub(crate) async fn bind(options: &FrontOptions) -> Result<Bound> {
        Ok(Bound::bind(config::ingest(options)).await?)
    }

    pub(crate) fn open(
        host: &Host<'_>,
        bound: Bound,
        verifier: Arc<Verifier>,
        sign_in: Option<SignIn>,
    ) -> Self {
        let (identity, postman) = match sign_in {
            Some(SignIn { identity, postman, .. }) => (Some(identity), Some(postman)),
            None => (None, None),
        };
        let engines = host.engines;
        let checks = checks(engines, Arc::clone(&host.verification), Arc::clone(&verifier));
        let readiness = Arc::new(Readiness::new(Arc::clone(&engines.log), checks));
        let parts = Parts {
            log: Arc::clone(&engines.log),
            store: Arc::clone(&engines.store),
            verifier: Arc::clone(&verifier),
            receipt_keys: ReceiptKeys::new(Arc::clone(&engines.accounts)),
            identity,
            metrics: host.recorder.clone(),
            readiness: Arc::clone(&readiness),
        };
        let postman = postman.map(|postman| tokio::spawn(postman.run()));
        Self { server: bound.open(parts), readiness, postman, verifier }
    }

    /// Honours keys once the log was found to be whole and the revocations were read, and keeps
    /// their list fresh. Runs for ever.
    pub(crate) fn honour_keys(
        &self,
        host: &Host<'_>,
        options: &FrontOptions,
    ) -> impl Future<Output = ()> + Send + 'static {
        let refresh = Duration::from_millis(options.timeouts.revocation_refresh_ms);
        let (verifier, accounts) = (Arc::clone(&self.verifier), Arc::clone(&host.engines.accounts));
        let verification = Arc::clone(&host.verification);
        async move {
            verification.whole().await;
            watch(verifier, accounts, refresh).await;
        }
    }
}

fn checks(
    engines: &Engines,
    verification: Arc<Verification>,
    verifier: Arc<Verifier>,
) -> Vec<Check> {
    let Some(store_health) = engines.store_health.clone() else { return Vec::new() };
    let store: Check = Box::new(move || match (store_health(), verifier.has_revocations()) {
        (Ok(()), true) => Ok(()),
        (Ok(()), false) => {
            Err(Problem::NotReady("keys: the list of revoked ones was not read yet".to_owned()))
        }
        (Err(reason), false) => Err(Problem::NotReady(format!("store: {reason}"))),
        // What is accepted waits in the log.
        (Err(reason), true) => Err(Problem::Degraded(format!("store: {reason}"))),
    });
    vec![store, Box::new(move || verification.check())]
}
