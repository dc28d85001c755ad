//! The one line that the log has for every request.

use std::net::IpAddr;
use std::time::Instant;

use http::{Method, StatusCode};
use mini_kit::health;
use mini_kit::request_id::RequestId;
use mini_kit::trace_context::TraceContext;

/// What is shown of a path: paths may be long, and a log must not grow faster than the traffic that fills it.
const PATH_LIMIT_BYTES: usize = 256;

/// A request as the log will show it. The line is written when the value is dropped, so a request whose client leaves
/// before there is an answer has its line too.
#[derive(Debug)]
pub struct AccessLog {
    begin: Instant,
    method: Method,
    path: String,
    request_id: RequestId,
    trace_id: String,
    /// The client, once that has been worked out; until then the peer.
    pub client: IpAddr,
    /// The name of the upstream that the request was sent to.
    pub upstream: Option<&'static str>,
    /// The status of the answer; none when the client left before it.
    pub status: Option<StatusCode>,
}

impl AccessLog {
    /// Starts the clock.
    pub fn begin(method: &Method, path: &str, request_id: &RequestId, trace: &TraceContext, peer: IpAddr) -> Self {
        let path = path[..path.floor_char_boundary(PATH_LIMIT_BYTES)].to_owned();
        let (method, request_id, trace_id) = (method.clone(), request_id.clone(), trace.trace_id().to_owned());
        Self { begin: Instant::now(), method, path, request_id, trace_id, client: peer, upstream: None, status: None }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let Self { method, path, request_id, trace_id, client, upstream, .. } = &*self;
        let duration_ms = self.begin.elapsed().as_secs_f64() * 1000.0;
        let status = self.status.map(|status| status.as_u16());
        // Probes come every few seconds, so they are only worth a line when they fail.
        if health::PATHS.contains(&path.as_str()) && status == Some(200) {
            tracing::debug!(%method, path, status, duration_ms, %request_id, trace_id, %client, "request");
        } else if status.is_some() {
            tracing::info!(%method, path, status, duration_ms, %request_id, trace_id, %client, upstream, "request");
        } else {
            tracing::info!(%method, path, duration_ms, %request_id, trace_id, %client, upstream, "request left by its client");
        }
    }
}
