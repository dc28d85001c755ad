//! The one line that the log has for every request.

use std::net::IpAddr;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};
use mini_kit::health;
use mini_kit::logs;
use mini_kit::request_id::RequestId;
use mini_kit::trace_context::TraceContext;
use mini_kit::types::LogLevel;

/// What is shown of a path: paths may be long, and a log must not grow faster than the traffic that fills it.
const PATH_LIMIT_BYTES: usize = 256;

/// A request as the log will show it. The line is written when the value is dropped, so a request whose client leaves
/// before there is an answer has its line too.
#[derive(Debug)]
pub struct AccessLog {
    begin: Instant,
    method: Method,
    target: Option<PathAndQuery>,
    request_id: RequestId,
    /// The trace that the request belongs to.
    pub trace: TraceContext,
    /// The client, once that has been worked out; until then the peer.
    pub client: IpAddr,
    /// The name of the upstream that the request was sent to.
    pub upstream: Option<&'static str>,
    /// The status of the answer; none when the client left before it.
    pub status: Option<StatusCode>,
}

impl AccessLog {
    /// Starts the clock.
    pub fn begin<B>(request: &Request<B>, request_id: &RequestId, peer: IpAddr) -> Self {
        Self {
            begin: Instant::now(),
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            request_id: request_id.clone(),
            trace: TraceContext::from_headers(request.headers()),
            client: peer,
            upstream: None,
            status: None,
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let path = self.target.as_ref().map_or("", PathAndQuery::path);
        // Probes come every few seconds, so they are only worth a line when they fail.
        let is_good_probe = health::PATHS.contains(&path) && self.status == Some(StatusCode::OK);
        let level = if is_good_probe { LogLevel::Debug } else { LogLevel::Info };
        let message = if self.status.is_some() { "request" } else { "request left by its client" };
        logs::write(level, module_path!(), message, |line| {
            line.text("method", self.method.as_str());
            line.text("path", &path[..path.floor_char_boundary(PATH_LIMIT_BYTES)]);
            if let Some(status) = self.status {
                line.number("status", status.as_u16().into());
            }
            line.milliseconds("duration_ms", self.begin.elapsed());
            line.text("request_id", self.request_id.as_str());
            line.text("trace_id", self.trace.trace_id());
            line.address("client", self.client);
            if let Some(upstream) = self.upstream {
                line.text("upstream", upstream);
            }
        });
    }
}
