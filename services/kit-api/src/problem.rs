//! Problems (RFC 9457) as what a handler answers with.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
pub use mini_kit::problem::{FieldError, Kind, PROBLEM_JSON};
use mini_kit::request_id::RequestId;

/// An error as the client sees it: [`mini_kit::Problem`], as an answer of a handler.
#[derive(Clone, Debug)]
pub struct Problem(mini_kit::Problem);

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self(mini_kit::Problem::new(kind))
    }

    /// The problem that says no more than a status does.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        Self(mini_kit::Problem::from_status(status))
    }

    /// A failure of the service itself. The cause goes to the log, under the request's id, and not to the client.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!("{cause:#}");
        Self::from_status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A request body with invalid fields (422).
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self::from_status(StatusCode::UNPROCESSABLE_ENTITY).errors(errors)
    }

    /// A query string that is not understood (400), and why.
    #[must_use]
    pub fn invalid_query(reason: impl Into<String>) -> Self {
        Self::new(Kind::InvalidQuery).detail(reason)
    }

    /// Adds what is special about this occurrence.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self(self.0.detail(detail))
    }

    /// Names the places in the request body that the problem is about, in place of those named before.
    #[must_use]
    pub fn errors(self, errors: Vec<FieldError>) -> Self {
        Self(self.0.errors(errors))
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self(self.0.header(name, value))
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The whole response, with the id of the request in its document.
    pub(crate) fn response(&self, request_id: Option<&RequestId>) -> Response {
        self.0.response(request_id).map(axum::body::Body::new)
    }
}

/// The response carries the problem as an extension too, so that the router can add the id of the request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.response(None);
        response.extensions_mut().insert(self);
        response
    }
}
