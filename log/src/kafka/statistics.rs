//! What librdkafka tells of the producer, as metrics and as health.
//!
//! Source: `STATISTICS.md` of librdkafka. Times there are in microseconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use serde::Deserialize;

/// The state of a connection that works.
const UP: [&str; 2] = ["UP", "UPDATE"];

/// What is read of the producer's statistics.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Statistics {
    /// Records in the queue, in flight included.
    msg_cnt: u64,
    /// Bytes of them.
    msg_size: u64,
    /// Records acknowledged since the start.
    txmsgs: u64,
    brokers: BTreeMap<String, Broker>,
    eos: Eos,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Broker {
    /// -1 for what was given as bootstrap, and for the coordinator.
    nodeid: i64,
    state: String,
    txretries: u64,
    txerrs: u64,
    rxerrs: u64,
    req_timeouts: u64,
    rtt: Window,
}

/// A rolling window.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Window {
    avg: u64,
    p99: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Eos {
    idemp_state: String,
}

/// What health needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) brokers_up: usize,
    pub(super) has_producer_id: bool,
    /// Records wait and none was acknowledged for so many seconds.
    pub(super) stalled_s: u64,
}

/// Watches over the acknowledgements from one report to the next.
#[derive(Debug)]
pub(super) struct Progress {
    acknowledged: u64,
    at: Instant,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self { acknowledged: 0, at: now }
    }

    /// How long records wait without any being acknowledged.
    fn stalled(&mut self, statistics: &Statistics, now: Instant) -> Duration {
        if statistics.msg_cnt == 0 || statistics.txmsgs != self.acknowledged {
            *self = Self { acknowledged: statistics.txmsgs, at: now };
        }
        now.saturating_duration_since(self.at)
    }
}

impl Statistics {
    pub(super) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    pub(super) fn pulse(&self, progress: &mut Progress, now: Instant) -> Pulse {
        let up = |broker: &&Broker| UP.contains(&broker.state.as_str());
        Pulse {
            brokers_up: self.brokers.values().filter(up).count(),
            has_producer_id: self.eos.idemp_state == "Assigned",
            stalled_s: progress.stalled(self, now).as_secs(),
        }
    }

    /// Brokers are told by their number, of which a cluster has few.
    pub(super) fn record(&self) {
        gauge!("millrace_kafka_queue_records").set(self.msg_cnt as f64);
        gauge!("millrace_kafka_queue_bytes").set(self.msg_size as f64);
        counter!("millrace_kafka_acknowledged_total").absolute(self.txmsgs);
        for broker in self.brokers.values().filter(|broker| broker.nodeid >= 0) {
            let id = broker.nodeid.to_string();
            let is_up = UP.contains(&broker.state.as_str());
            gauge!("millrace_kafka_broker_up", "broker" => id.clone()).set(f64::from(is_up));
            let round_trip = |stat: &'static str, us: u64| {
                let name = "millrace_kafka_broker_round_trip_seconds";
                gauge!(name, "broker" => id.clone(), "stat" => stat).set(us as f64 / 1e6);
            };
            round_trip("mean", broker.rtt.avg);
            round_trip("p99", broker.rtt.p99);
            counter!("millrace_kafka_broker_retries_total", "broker" => id.clone())
                .absolute(broker.txretries);
            let errors = broker.txerrs + broker.rxerrs + broker.req_timeouts;
            counter!("millrace_kafka_broker_errors_total", "broker" => id).absolute(errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut down from what librdkafka 2.12 sent.
    const SAMPLE: &str = r#"{"name":"millrace#producer-1","client_id":"millrace","type":"producer",
        "ts":5016483227792,"time":1527060869,"age":1200000,"replyq":0,"msg_cnt":22710,
        "msg_size":704010,"msg_max":500000,"msg_size_max":1073741824,"tx":631,"txmsgs":4300,
        "brokers":{
          "127.0.0.1:9092/bootstrap":{"name":"127.0.0.1:9092/bootstrap","nodeid":-1,"state":"INIT",
            "txretries":9,"rtt":{"avg":0,"p99":0}},
          "127.0.0.1:9092/2":{"name":"127.0.0.1:9092/2","nodeid":2,"state":"UP","txerrs":1,
            "txretries":3,"rxerrs":2,"req_timeouts":4,"rtt":{"min":1580,"avg":2500,"p99":9000},
            "toppars":{"t-0":{"topic":"t","partition":0}}},
          "127.0.0.1:9093/3":{"nodeid":3,"state":"DOWN"}},
        "topics":{"t":{"topic":"t","partitions":{"0":{"partition":0,"msgs":3950967}}}},
        "eos":{"idemp_state":"Assigned","idemp_stateage":885,"producer_id":13}}"#;

    #[test]
    fn the_pulse_is_read_from_the_statistics() {
        let statistics = Statistics::parse(SAMPLE.as_bytes()).unwrap();
        let now = Instant::now();
        let pulse = statistics.pulse(&mut Progress::new(now), now);
        assert_eq!(pulse, Pulse { brokers_up: 1, has_producer_id: true, stalled_s: 0 });
    }

    #[test]
    fn what_is_missing_means_nothing_and_no_broker() {
        let statistics = Statistics::parse(b"{}").unwrap();
        let now = Instant::now();
        assert_eq!(statistics.pulse(&mut Progress::new(now), now), Pulse::default());
        assert!(Statistics::parse(b"{\"msg_cnt\":").is_err());
    }

    #[test]
    fn records_that_wait_without_an_acknowledgement_are_a_stall() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        let mut after = |seconds: u64, msg_cnt: u64, txmsgs: u64| {
            let statistics = Statistics { msg_cnt, txmsgs, ..Statistics::default() };
            let now = start + Duration::from_secs(seconds);
            statistics.pulse(&mut progress, now).stalled_s
        };
        assert_eq!(after(100, 0, 0), 0, "nothing waits");
        assert_eq!(after(101, 5, 0), 1);
        assert_eq!(after(107, 9, 0), 7);
        assert_eq!(after(108, 9, 1), 0, "one was acknowledged");
        assert_eq!(after(109, 9, 1), 1);
    }

    #[test]
    fn metrics_say_what_their_names_say() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let statistics = Statistics::parse(SAMPLE.as_bytes()).unwrap();
        metrics::with_local_recorder(&recorder, || statistics.record());
        let text = handle.render();
        for line in [
            "millrace_kafka_queue_records 22710",
            "millrace_kafka_queue_bytes 704010",
            "millrace_kafka_acknowledged_total 4300",
            "millrace_kafka_broker_up{broker=\"2\"} 1",
            "millrace_kafka_broker_up{broker=\"3\"} 0",
            "millrace_kafka_broker_round_trip_seconds{broker=\"2\",stat=\"mean\"} 0.0025",
            "millrace_kafka_broker_round_trip_seconds{broker=\"2\",stat=\"p99\"} 0.009",
            "millrace_kafka_broker_retries_total{broker=\"2\"} 3",
            "millrace_kafka_broker_errors_total{broker=\"2\"} 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("broker=\"-1\""), "bootstrap addresses are no brokers");
    }
}
