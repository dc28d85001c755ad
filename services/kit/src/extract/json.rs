//! JSON bodies.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment};

use crate::problem::{FieldError, Problem};

/// A JSON body: of a request, as `T`, or of a response.
///
/// A request with another media type is answered with 415, a body above the limit with 413, text that is not JSON with
/// 400, and JSON that is not a `T` with 422 and the place that is wrong. Messages never repeat values.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let body = match Bytes::from_request(request, state).await {
            Ok(body) => body,
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(Problem::from_status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            Err(_) => {
                return Err(Problem::from_status(StatusCode::BAD_REQUEST).detail("the body ended early"));
            }
        };
        parse(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// `application/json` and its relatives such as `application/merge-patch+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    // Text is malformed whatever comes first in it, a wrong type or the syntax error.
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return Err(Problem::from_status(StatusCode::BAD_REQUEST).detail("the body is not valid JSON"));
    }
    parsed.map_err(|error| {
        Problem::invalid(vec![FieldError::new(pointer(error.path()), explain(&error.inner().to_string()))])
    })
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

/// The part of serde's message that holds nothing of the body: what was expected, or which field is absent.
fn explain(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _position)| text);
    if message.starts_with("missing field `") || message.starts_with("duplicate field `") {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_found, expected)) => format!("expected {expected}"),
        None => "is not valid".to_owned(),
    }
}
