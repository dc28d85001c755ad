//! The answers to requests that no service sees, because their head cannot be read: as complete as any other answer.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, HeaderValue};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};

use crate::problem::Problem;
use crate::request_id::{REQUEST_ID, RequestId};

/// The status of an answer that hyper makes by itself; none when the bytes are no such answer.
pub(super) fn status(head: &[u8]) -> Option<StatusCode> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    StatusCode::from_bytes(rest.get(..3)?).ok().filter(StatusCode::is_client_error)
}

/// The whole answer, which ends the connection. The request's line in the log is written here too.
pub(super) fn answer(status: StatusCode, client: IpAddr) -> Bytes {
    let request_id = RequestId::random();
    tracing::info!(status = status.as_u16(), %client, %request_id, "request refused: its head is malformed or incomplete");
    let mut problem = Problem::from_status(status);
    if status == StatusCode::BAD_REQUEST {
        problem = problem.detail("the head of the request is malformed");
    }
    let problem = problem.header(CONNECTION, HeaderValue::from_static("close"));
    let mut response = problem.response(Some(&request_id));
    response.headers_mut().insert(REQUEST_ID, request_id.header_value());
    written(response)
}

fn written(response: http::Response<Full<Bytes>>) -> Bytes {
    let (head, body) = response.into_parts();
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str());
    for (name, value) in &head.headers {
        // All of them are of our own making, and visible ASCII.
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let length = body.size_hint().exact().unwrap_or_default();
    let _ = write!(text, "content-length: {length}\r\n\r\n");
    let mut bytes = text.into_bytes();
    // The body lies in memory, so it is there at once.
    if let Some(Some(Ok(frame))) = futures_util::FutureExt::now_or_never(Box::pin(body).frame())
        && let Ok(data) = frame.into_data()
    {
        bytes.extend_from_slice(&data);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_of_hyper_itself_are_known() {
        assert_eq!(
            status(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"),
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
        for other in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n", "HTTP/2", "", "hello"] {
            assert_eq!(status(other.as_bytes()), None, "{other}");
        }
    }
}
