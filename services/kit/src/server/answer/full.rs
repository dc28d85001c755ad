//! What connections beyond the limit are told.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use crate::health;
use crate::problem::Problem;
use crate::request_id::{REQUEST_ID, RequestId};

/// Whether a request is answered even by a service that is at its limits.
pub(in crate::server) fn is_probe<B>(request: &Request<B>) -> bool {
    health::PATHS.contains(&request.uri().path())
}

/// The answer to any other request: 503, and the end of the connection.
pub(in crate::server) fn refusal<B>(request: &Request<B>, client: IpAddr) -> Response<Full<Bytes>> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let request_id = RequestId::from_headers(request.headers());
    tracing::info!(method = %request.method(), status = status.as_u16(), %client, %request_id, "request refused: every connection is at work");
    let problem = Problem::from_status(status)
        .detail("nothing was done; the same request may be sent again")
        .header(RETRY_AFTER, HeaderValue::from_static("1"))
        .header(CONNECTION, HeaderValue::from_static("close"));
    let mut response = problem.response(Some(&request_id));
    response.headers_mut().insert(REQUEST_ID, request_id.header_value());
    response
}
