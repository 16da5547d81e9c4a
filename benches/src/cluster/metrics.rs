//! Sums over a worker's metrics.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::http;

/// What a process has counted since it began.
#[derive(Debug)]
pub(super) struct Metrics(String);

/// Asks for them.
pub(super) fn read(admin: SocketAddr) -> Result<Metrics> {
    let (status, body) = http::get(admin, "/metrics")?;
    ensure!(status == 200, "GET /metrics: {status}");
    Ok(Metrics(String::from_utf8_lossy(&body).into_owned()))
}

impl Metrics {
    /// The sum over all lines of a metric that have this label.
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        let value = |line: &str| {
            let labels = line.strip_prefix(name)?.strip_prefix('{')?;
            let (labels, value) = labels.rsplit_once('}')?;
            labels.split(',').any(|one| one == label).then(|| value.trim().parse::<f64>().ok())?
        };
        self.0.lines().filter_map(value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_same_name_and_label_are_added_up() {
        let metrics = Metrics(
            "# TYPE n_total counter\n\
             n_total{topic=\"events\",outcome=\"stored\"} 2\n\
             n_total{topic=\"events\",outcome=\"dead\"} 3\n\
             n_total{topic=\"profiles\"} 7\nn_total_sum{topic=\"events\"} 90\nother 1\n"
                .to_owned(),
        );
        assert_eq!(metrics.sum("n_total", "topic=\"events\""), 5.0);
        assert_eq!(metrics.sum("n_total", "topic=\"devices\""), 0.0);
    }
}
