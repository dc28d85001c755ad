//! The one decision about a request target: which upstream may see it, if any.
//!
//! The path that is checked is the path that is sent, byte for byte. Nothing is decoded, joined or normalised, so there
//! is no second reading of the path that could disagree with this one. What another reader might normalise (dot
//! segments, encoded slashes, double encoding, path parameters) is refused instead.

use crate::refusal::Refusal;

/// Longest request target in bytes: far above what the shop needs, far below what a header section may hold.
pub const REQUEST_TARGET_LIMIT_BYTES: usize = 4096;

/// The services behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Accounts and tokens, `/users`.
    User,
    /// The catalogue, `/products`.
    Product,
    /// Orders, `/orders`.
    Order,
}

/// The first segment of a path names the upstream. Case matters, as it does to the services.
const ROUTES: &[(&str, Upstream)] =
    &[("users", Upstream::User), ("products", Upstream::Product), ("orders", Upstream::Order)];

impl Upstream {
    /// How many there are: each has one route.
    pub const COUNT: usize = ROUTES.len();

    /// The name that logs use; clients are never told it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Product => "product",
            Self::Order => "order",
        }
    }
}

/// Decides where a path goes.
///
/// The path has to be RFC 3986 `path-absolute` in its plainest form: segments of `pchar` without `;`, none empty but
/// the last, no dot segment, and no percent-encoding of a character that a reader could take for structure.
///
/// # Errors
/// [`Refusal::Target`] for a path that has more than one reading, [`Refusal::NotFound`] for one that names no upstream.
pub fn route(path: &str) -> Result<Upstream, Refusal> {
    let segments = path.strip_prefix('/').ok_or(Refusal::Target("the request target has to start with a slash"))?;
    let mut rest = segments.split('/').peekable();
    while let Some(segment) = rest.next() {
        check_segment(segment, rest.peek().is_none())?;
    }
    let first = segments.split('/').next().unwrap_or_default();
    ROUTES.iter().find(|(name, _)| *name == first).map(|(_, upstream)| *upstream).ok_or(Refusal::NotFound)
}

fn check_segment(segment: &str, is_last: bool) -> Result<(), Refusal> {
    if segment.is_empty() && !is_last {
        return Err(Refusal::Target("the path has an empty segment"));
    }
    // A segment of nothing but dots, however they are written. Only `.` and `..` mean something to RFC 3986, but
    // servers have been found that read more dots the same way, and no name in the shop consists of dots.
    let mut only_dots = !segment.is_empty();
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let character = if byte == b'%' { decode(bytes.next(), bytes.next())? } else { plain(byte)? };
        only_dots &= character == b'.';
    }
    if only_dots { Err(Refusal::Target("the path has a dot segment")) } else { Ok(()) }
}

/// What RFC 3986 allows in a segment as it stands, less `;`, which some servers cut off as a parameter.
fn plain(byte: u8) -> Result<u8, Refusal> {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => Ok(byte),
        b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':'
        | b'@' => Ok(byte),
        _ => Err(Refusal::Target("the path has a character that is not allowed there")),
    }
}

fn decode(high: Option<u8>, low: Option<u8>) -> Result<u8, Refusal> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (Some(high), Some(low)) = (digit(high), digit(low)) else {
        return Err(Refusal::Target("the path has an incomplete percent-encoding"));
    };
    match u8::try_from(high * 16 + low).unwrap_or_default() {
        b'/' | b'\\' | b'%' | b';' | b'?' | b'#' | 0..=0x1f | 0x7f => {
            Err(Refusal::Target("the path encodes a character that could change its meaning"))
        }
        decoded => Ok(decoded),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        for (path, expected) in [
            ("/users", Some(Upstream::User)),
            ("/users/", Some(Upstream::User)),
            ("/users/login", Some(Upstream::User)),
            ("/products/0190-a", Some(Upstream::Product)),
            ("/orders", Some(Upstream::Order)),
            ("/orders/a%20b/c:d@e", Some(Upstream::Order)),
            ("/", None),
            ("/ordersX", None),
            ("/ORDERS", None),
            ("/%6frders", None),
            ("/api/orders", None),
            ("/healthz/../orders", None),
        ] {
            assert_eq!(route(path).ok(), expected, "{path}");
        }
        assert_eq!(route("/ordersX"), Err(Refusal::NotFound));
    }

    #[test]
    fn a_path_with_two_readings_is_refused() {
        for path in [
            "",
            "*",
            "orders",
            "/orders/../users/1",
            "/orders/..",
            "/orders/.",
            "/./orders",
            "/orders/...",
            "/orders/%2e%2e/users/1",
            "/orders/%2E./users",
            "/orders/.%2e",
            "/orders/%2e",
            "/orders/%252e%252e%252fusers",
            "/orders/..%5cusers",
            "/orders/a%2Fb",
            "/orders/a\\b",
            "//orders",
            "/orders//1",
            "//evil.test/x",
            "/orders;x=1",
            "/orders/%3bx",
            "/orders/%00",
            "/orders/%0d%0a",
            "/orders/%7f",
            "/orders/%zz",
            "/orders/%2",
            "/orders/%",
            "/orders/ü",
            "/orders/<a>",
            "/orders/a b",
        ] {
            assert!(matches!(route(path), Err(Refusal::Target(_))), "{path}");
        }
    }

    /// What a careless reader makes of a path: decode until nothing changes, then resolve the dots.
    fn most_generous_reading(path: &str) -> Vec<String> {
        let mut text = path.to_owned();
        for _ in 0..4 {
            let mut decoded = Vec::new();
            let bytes = text.as_bytes();
            let mut at = 0;
            while at < bytes.len() {
                let hex = text.get(at + 1..at + 3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                match (bytes[at], hex) {
                    (b'%', Some(byte)) => {
                        decoded.push(byte);
                        at += 3;
                    }
                    (byte, _) => {
                        decoded.push(byte);
                        at += 1;
                    }
                }
            }
            text = String::from_utf8_lossy(&decoded).replace('\\', "/");
        }
        let mut segments: Vec<String> = Vec::new();
        for segment in text.split('/') {
            match segment.split(';').next().unwrap_or_default() {
                "" | "." => {}
                ".." => drop(segments.pop()),
                plain => segments.push(plain.to_owned()),
            }
        }
        segments
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_under_its_route_however_it_is_read(
            path in "/(users|orders|products|healthz)(/|%2f|%5C|%25|%2e|%252e|\\.|;|a|%|\\\\|0|%41){0,12}"
        ) {
            if let Ok(upstream) = route(&path) {
                let first = most_generous_reading(&path).into_iter().next().unwrap_or_default();
                let owner = ROUTES.iter().find(|(name, _)| *name == first).map(|(_, upstream)| *upstream);
                prop_assert_eq!(owner, Some(upstream), "{}", path);
            }
        }

        #[test]
        fn any_text_gets_an_answer(path in "\\PC{0,64}") {
            let _ = route(&path);
        }
    }
}
