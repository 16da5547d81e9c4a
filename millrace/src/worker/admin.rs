//! A worker's admin address: health and metrics. For operators, so without keys.

use std::sync::Arc;

use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use millrace_ingest::Readiness;
use tokio::net::TcpListener;

use crate::http::{self, Answer};

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
) {
    let handle = move |request: Request<_>| {
        let answer = answer(request.method(), request.uri().path(), &readiness, &metrics);
        std::future::ready(answer)
    };
    http::serve(&listener, handle).await;
}

fn answer(
    method: &Method,
    path: &str,
    readiness: &Readiness,
    metrics: &PrometheusHandle,
) -> Answer {
    if !["/livez", "/healthz", "/readyz", "/metrics"].contains(&path) {
        let text = "there are /livez, /readyz and /metrics\n";
        return http::answer(StatusCode::NOT_FOUND, TEXT, text);
    }
    if ![Method::GET, Method::HEAD].contains(method) {
        let mut answer = http::answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET, HEAD\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match path {
        "/metrics" => {
            metrics.run_upkeep();
            http::answer(StatusCode::OK, PROMETHEUS, metrics.render())
        }
        "/readyz" => ready(readiness),
        _ => http::json(StatusCode::OK, r#"{"status":"alive"}"#),
    }
}

fn ready(readiness: &Readiness) -> Answer {
    let report = readiness.report();
    let ready = report.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    http::json(status, serde_json::to_vec(&report).unwrap_or_default())
}
