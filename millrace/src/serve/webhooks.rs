//! Sending receipts to webhooks from this process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use millrace_client::{Addresses, Client, Options};
use millrace_webhook::{Config, deliver};

use super::Host;
use crate::cli::WebhookOptions;
use crate::keys::Issuer;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the first delay after a failure, by which processes keep out of each other's way.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Delivers what is to be delivered. Runs for ever.
pub(crate) fn deliveries(
    host: &Host<'_>,
    options: &WebhookOptions,
    issuer: &Issuer,
) -> Result<impl Future<Output = ()> + Send + 'static> {
    let client = Client::new(Options {
        connect_timeout: CONNECT_TIMEOUT,
        timeout: CALL_TIMEOUT,
        addresses: Addresses::Public { allowed: options.allow_nets.clone() },
        roots: options.ca.clone(),
        ..Options::default()
    })
    .context("--webhook-ca")?;
    Ok(deliver(Arc::clone(&host.engines.store), client, issuer.sign(), Config::default()))
}
