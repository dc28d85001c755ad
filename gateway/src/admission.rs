//! What a request has to be before it may go on: everything that can be decided from its head.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Uri, request};

use crate::headers;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::target::{self, REQUEST_TARGET_LIMIT_BYTES, Upstream};

/// A request that may go on.
#[derive(Debug)]
pub struct Admission {
    /// Where to.
    pub upstream: Upstream,
    /// The host that it named, when that is one of ours.
    pub known_host: Option<HeaderValue>,
}

/// Decides about the head of a request. The order is from the framing of the message to its meaning.
///
/// # Errors
/// The first reason against it.
pub fn admit(head: &request::Parts, settings: &Settings, body_limit_bytes: u64) -> Result<Admission, Refusal> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    check_transfer_coding(&head.headers)?;
    check_upgrade(&head.headers)?;
    check_expectation(&head.headers)?;
    check_length(&head.headers, body_limit_bytes)?;
    check_form(&head.uri)?;
    let path_and_query = head.uri.path_and_query().ok_or(Refusal::Target("the request target has no path"))?;
    if path_and_query.as_str().len() > REQUEST_TARGET_LIMIT_BYTES {
        return Err(Refusal::TargetTooLong);
    }
    let known_host = settings.allowed_hosts.check(head.version, &head.headers)?;
    let upstream = target::route(path_and_query.path())?;
    Ok(Admission { upstream, known_host })
}

/// An absolute URI names a host a second time, which may be another one than `Host` does.
///
/// # Errors
/// [`Refusal::Target`] for anything but a path.
pub fn check_form(target: &Uri) -> Result<(), Refusal> {
    if target.scheme().is_some() || target.authority().is_some() {
        return Err(Refusal::Target("the request target has to be a path, not an absolute URI"));
    }
    Ok(())
}

/// hyper undoes `chunked` and nothing else. It has refused whatever does not end in `chunked`; what has something before
/// it would reach the upstream still encoded, with nothing to say so.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::TransferCoding),
    }
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), Refusal> {
    let wants_upgrade = headers.contains_key(header::UPGRADE) || headers::connection_names(headers, "upgrade");
    if wants_upgrade { Err(Refusal::Upgrade) } else { Ok(()) }
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let all_known =
        headers.get_all(header::EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if all_known { Ok(()) } else { Err(Refusal::Expectation) }
}

/// A body that is announced as too large is refused before any of it is read. One that is not announced is counted.
fn check_length(headers: &HeaderMap, limit_bytes: u64) -> Result<(), Refusal> {
    // hyper has made sure that there is one value at most and that it is a number.
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit_bytes) { Err(Refusal::BodyTooLarge) } else { Ok(()) }
}
