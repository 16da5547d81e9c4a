//! What the options mean to each part.

use std::time::Duration;

use millrace_schema::limits::Limits;

use crate::cli::{DevOptions, EventRetention, FrontOptions};

const DAY_US: i64 = 24 * 3600 * 1_000_000;

pub(crate) fn embedded_log(
    partitions: u32,
    options: &DevOptions,
) -> millrace_log::embedded::Config {
    let embedded = &options.embedded;
    millrace_log::embedded::Config {
        partitions,
        queue_bytes: options.front.limits.log_queue_bytes,
        disk_floor_bytes: embedded.disk_floor_bytes,
        retention: Duration::from_secs(embedded.log_retention_seconds),
        retention_bytes: embedded.log_retention_bytes,
        ..millrace_log::embedded::Config::default()
    }
}

pub(super) fn ingest(options: &FrontOptions) -> millrace_ingest::Config {
    let FrontOptions { listen, trusted_proxies, process, limits, timeouts } = options;
    millrace_ingest::Config {
        listen: *listen,
        admin_listen: process.admin_listen,
        limits: Limits { body_bytes: limits.body_bytes_max, item_bytes: limits.item_bytes_max },
        header_timeout: Duration::from_millis(timeouts.header_timeout_ms),
        body_timeout: Duration::from_millis(timeouts.body_timeout_ms),
        append_timeout: Duration::from_millis(timeouts.append_timeout_ms),
        shutdown_deadline: process.shutdown_timeout(),
        connections_max: limits.connections_max.get(),
        admission_bytes: limits.admission_bytes,
        rate_items_per_s: limits.rate_items_per_s,
        trusted_proxies: trusted_proxies.clone(),
    }
}

pub(super) fn workers(options: &EventRetention) -> millrace_workers::Config {
    millrace_workers::Config {
        event_retention_us: i64::from(options.event_retention_days) * DAY_US,
        ..millrace_workers::Config::default()
    }
}
