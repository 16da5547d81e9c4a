//! What every request may use: the configuration, the log, the store, the keys, the clock.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use millrace_accounts::{BackOffice, People, ReceiptKeys, Verifier};
use millrace_log::Log;
use millrace_schema::limits::Limits;
use millrace_schema::net::Net;
use millrace_schema::time::ReceiptClock;
use millrace_store::Store;
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::metrics::Metrics;
use crate::rate::Rates;
use crate::readiness::Readiness;
use crate::request_id::RequestIds;
use crate::resume_points::ResumePoints;

/// Deletions under way at once.
pub(crate) const DELETIONS_MAX: u32 = 32;

/// How the front door behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients call.
    pub listen: SocketAddr,
    /// Where metrics and the ledger are served; not for clients.
    pub admin_listen: SocketAddr,
    /// Limits on what one request may bring.
    pub limits: Limits,
    /// From the first moment a head may come until all of it is there; idle connections too.
    pub header_timeout: Duration,
    /// From the head until the whole body is there.
    pub body_timeout: Duration,
    /// How long the log may take to acknowledge.
    pub append_timeout: Duration,
    /// How long requests may take to finish once the server stops.
    pub shutdown_deadline: Duration,
    /// Connections open at once; more wait to be accepted.
    pub connections_max: usize,
    /// Bytes of bodies in memory at once; beyond them requests are refused.
    pub admission_bytes: usize,
    /// Items a second that one project may send.
    pub rate_items_per_s: Option<NonZeroU32>,
    /// Who may say in `X-Forwarded-For` whom a request is from.
    pub trusted_proxies: Vec<Net>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            limits: Limits::default(),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            append_timeout: Duration::from_secs(10),
            shutdown_deadline: Duration::from_secs(20),
            connections_max: 10_000,
            admission_bytes: 256 * 1024 * 1024,
            rate_items_per_s: None,
            trusted_proxies: Vec::new(),
        }
    }
}

/// What the front door works with.
pub struct Parts {
    /// Where records go.
    pub log: Arc<dyn Log>,
    /// Where they are read back.
    pub store: Arc<dyn Store>,
    /// Checks keys.
    pub verifier: Arc<Verifier>,
    /// What receipts of deletions are checked with.
    pub receipt_keys: ReceiptKeys,
    /// Those who sign in; without them the accounts and back-office APIs answer 501, but for the
    /// two log calls.
    pub identity: Option<Identity>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// When the process is ready; of the same log.
    pub readiness: Arc<Readiness>,
}

/// Those who sign in.
#[derive(Debug)]
pub struct Identity {
    /// Of the accounts API.
    pub people: People,
    /// Of the back-office API.
    pub back_office: BackOffice,
}

/// What every request may use.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) parts: Parts,
    /// Partitions of every topic.
    pub(crate) partitions: u32,
    pub(crate) clock: ReceiptClock,
    pub(crate) request_ids: RequestIds,
    pub(crate) admission: Arc<Admission>,
    pub(crate) rates: Option<Rates>,
    /// Turns for large and encoded bodies: no more at once than there are processors.
    pub(crate) heavy_work: Arc<Semaphore>,
    /// Turns for deletions, which run on when their client hangs up.
    pub(crate) deletions: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) resume_points: ResumePoints,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) connections: AtomicUsize,
}

impl Context {
    pub(crate) fn new(config: Config, parts: Parts) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            partitions: parts.log.partitions(),
            clock: ReceiptClock::default(),
            request_ids: RequestIds::new(),
            admission: Admission::new(config.admission_bytes),
            rates: config.rate_items_per_s.map(Rates::new),
            heavy_work: Arc::new(Semaphore::new(processors)),
            deletions: Arc::new(Semaphore::new(DELETIONS_MAX as usize)),
            metrics: Metrics::new(),
            resume_points: ResumePoints::default(),
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            config,
            parts,
        }
    }

    /// The metrics as Prometheus text.
    pub(crate) fn render_metrics(&self) -> String {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let connections = self.connections.load(Ordering::Relaxed);
        self.metrics.set_gauges(in_flight, self.admission.held_bytes(), connections);
        self.parts.metrics.run_upkeep();
        self.parts.metrics.render()
    }
}

/// Counts up until it is dropped.
pub(crate) struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    pub(crate) fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
