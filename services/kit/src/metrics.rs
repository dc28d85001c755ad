//! What Prometheus reads: `/metrics` on an address of its own, which is not for the public. Off unless it is asked for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
pub use prometheus_client::registry::Registry;

use crate::identity::Identity;
use crate::problem::Problem;

const PATH: &str = "/metrics";
/// The OpenMetrics text format, which Prometheus asks for first.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Seconds: from what a probe takes to what `REQUEST_TIMEOUT` allows.
const DURATION_BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// The route of a request, for the metrics: a response's extension. A path would make a series of each product.
#[derive(Clone, Debug)]
pub struct Route(pub String);

/// What is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    connections: Gauge,
    closed: Family<ClosedLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClosedLabels {
    reason: &'static str,
}

impl Metrics {
    /// Starts counting. `register` adds what only this service counts.
    pub fn start(identity: Identity, register: impl FnOnce(&mut Registry)) -> Arc<Self> {
        let mut registry = Registry::default();
        let build = vec![
            ("service", identity.service),
            ("version", identity.build.version),
            ("revision", identity.build.revision.unwrap_or("unknown")),
        ];
        registry.register("build", "Which program this is", Info::new(build));
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let durations: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS.iter().copied()));
        let help = "Time from the head of a request to the head of its answer";
        registry.register("http_request_duration_seconds", help, durations.clone());
        let connections = Gauge::default();
        registry.register(
            "http_connections",
            "Connections, and requests still running after their connection closed",
            connections.clone(),
        );
        let closed = Family::default();
        registry.register("http_connections_closed", "Connections closed because of a limit", closed.clone());
        register(&mut registry);
        Arc::new(Self { registry, requests, durations, connections, closed })
    }

    pub(crate) fn answered(&self, method: &Method, route: String, status: StatusCode, took: Duration) {
        self.durations.get_or_create(&RouteLabels { route: route.clone() }).observe(took.as_secs_f64());
        self.count(known(method), route, status);
    }

    /// Counts a request that no service saw; its method may not be known.
    pub(crate) fn refused(&self, method: Option<&Method>, status: StatusCode) {
        self.count(method.map_or("unknown", known), String::new(), status);
    }

    fn count(&self, method: &'static str, route: String, status: StatusCode) {
        let labels = RequestLabels { method, route, status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn opened(&self) {
        self.connections.inc();
    }

    pub(crate) fn ended(&self) {
        self.connections.dec();
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ClosedLabels { reason }).inc();
    }

    /// The answer to a request on that address.
    pub fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if path != PATH {
            return Problem::from_status(StatusCode::NOT_FOUND).response(None);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allow = HeaderValue::from_static("GET, HEAD");
            return Problem::from_status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, allow).response(None);
        }
        let mut body = String::new();
        if text::encode(&mut body, &self.registry).is_err() {
            return Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR).response(None);
        }
        let mut response = Response::new(Full::new(Bytes::from(body)));
        response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
        response
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Metrics")
    }
}

/// Clients can make up methods, and each would be a series.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
