//! Where a request came from, as far as that can be believed.
//!
//! A header field about forwarding is worth what its writer is worth. The walk starts at the peer of the TCP connection,
//! the one address that cannot be forged, and goes from right to left over what trusted proxies added, as long as each
//! address is itself a trusted proxy. The first that is not is the client; whatever stands left of it is its invention
//! and goes no further.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use mini_kit::client::push_address;
use mini_kit::contract::{Reason, Value};

use crate::forwarded::{self, Hop};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The proxies in front of the gateway whose word counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// Which field the trusted proxies write. The other one is ignored: most proxies set one and let the other through as
/// the client sent it, so taking both would let clients choose their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainField {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Where a request came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client: the peer, or the first address right to left that is not a trusted proxy.
    pub client: IpAddr,
    /// The trusted proxies between client and gateway, the peer last; empty for a direct client.
    proxies: Vec<IpAddr>,
    https: bool,
    /// The host the client asked a trusted proxy for, where that proxy said so.
    host: Option<HeaderValue>,
}

impl Value for TrustedProxies {
    const TYPE: &'static str = "string";

    /// Reads addresses and CIDR blocks separated by commas, such as `10.0.0.0/8, 2001:db8::1`.
    fn parse(list: &str) -> Result<Self, Reason> {
        let networks = list.split(',').enumerate().map(|(index, entry)| {
            let (entry, number) = (entry.trim(), index + 1);
            let network = entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            let network =
                network.map_err(|_| format!("has an entry {number} that is neither an address nor a CIDR block"))?;
            // Zero bits trust everybody, so every client could choose its own address.
            if network.prefix_len() == 0 {
                return Err(format!("has an entry {number} that would trust every client").into());
            }
            Ok(network)
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

impl Value for ChainField {
    const TYPE: &'static str = "enum:x-forwarded-for|forwarded";

    fn parse(text: &str) -> Result<Self, Reason> {
        match text {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err("is neither x-forwarded-for nor forwarded".into()),
        }
    }
}

impl TrustedProxies {
    /// Whether the word of whoever connects from this address counts.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl Origin {
    /// Finds out where a request came from. `peer` is the other end of the TCP connection.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies, field: ChainField) -> Self {
        let peer = peer.to_canonical();
        let mut origin = Self { client: peer, proxies: Vec::new(), https: false, host: None };
        if !trusted.contains(peer) {
            return origin;
        }
        for hop in chain(headers, field).into_iter().rev() {
            let Some(address) = hop.address.filter(|_| trusted.contains(origin.client)) else { break };
            origin.proxies.insert(0, origin.client);
            origin.client = address;
            // The outermost trusted proxy saw the client's own connection, so its word on scheme and host is the last.
            origin.https = hop.https.unwrap_or(false);
            origin.host = hop.host.and_then(|host| checked_host(&host));
        }
        if field == ChainField::XForwardedFor {
            origin.https = single(headers, &X_FORWARDED_PROTO).and_then(forwarded::parse_scheme).unwrap_or(false);
            origin.host = single(headers, &X_FORWARDED_HOST).and_then(checked_host);
        }
        origin
    }

    /// Writes what services may read, in both notations. Call it after [`crate::headers::remove_claims`].
    ///
    /// `X-Forwarded-For` starts with the client, so that its first entry and `X-Real-IP` are always the same.
    /// `known_host` is a host that the gateway itself has checked against its list.
    pub fn write(&self, headers: &mut HeaderMap, known_host: Option<&HeaderValue>) {
        let scheme = if self.https { "https" } else { "http" };
        let host = self.host.as_ref().or(known_host);
        let mut list = String::with_capacity(64);
        let mut elements = String::with_capacity(128);
        push_address(&mut list, self.client);
        let real_ip = text_value(&list);
        push_element(&mut elements, self.client);
        elements.push_str(";proto=");
        elements.push_str(scheme);
        if let Some(host) = host.and_then(|host| host.to_str().ok()) {
            elements.push_str(";host=\"");
            elements.push_str(host);
            elements.push('"');
        }
        for proxy in &self.proxies {
            list.push_str(", ");
            push_address(&mut list, *proxy);
            elements.push_str(", ");
            push_element(&mut elements, *proxy);
        }
        let list = if self.proxies.is_empty() { real_ip.clone() } else { text_value(&list) };
        headers.insert(X_FORWARDED_FOR, list);
        headers.insert(X_REAL_IP, real_ip);
        headers.insert(header::FORWARDED, text_value(&elements));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        if let Some(host) = host {
            headers.insert(X_FORWARDED_HOST, host.clone());
        }
    }
}

/// One hop as `Forwarded` writes it (RFC 7239 section 6).
fn push_element(elements: &mut String, address: IpAddr) {
    let (before, after) = if address.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
    elements.push_str(before);
    push_address(elements, address);
    elements.push_str(after);
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses and checked hosts are visible ASCII")
}

fn chain(headers: &HeaderMap, field: ChainField) -> Vec<Hop> {
    let (name, parse): (_, fn(&str) -> Vec<Hop>) = match field {
        ChainField::XForwardedFor => (X_FORWARDED_FOR, forwarded::parse_x_forwarded_for),
        ChainField::Forwarded => (header::FORWARDED, forwarded::parse_forwarded),
    };
    // A line that is not text gives a hop without an address, which ends the walk like any other unreadable one.
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| line.to_str().map_or_else(|_| vec![Hop::default()], parse)).collect()
}

/// The value of a field that came exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next()?;
    if values.next().is_some() { None } else { only.to_str().ok() }
}

fn checked_host(host: &str) -> Option<HeaderValue> {
    crate::host::is_well_formed(host).then(|| HeaderValue::from_str(host).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: [u8; 4] = [10, 0, 0, 9];

    fn of(peer: [u8; 4], field: ChainField, lines: &[(HeaderName, &str)]) -> Origin {
        let headers: HeaderMap =
            lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        Origin::of(peer.into(), &headers, &TrustedProxies::parse("10.0.0.0/8, fd00::/8").unwrap(), field)
    }

    fn written(origin: &Origin) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        origin.write(&mut headers, None);
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        let lines = [(X_FORWARDED_FOR, "1.2.3.4, 127.0.0.1"), (X_FORWARDED_PROTO, "https"), (X_FORWARDED_HOST, "evil")];
        let origin = of([203, 0, 113, 7], ChainField::XForwardedFor, &lines);
        let expected = [
            ("forwarded", "for=203.0.113.7;proto=http"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "203.0.113.7"),
        ];
        assert_eq!(written(&origin), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_walk_goes_right_to_left_and_stops_at_the_first_stranger() {
        let lines = [
            (X_FORWARDED_FOR, "6.6.6.6, 203.0.113.7"),
            (X_FORWARDED_FOR, "10.0.0.1"),
            (X_FORWARDED_PROTO, "https"),
            (X_FORWARDED_HOST, "shop.test"),
        ];
        let expected = [
            ("forwarded", "for=203.0.113.7;proto=https;host=\"shop.test\", for=10.0.0.1, for=10.0.0.9"),
            ("x-forwarded-for", "203.0.113.7, 10.0.0.1, 10.0.0.9"),
            ("x-forwarded-host", "shop.test"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "203.0.113.7"),
        ];
        let origin = of(PEER, ChainField::XForwardedFor, &lines);
        assert_eq!(written(&origin), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn only_the_configured_field_counts() {
        let lines =
            [(X_FORWARDED_FOR, "6.6.6.6"), (header::FORWARDED, "for=\"[2001:db8::1]\";proto=https;host=a.test")];
        let origin = of(PEER, ChainField::Forwarded, &lines);
        assert_eq!(origin.client.to_string(), "2001:db8::1");
        assert_eq!(written(&origin)[0].1, "for=\"[2001:db8::1]\";proto=https;host=\"a.test\", for=10.0.0.9");
        assert_eq!(of(PEER, ChainField::XForwardedFor, &lines).client.to_string(), "6.6.6.6");
    }

    #[test]
    fn an_unreadable_entry_ends_the_walk_at_the_last_proxy_known() {
        let origin = of(PEER, ChainField::XForwardedFor, &[(X_FORWARDED_FOR, "1.2.3.4, unknown, 10.0.0.1")]);
        assert_eq!(origin.client.to_string(), "10.0.0.1");
        assert_eq!(of(PEER, ChainField::XForwardedFor, &[]).client, IpAddr::from(PEER));
    }

    #[test]
    fn repeated_or_strange_words_on_scheme_and_host_do_not_count() {
        let proto = |lines: &[(HeaderName, &str)]| of(PEER, ChainField::XForwardedFor, lines).https;
        assert!(proto(&[(X_FORWARDED_PROTO, "HTTPS")]));
        assert!(!proto(&[(X_FORWARDED_PROTO, "https"), (X_FORWARDED_PROTO, "http")]));
        assert!(!proto(&[(X_FORWARDED_PROTO, "https, http")]));
        assert_eq!(of(PEER, ChainField::XForwardedFor, &[(X_FORWARDED_HOST, "a\"b")]).host, None);
    }

    #[test]
    fn a_list_of_proxies_is_read_or_its_fault_is_named() {
        assert!(TrustedProxies::parse("10.0.0.1").is_ok_and(|one| one.contains([10, 0, 0, 1].into())));
        assert!(TrustedProxies::parse("10.0.0.1, 10.0.0.0/33").unwrap_err().contains("entry 2"));
        assert!(TrustedProxies::parse("10.0.0.1,").is_err());
        assert!(TrustedProxies::parse("0.0.0.0/0").unwrap_err().contains("every client"));
    }

    proptest! {
        #[test]
        fn a_client_behind_a_trusted_proxy_cannot_choose_its_address(left in "[0-9a-f.:, \\[\\]x]{0,60}") {
            let line = format!("{left}, 203.0.113.7");
            let origin = of(PEER, ChainField::XForwardedFor, &[(X_FORWARDED_FOR, &line)]);
            prop_assert_eq!(origin.client, IpAddr::from([203, 0, 113, 7]));
            prop_assert_eq!(origin.proxies, [IpAddr::from(PEER)]);
        }

        #[test]
        fn the_first_address_sent_on_is_the_client(line in "((10\\.0\\.0\\.[1-9]|192\\.0\\.2\\.[1-9]|x),){0,6}10[.]0[.]0[.]1") {
            let origin = of(PEER, ChainField::XForwardedFor, &[(X_FORWARDED_FOR, &line)]);
            let mut headers = HeaderMap::new();
            origin.write(&mut headers, None);
            let list = headers[X_FORWARDED_FOR].to_str().unwrap();
            prop_assert_eq!(list.split(", ").next(), headers[X_REAL_IP].to_str().ok());
            // What was written is read back as the same origin by the next hop that trusts this one.
            let again = Origin::of(PEER.into(), &headers, &TrustedProxies::parse("10.0.0.0/8").unwrap(), ChainField::Forwarded);
            prop_assert_eq!(again.client, origin.client);
        }
    }
}
