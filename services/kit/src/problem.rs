//! Errors as problem details (RFC 9457).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::request_id::RequestId;

/// The media type of a problem document (RFC 9457 §6.1).
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error as the client sees it. It never holds what only the log may know.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: Option<String>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one place in the request body.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct FieldError {
    /// The place, as a JSON pointer (RFC 6901): `/items/0/quantity`, or the empty text for the whole.
    pub pointer: String,
    /// What is wrong, without repeating the value.
    pub detail: String,
}

impl FieldError {
    /// An error at a place.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// A problem of the service's own: `name` in kebab-case is the end of its `type` (`/problems/NAME`), `title` says
    /// the same in words and does not change from one occurrence to the next.
    #[must_use]
    pub fn new(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self { status, name, title, detail: None, errors: Vec::new(), headers: Vec::new() }
    }

    /// The problem that says no more than a status does.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        let (name, title) = match status {
            StatusCode::BAD_REQUEST => ("bad-request", "The request is malformed"),
            StatusCode::UNAUTHORIZED => ("unauthorized", "A valid token is needed"),
            StatusCode::FORBIDDEN => ("forbidden", "This is not allowed for your role"),
            StatusCode::NOT_FOUND => ("not-found", "There is nothing here"),
            StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "This method is not allowed here"),
            StatusCode::REQUEST_TIMEOUT => ("request-timeout", "The request took too long to arrive"),
            StatusCode::CONFLICT => ("conflict", "The request conflicts with the present state"),
            StatusCode::PAYLOAD_TOO_LARGE => ("payload-too-large", "The request body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("unsupported-media-type", "The request body must be application/json")
            }
            StatusCode::UNPROCESSABLE_ENTITY => ("invalid-body", "The request body is not valid"),
            StatusCode::TOO_MANY_REQUESTS => ("too-many-requests", "There were too many requests"),
            StatusCode::NOT_IMPLEMENTED => ("not-implemented", "This is not supported"),
            StatusCode::BAD_GATEWAY => ("bad-gateway", "The service behind the gateway could not be reached"),
            StatusCode::SERVICE_UNAVAILABLE => ("service-unavailable", "The service cannot answer now"),
            StatusCode::GATEWAY_TIMEOUT => ("gateway-timeout", "The service behind the gateway took too long"),
            _ if status.is_client_error() => ("client-error", "The request cannot be answered"),
            _ => ("internal-error", "The service failed"),
        };
        Self::new(status, name, title)
    }

    /// Adds what is special about this occurrence.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Names the places in the request body that the problem is about, in place of those named before.
    #[must_use]
    pub fn errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The whole response, with the id of the request in its document.
    #[must_use]
    pub fn response(&self, request_id: Option<&RequestId>) -> Response<Full<Bytes>> {
        let document = Document {
            r#type: format!("/problems/{}", self.name),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            request_id: request_id.map(RequestId::as_str),
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&document).expect("a problem consists of texts and a number");
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.iter().cloned());
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        response
    }
}
