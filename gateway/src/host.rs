//! The gateway's policy on `Host`.
//!
//! A request names exactly one well-formed host (RFC 9112 section 3.2). When `ALLOWED_HOSTS` is set, it has to be one of
//! them. The services never see it: to them `Host` is their own address, and `X-Forwarded-Host` carries the client's only
//! when the gateway could check it against the list, or when a trusted proxy vouches for it.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Version, uri::Authority};
use mini_kit::contract::{Reason, Value};
use mini_kit::types::parse_host;

use crate::refusal::Refusal;

/// The hosts that the gateway answers for: lower case, without port. Empty means any.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Vec<String>);

impl Value for AllowedHosts {
    const TYPE: &'static str = "string";

    /// Reads host names separated by commas, such as `shop.example, www.shop.example`.
    fn parse(list: &str) -> Result<Self, Reason> {
        let names = list.split(',').map(str::trim).enumerate().map(|(index, name)| match parse_host(name) {
            Some(authority) if authority.as_str() == authority.host() => Ok(name.to_ascii_lowercase()),
            _ => Err(format!("has an entry {} that is not a host name without a port", index + 1).into()),
        });
        names.collect::<Result<_, _>>().map(Self)
    }
}

impl AllowedHosts {
    /// Checks the `Host` of a request. Returns it when it is known to be one of ours, so that it may be passed on.
    ///
    /// # Errors
    /// [`Refusal::Host`] when it is missing (HTTP/1.1), repeated or malformed, [`Refusal::UnknownHost`] when it is not
    /// in the list.
    pub fn check(&self, version: Version, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        let named = check_syntax(version, headers)?;
        if self.0.is_empty() {
            return Ok(None);
        }
        let (value, authority) = named.ok_or(Refusal::UnknownHost)?;
        let known = self.0.iter().any(|name| authority.host().eq_ignore_ascii_case(name));
        if known { Ok(Some(value.clone())) } else { Err(Refusal::UnknownHost) }
    }
}

/// The one host that a request names, read; none for an HTTP/1.0 request that names none.
///
/// # Errors
/// [`Refusal::Host`] when it is missing (HTTP/1.1), repeated or malformed.
pub fn check_syntax(version: Version, headers: &HeaderMap) -> Result<Option<(&HeaderValue, Authority)>, Refusal> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (None, _) if version == Version::HTTP_10 => Ok(None),
        (None, _) => Err(Refusal::Host("the request has no host")),
        (Some(_), Some(_)) => Err(Refusal::Host("the request has more than one host")),
        (Some(value), None) => {
            let authority = value.to_str().ok().and_then(parse_host);
            Ok(Some((value, authority.ok_or(Refusal::Host("the host is malformed"))?)))
        }
    }
}

/// Whether this is a host with an optional port and nothing else.
pub fn is_well_formed(host: &str) -> bool {
    parse_host(host).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, version: Version, hosts: &[&str]) -> Result<Option<HeaderValue>, Refusal> {
        let headers = hosts.iter().map(|host| (header::HOST, HeaderValue::from_str(host).unwrap())).collect();
        let allowed = if list.is_empty() { AllowedHosts::default() } else { AllowedHosts::parse(list).unwrap() };
        allowed.check(version, &headers)
    }

    #[test]
    fn a_request_names_one_well_formed_host() {
        for host in ["shop.test", "shop.test:8080", "127.0.0.1", "[::1]:80", "localhost"] {
            assert_eq!(check("", Version::HTTP_11, &[host]), Ok(None), "{host}");
        }
        for host in ["", "a b", "user@shop.test", "shop.test/x", "shop.test:x", "shop.test:", "a,b", "shop.test:99999"]
        {
            assert!(matches!(check("", Version::HTTP_11, &[host]), Err(Refusal::Host(_))), "{host}");
        }
        assert!(matches!(check("", Version::HTTP_11, &[]), Err(Refusal::Host(_))));
        assert!(matches!(check("", Version::HTTP_11, &["a.test", "a.test"]), Err(Refusal::Host(_))));
        assert_eq!(check("", Version::HTTP_10, &[]), Ok(None));
    }

    #[test]
    fn a_list_of_hosts_is_exclusive_and_vouches_for_its_own() {
        assert_eq!(
            check("shop.test", Version::HTTP_11, &["SHOP.test:80"]),
            Ok(Some(HeaderValue::from_static("SHOP.test:80")))
        );
        assert_eq!(check("shop.test", Version::HTTP_11, &["evil.test"]), Err(Refusal::UnknownHost));
        assert_eq!(check("shop.test", Version::HTTP_10, &[]), Err(Refusal::UnknownHost));
        assert!(AllowedHosts::parse("shop.test, shop.test:80").unwrap_err().contains("entry 2"));
    }
}
