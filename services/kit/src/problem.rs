//! Errors as problem details (RFC 9457).

mod kind;
#[cfg(feature = "openapi")]
mod schema;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

pub use kind::Kind;
#[cfg(feature = "openapi")]
pub use schema::{ProblemDocument, listed};

use crate::request_id::RequestId;

/// The media type of a problem document (RFC 9457 §6.1).
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error as the client sees it. It never holds what only the log may know.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    status: StatusCode,
    detail: Option<String>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one place in the request body.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    /// A problem of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, status: kind.status(), detail: None, errors: Vec::new(), headers: Vec::new() }
    }

    /// The problem that says no more than a status does.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        Self { status, ..Self::new(Kind::of_status(status)) }
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

    /// What kind of problem it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
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
            r#type: self.kind.uri(),
            title: self.kind.title(),
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
