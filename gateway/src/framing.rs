//! Whether the answer of an upstream can be read in one way only.
//!
//! hyper reads an answer by one of its framing fields and lets the others pass as if they said the same. Whoever reads what
//! is passed on may go by another one, so that an answer is cut short, or runs into the next.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version, response};

/// Checks the head of an answer to a request with this method.
///
/// # Errors
/// What is wrong, for the log.
pub fn check(head: &response::Parts, method: &Method) -> Result<(), &'static str> {
    let is_coded = check_coding(&head.headers, head.version)?;
    let length = length(&head.headers)?;
    match head.status {
        StatusCode::NO_CONTENT if is_coded || length.is_some_and(|length| length > 0) => {
            return Err("its answer has a body although its status allows none");
        }
        _ if is_coded && length.is_some() => return Err("its answer has both a length and a transfer coding"),
        _ => {}
    }
    let has_body = *method != Method::HEAD && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body && !is_coded && length.is_none() {
        // It would end with the connection, so that one that was cut off could not be told from a whole one.
        return Err("its answer has neither a length nor a transfer coding");
    }
    Ok(())
}

fn check_coding(headers: &HeaderMap, version: Version) -> Result<bool, &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") && version == Version::HTTP_11 => {
            Ok(true)
        }
        _ => Err("its answer has a transfer coding other than chunked alone"),
    }
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => digits(only).map(Some).ok_or("its answer has a length that is not a number"),
        _ => Err("its answer has more than one length"),
    }
}

fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn judged(status: u16, version: Version, method: &Method, fields: &[(&str, &str)]) -> Result<(), &'static str> {
        let mut response = Response::builder().status(status).version(version);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        check(&response.body(()).unwrap().into_parts().0, method)
    }

    const LENGTH: (&str, &str) = ("content-length", "2");
    const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

    #[test]
    fn an_answer_with_one_framing_passes() {
        let passes = |status, method: Method, fields: &[(&str, &str)]| {
            assert_eq!(judged(status, Version::HTTP_11, &method, fields), Ok(()), "{status} {method} {fields:?}");
        };
        passes(200, Method::GET, &[LENGTH]);
        passes(200, Method::GET, &[CHUNKED]);
        passes(200, Method::GET, &[("transfer-encoding", "Chunked")]);
        passes(200, Method::HEAD, &[]);
        passes(200, Method::HEAD, &[LENGTH]);
        passes(204, Method::GET, &[]);
        passes(204, Method::DELETE, &[("content-length", "0")]);
        passes(304, Method::GET, &[LENGTH]);
        passes(304, Method::GET, &[]);
    }

    #[test]
    fn an_answer_with_any_other_framing_does_not() {
        let fails = |status, version, fields: &[(&str, &str)]| {
            assert!(judged(status, version, &Method::GET, fields).is_err(), "{status} {version:?} {fields:?}");
        };
        fails(200, Version::HTTP_11, &[]);
        fails(200, Version::HTTP_11, &[LENGTH, CHUNKED]);
        fails(304, Version::HTTP_11, &[LENGTH, CHUNKED]);
        fails(200, Version::HTTP_11, &[LENGTH, LENGTH]);
        fails(200, Version::HTTP_11, &[LENGTH, ("content-length", "3")]);
        for length in ["+2", "-2", "2, 2", "0x2", "", "99999999999999999999"] {
            fails(200, Version::HTTP_11, &[("content-length", length)]);
        }
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", ""] {
            fails(200, Version::HTTP_11, &[("transfer-encoding", coding)]);
        }
        fails(200, Version::HTTP_11, &[CHUNKED, CHUNKED]);
        fails(200, Version::HTTP_10, &[CHUNKED]);
        fails(204, Version::HTTP_11, &[LENGTH]);
        fails(204, Version::HTTP_11, &[CHUNKED]);
    }
}
