//! The id that follows a request through the gateway, the services and their logs.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Builder;
use uuid::fmt::Hyphenated;

use crate::trace_context::random;

/// The header that carries the id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LIMIT_BYTES: usize = 64;

/// The id of a request: 1 to 64 letters, digits, hyphens and underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that came with the request when it is well-formed and alone, else a new one.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(REQUEST_ID).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if is_well_formed(value.as_bytes()) => Self(value.clone()),
            _ => Self::random(),
        }
    }

    /// A new id: a random UUID (version 4).
    #[must_use]
    pub fn random() -> Self {
        let bits = u128::from(random()) << 64 | u128::from(random());
        let mut text = [0; Hyphenated::LENGTH];
        let text = Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("a UUID consists of letters, digits and hyphens"))
    }

    /// The id as the value of [`REQUEST_ID`].
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

fn is_well_formed(bytes: &[u8]) -> bool {
    (1..=LIMIT_BYTES).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
