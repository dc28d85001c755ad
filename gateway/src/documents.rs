//! What there is to read at the gateway: the description of the API, and a text about each kind of problem, to which the `type` of
//! every problem document leads.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};
use http_body_util::Full;
use mini_kit::Problem;
use mini_kit::problem::Kind;
use mini_kit::request_id::RequestId;

/// Made by `UPDATE_API=1 cargo test --package mini-api --features document`, whose tests keep it up to date.
pub const DESCRIPTION: &str = include_str!("../openapi.json");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// A release may change them, so nobody keeps them for long.
const SHORT_LIVED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The answer to a request for a document; none when the path is not one of them. HTTP takes the body from an answer to HEAD.
pub fn answer(method: &Method, path: &str, request_id: &RequestId) -> Option<Response<Full<Bytes>>> {
    let (media_type, body) = document(path)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        let problem = Problem::new(Kind::MethodNotAllowed).header(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(problem.response(Some(request_id)));
    }
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CACHE_CONTROL, SHORT_LIVED);
    Some(response)
}

fn document(path: &str) -> Option<(HeaderValue, Bytes)> {
    match path {
        "/openapi.json" => Some((JSON, Bytes::from_static(DESCRIPTION.as_bytes()))),
        "/problems" => Some((TEXT, Bytes::from(list()))),
        _ => {
            let name = path.strip_prefix("/problems/")?;
            let kind = Kind::ALL.iter().find(|kind| kind.name() == name)?;
            Some((TEXT, Bytes::from(page(*kind))))
        }
    }
}

fn list() -> String {
    let lines = Kind::ALL.iter().map(|kind| format!("{} {}  {}\n", kind.status().as_u16(), kind.uri(), kind.title()));
    lines.collect()
}

fn page(kind: Kind) -> String {
    format!("{}\nStatus {}\n\n{}\n", kind.title(), kind.status(), kind.meaning())
}
