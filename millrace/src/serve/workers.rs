//! Workers in this process.

use std::sync::Arc;

use anyhow::Result;
use millrace_ingest::{Check, Problem};
use millrace_schema::Topic;
use millrace_workers::Workers;

use super::{Host, config};
use crate::cli::EventRetention;
use crate::keys::Issuer;

/// Starts workers on the current runtime. Without an issuer they complete no deletions.
pub(crate) fn start(
    host: &Host<'_>,
    options: &EventRetention,
    topics: &[Topic],
    issuer: Option<&Issuer>,
) -> Result<Workers> {
    let engines = host.engines;
    let (log, store) = (Arc::clone(&engines.log), Arc::clone(&engines.store));
    let config = config::workers(options);
    let receipts = issuer.map(|issuer| issuer.receipts(Arc::clone(&engines.accounts)));
    Ok(millrace_workers::start(config, log, store, topics, receipts)?)
}

/// When workers are ready: log and store are reached, and right.
pub(crate) fn checks(host: &Host<'_>) -> Vec<Check> {
    let verification = Arc::clone(&host.verification);
    let store_health = host.engines.store_health.clone();
    let store: Check = Box::new(move || match store_health.as_ref().map(|health| health()) {
        Some(Err(reason)) => Err(Problem::NotReady(format!("store: {reason}"))),
        _ => Ok(()),
    });
    vec![store, Box::new(move || verification.check())]
}
