//! Which header fields may cross the gateway.
//!
//! Two kinds may not: fields that belong to one connection (RFC 9110 section 7.6.1), in either direction, and fields by
//! which a client could pretend to be a proxy or a user, on the way in.

use http::header::{self, HeaderMap, HeaderName};

/// Fields that `Connection` must not be able to remove. RFC 9110 forbids senders to name them there, and a client that
/// does so anyway wants the upstream to see a different request from the one that was checked.
static END_TO_END: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::COOKIE,
    header::DATE,
    header::HOST,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::LOCATION,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::VARY,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("x-request-id"),
];

/// Fields by which a proxy tells a service who is calling. They are the gateway's alone to write.
const PROXY_CLAIMS: [&str; 7] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "x-original-url",
    "x-rewrite-url",
];

/// Families of such fields. `x-user` covers `X-User`, `X-User-Id`, `X-User-Role` and what may come.
const PROXY_CLAIM_PREFIXES: [&str; 3] = ["x-forwarded", "x-user", "x-auth-"];

/// Removes the fields that belong to the connection the message came on. Other fields keep their values, the number of
/// their lines and the order of those.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    remove(headers, is_hop_by_hop);
}

/// Removes every field that only the gateway may set. A field name with an underscore goes too, whatever it is: to many
/// servers `X_User_Id` and `X-User-Id` are one name, and no field of the shop has one.
pub fn remove_claims(headers: &mut HeaderMap) {
    remove(headers, is_claim);
}

/// A message has few of the fields that have to go: looking at what is there takes less time than looking for each.
fn remove(headers: &mut HeaderMap, has_to_go: impl Fn(&str) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| has_to_go(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Whether any of the lines of `Connection` has this option, in any case.
pub fn connection_names(headers: &HeaderMap, option: &str) -> bool {
    connection_options(headers).any(|named| named.eq_ignore_ascii_case(option))
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    connection_options(headers)
        .filter(|option| !option.eq_ignore_ascii_case("keep-alive") && !option.eq_ignore_ascii_case("close"))
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .filter(|name| !is_end_to_end(name))
        .collect()
}

fn is_end_to_end(name: &HeaderName) -> bool {
    END_TO_END.contains(name) || name.as_str().starts_with("content-")
}

/// Fields that belong to one connection even when `Connection` does not name them. `Expect` is here because the gateway
/// itself answers `100-continue`; `Proxy-Authorization` because its credentials are for a proxy, never for a service.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
    )
}

fn is_claim(name: &str) -> bool {
    PROXY_CLAIMS.contains(&name)
        || PROXY_CLAIM_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.contains('_')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    #[test]
    fn connection_fields_and_what_connection_names_do_not_cross() {
        let mut headers = map(&[
            ("Connection", "close, X-Secret"),
            ("connection", " x-other ,, "),
            ("X-Secret", "1"),
            ("X-Other", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "y"),
            ("Proxy-Authorization", "x"),
            ("TE", "trailers"),
            ("Trailer", "X-T"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("Accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("Accept", "*/*")]));
    }

    #[test]
    fn connection_cannot_name_end_to_end_fields_away() {
        let kept = [
            ("Authorization", "Bearer a"),
            ("Content-Length", "3"),
            ("Content-Type", "text/plain"),
            ("Cookie", "a=b"),
            ("Host", "shop.test"),
            ("Idempotency-Key", "k"),
        ];
        let mut headers = map(&kept);
        headers.insert(
            header::CONNECTION,
            HeaderValue::from_static("AUTHORIZATION, content-length, content-type, cookie, host, idempotency-key"),
        );
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&kept));
    }

    #[test]
    fn repeated_fields_keep_their_number_and_order() {
        let kept = [("Set-Cookie", "a=1"), ("Vary", "accept"), ("Set-Cookie", "b=2"), ("Vary", "origin")];
        let mut headers = map(&kept);
        headers.insert(header::CONNECTION, HeaderValue::from_static("set-cookie, keep-alive"));
        remove_hop_by_hop(&mut headers);
        remove_claims(&mut headers);
        let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        let vary: Vec<_> = headers.get_all(header::VARY).iter().collect();
        assert_eq!(vary, ["accept", "origin"]);
    }

    #[test]
    fn a_client_cannot_claim_to_be_a_proxy_or_a_user() {
        let mut headers = map(&[
            ("X-User-Id", "1"),
            ("x-user-ID", "2"),
            ("X_User_Id", "3"),
            ("X-User_Role", "admin"),
            ("X-User", "admin"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("x-forwarded-HOST", "evil.test"),
            ("X_Forwarded_Proto", "https"),
            ("X-Real-IP", "1.2.3.4"),
            ("Content_Length", "5"),
            ("Authorization", "Bearer a"),
            ("X-Usage", "kept"),
        ]);
        remove_claims(&mut headers);
        assert_eq!(headers, map(&[("Authorization", "Bearer a"), ("X-Usage", "kept")]));
    }

    #[test]
    fn an_option_is_found_in_any_line_and_case() {
        let headers = map(&[("Connection", "keep-alive"), ("Connection", "foo,UPGRADE")]);
        assert!(connection_names(&headers, "upgrade"));
        assert!(!connection_names(&headers, "upgrades"));
    }
}
