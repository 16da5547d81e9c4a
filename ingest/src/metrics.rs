//! What the front door counts. Handles are resolved once; label values are finite.

use std::sync::OnceLock;
use std::time::Duration;

use hyper::StatusCode;
use metrics::{Counter, Gauge, Histogram, Unit};

use crate::route::Route;

const REQUESTS: &str = "millrace_ingest_requests_total";
const SECONDS: &str = "millrace_ingest_request_seconds";
const ITEMS: &str = "millrace_ingest_items_total";
const BODY_BYTES: &str = "millrace_ingest_body_bytes_total";
const IN_FLIGHT: &str = "millrace_ingest_in_flight_requests";
const ADMITTED: &str = "millrace_ingest_admitted_bytes";
const CONNECTIONS: &str = "millrace_ingest_connections";

/// The statuses that are answered, as label values.
const STATUSES: [(u16, &str); 18] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
];

/// Handles of all metrics.
pub(crate) struct Metrics {
    routes: [RouteMetrics; Route::ALL.len()],
    in_flight: Gauge,
    admitted_bytes: Gauge,
    connections: Gauge,
}

/// Handles of one route.
pub(crate) struct RouteMetrics {
    route: Route,
    /// Resolved at first use, so that only what has happened is listed.
    requests: [OnceLock<Counter>; STATUSES.len()],
    seconds: Histogram,
    accepted: Counter,
    rejected: Counter,
    body_bytes: Counter,
}

impl Metrics {
    /// Registers with the recorder installed at this time.
    pub(crate) fn new() -> Self {
        describe();
        Self {
            routes: Route::ALL.map(RouteMetrics::new),
            in_flight: metrics::gauge!(IN_FLIGHT),
            admitted_bytes: metrics::gauge!(ADMITTED),
            connections: metrics::gauge!(CONNECTIONS),
        }
    }

    pub(crate) fn of(&self, route: Route) -> &RouteMetrics {
        let [first, ..] = &self.routes;
        self.routes.get(route as usize).unwrap_or(first)
    }

    /// Sets what is only looked at when metrics are read.
    pub(crate) fn set_gauges(&self, in_flight: usize, admitted_bytes: usize, connections: usize) {
        self.in_flight.set(in_flight as f64);
        self.admitted_bytes.set(admitted_bytes as f64);
        self.connections.set(connections as f64);
    }
}

impl RouteMetrics {
    fn new(route: Route) -> Self {
        let label = route.label();
        Self {
            route,
            requests: Default::default(),
            seconds: metrics::histogram!(SECONDS, "route" => label),
            accepted: metrics::counter!(ITEMS, "route" => label, "result" => "accepted"),
            rejected: metrics::counter!(ITEMS, "route" => label, "result" => "rejected"),
            body_bytes: metrics::counter!(BODY_BYTES, "route" => label),
        }
    }

    /// Counts one answer.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        self.seconds.record(took);
        let known = STATUSES.iter().zip(&self.requests).find(|((s, _), _)| *s == status.as_u16());
        if let Some(((_, name), counter)) = known {
            let label = self.route.label();
            let counter = counter
                .get_or_init(|| metrics::counter!(REQUESTS, "route" => label, "status" => *name));
            counter.increment(1);
        }
    }

    /// Counts items.
    pub(crate) fn items(&self, accepted: usize, rejected: usize) {
        self.accepted.increment(accepted as u64);
        if rejected > 0 {
            self.rejected.increment(rejected as u64);
        }
    }

    /// Counts a body, as it came.
    pub(crate) fn body(&self, bytes: usize) {
        self.body_bytes.increment(bytes as u64);
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!(REQUESTS, "Requests answered, by route and status");
    describe_histogram!(SECONDS, Unit::Seconds, "From the head of a request to its answer");
    describe_counter!(
        ITEMS,
        "Items accepted (durable) and rejected (with all of a refused request), by route"
    );
    describe_counter!(BODY_BYTES, Unit::Bytes, "Bytes of bodies as they came, by route");
    describe_gauge!(IN_FLIGHT, "Requests being answered");
    describe_gauge!(ADMITTED, Unit::Bytes, "Bytes of bodies in memory");
    describe_gauge!(CONNECTIONS, "Open connections of clients");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_finds_its_own_handles() {
        let metrics = Metrics::new();
        for route in Route::ALL {
            assert_eq!(metrics.of(route).route, route);
        }
    }
}
