//! Where another service is: `http://HOST[:PORT]`.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use crate::contract::{Reason, Value};

/// An `http` URL of a host, perhaps with a port, and nothing more.
///
/// It is read here and not by the crate `url`, which brings Unicode's tables into every program to read a name that is
/// ASCII on every network of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOrigin {
    authority: Authority,
    host: HeaderValue,
}

impl Value for HttpOrigin {
    const TYPE: &'static str = "url";

    fn parse(text: &str) -> Result<Self, Reason> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("is not a URL: http://HOST[:PORT] is wanted".into());
        };
        if !scheme.eq_ignore_ascii_case("http") {
            return Err("is not an http URL: services speak plain HTTP on a private network, without TLS".into());
        }
        if rest.contains('@') {
            return Err("is a URL with user information, which does not belong here".into());
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '\\']) {
            return Err("has a path, a query or a fragment; scheme, host and port are all that is wanted".into());
        }
        let malformed = "is a URL without a host, or with one that HTTP cannot carry";
        let authority = parse_host(rest).ok_or(malformed)?;
        let host = HeaderValue::try_from(authority.as_str()).map_err(|_| malformed)?;
        Ok(Self { authority, host })
    }
}

impl HttpOrigin {
    /// Host and port, as `Host` names them.
    #[must_use]
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The name or address, an IPv6 one without its brackets, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        let host = self.authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (host, self.authority.port_u16().unwrap_or(80))
    }

    /// The URI of a path and query there.
    #[must_use]
    pub fn uri(&self, path_and_query: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path_and_query);
        Uri::from_parts(parts).unwrap_or_default()
    }
}

/// Reads a host with an optional port and nothing else, as `Host` may have it (RFC 9112 section 3.2).
#[must_use]
pub fn parse_host(host: &str) -> Option<Authority> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']');
    if !host.bytes().all(allowed) {
        return None;
    }
    let authority = host.parse::<Authority>().ok()?;
    // It has no user information, so its host comes first.
    let host = authority.host();
    let port = authority.as_str().get(host.len()..)?;
    let port_is_number = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (!host.is_empty() && port_is_number).then_some(authority)
}
