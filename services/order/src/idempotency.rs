//! The `Idempotency-Key` request header: draft-ietf-httpapi-idempotency-key-header-07, section 2.1.
//!
//! The draft writes the key as a quoted string of RFC 9651; clients in the field send it bare as often as quoted. Both are
//! taken as they come, so the quotes are part of a key that has them: `"a"` and `a` are two keys.

use http::HeaderMap;

/// The name of the request header.
pub const HEADER: &str = "idempotency-key";

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// A client's own name for one order: 1 to [`MAX_KEY_BYTES`] visible ASCII characters. Two users' keys never meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the key of a request; `None` when it has none.
    ///
    /// An empty, malformed or repeated header is an error and not "no key": the client believes itself protected.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let mut values = headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(value.as_bytes()).map(Some),
            (Some(_), Some(_)) => Err("must be sent once".to_owned()),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        match std::str::from_utf8(bytes) {
            Ok(key) if (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self(key.to_owned()))
            }
            _ => Err(format!("must be 1 to {MAX_KEY_BYTES} visible ASCII characters, without blanks")),
        }
    }

    /// The key as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<IdempotencyKey>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        IdempotencyKey::from_headers(&headers)
    }

    #[test]
    fn no_header_is_no_key() {
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn a_header_that_protects_nothing_is_an_error() {
        let too_long = [b'k'; MAX_KEY_BYTES + 1];
        for refused in [&b""[..], b" ", b"two words", b"tab\there", "schlüssel".as_bytes(), b"\xff", &too_long] {
            assert!(read(&[refused]).is_err(), "{refused:?}");
        }
        assert!(read(&[b"a", b"a"]).is_err());
    }

    #[test]
    fn keys_of_both_lengths_at_the_bounds_are_taken() {
        let longest = [b'k'; MAX_KEY_BYTES];
        for taken in [&b"k"[..], b"\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", &longest] {
            assert_eq!(read(&[taken]).unwrap().unwrap().as_str().as_bytes(), taken);
        }
    }

    proptest! {
        #[test]
        fn a_key_is_kept_exactly_or_refused(bytes: Vec<u8>) {
            if let Ok(key) = IdempotencyKey::parse(&bytes) {
                prop_assert_eq!(key.as_str().as_bytes(), bytes.as_slice());
                prop_assert!(bytes.iter().all(|byte| (0x21..=0x7e).contains(byte)));
            }
        }
    }
}
