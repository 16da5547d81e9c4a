//! What the options mean to each part.

use std::time::Duration;

use millrace_schema::limits::Limits;

use crate::cli::DevOptions;

const DAY_US: i64 = 24 * 3600 * 1_000_000;

pub(super) fn log(options: &DevOptions) -> millrace_log::embedded::Config {
    millrace_log::embedded::Config {
        partitions: options.partitions.get(),
        queue_bytes: options.limits.log_queue_bytes,
        disk_floor_bytes: options.limits.disk_floor_bytes,
        retention: Duration::from_secs(options.retention.log_retention_seconds),
        retention_bytes: options.retention.log_retention_bytes,
        ..millrace_log::embedded::Config::default()
    }
}

pub(super) fn ingest(options: &DevOptions) -> millrace_ingest::Config {
    let (limits, timeouts) = (&options.limits, &options.timeouts);
    millrace_ingest::Config {
        listen: options.listen,
        admin_listen: options.admin_listen,
        limits: Limits { body_bytes: limits.body_bytes_max, item_bytes: limits.item_bytes_max },
        header_timeout: Duration::from_millis(timeouts.header_timeout_ms),
        body_timeout: Duration::from_millis(timeouts.body_timeout_ms),
        append_timeout: Duration::from_millis(timeouts.append_timeout_ms),
        shutdown_deadline: timeouts.shutdown(),
        connections_max: limits.connections_max.get(),
        admission_bytes: limits.admission_bytes,
        rate_items_per_s: limits.rate_items_per_s,
    }
}

pub(super) fn workers(options: &DevOptions) -> millrace_workers::Config {
    millrace_workers::Config {
        event_retention_us: i64::from(options.retention.event_retention_days) * DAY_US,
        ..millrace_workers::Config::default()
    }
}
