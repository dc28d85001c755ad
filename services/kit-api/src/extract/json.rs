//! JSON bodies.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment, Track};

use super::objects::Objects;
use crate::problem::{FieldError, Kind, Problem};
use crate::upload::BrokenUpload;

/// A JSON body: of a request, as `T`, or of a response.
///
/// A request with another media type or a content coding is answered with 415, a body above the limit with 413, one that
/// does not come with 408, bytes that are not JSON with 400, and JSON that is not a `T` with 422 and the place that is wrong.
/// Messages repeat no values and name no types of the program.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        if !is_plain(request.headers()) {
            return Err(Problem::new(Kind::UnsupportedContentCoding)
                .header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        let body = match Bytes::from_request(request, state).await {
            Ok(body) => body,
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(Problem::from_status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            Err(rejection) => {
                let problem = match BrokenUpload::among_causes(&rejection) {
                    Some(BrokenUpload::Stalled) => Problem::from_status(StatusCode::REQUEST_TIMEOUT),
                    Some(BrokenUpload::BadEnd) => {
                        Problem::from_status(StatusCode::BAD_REQUEST).detail("the end of the chunked body is malformed")
                    }
                    None => Problem::from_status(StatusCode::BAD_REQUEST).detail("the body ended early"),
                };
                // Where the next request would begin is not known.
                return Err(problem.header(CONNECTION, HeaderValue::from_static("close")));
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

/// One media type: `application/json` and its relatives such as `application/merge-patch+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    // Of two, each reader of the message might believe another one.
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Whether the body is what it is, and not compressed.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let malformed = |what| Problem::from_status(StatusCode::BAD_REQUEST).detail(what);
    let text = std::str::from_utf8(body).map_err(|_| malformed("the body is not valid UTF-8"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut track = Track::new();
    let parsed = T::deserialize(Objects(serde_path_to_error::Deserializer::new(&mut deserializer, &mut track)));
    // Text is malformed whatever comes first in it, a wrong type or the syntax error.
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Err(malformed("the body is not valid JSON"));
    }
    parsed.map_err(|error| Problem::invalid(vec![FieldError::new(pointer(&track.path()), explain(&error.to_string()))]))
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

/// The part of serde's message that holds nothing of the body: what was expected, or which field is absent. The types of the
/// program are none of the client's business, so they are put in the words of JSON.
fn explain(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _position)| text);
    if message.starts_with("missing field `") || message.starts_with("duplicate field `") {
        return message.to_owned();
    }
    let Some((_found, expected)) = message.rsplit_once(", expected ") else { return "is not valid".to_owned() };
    if message.starts_with("unknown field `") {
        return format!("unknown field; expected {expected}");
    }
    match in_words_of_json(expected) {
        Some(words) if message.starts_with("invalid value: ") => format!("expected {words} within its range"),
        Some(words) => format!("expected {words}"),
        None => "is not valid".to_owned(),
    }
}

fn in_words_of_json(expected: &str) -> Option<&'static str> {
    Some(match expected {
        "a string" | "string" => "a string",
        "a boolean" => "true or false",
        "an object" | "a map" => "an object",
        "a sequence" => "an array",
        "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        _ => return None,
    })
}
