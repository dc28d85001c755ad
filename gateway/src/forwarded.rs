//! Readers for the two header fields in which proxies pass on whom they spoke to.
//!
//! Both give one [`Hop`] for each list element, left to right. An element that cannot be understood becomes a hop
//! without an address, never an error: it may be text that a client made up, and it must stop the walk over the trusted
//! proxies where it stands, not fail the request.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What one proxy said about the connection it received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Who connected to that proxy; none when obfuscated, `unknown` or unreadable.
    pub address: Option<IpAddr>,
    /// Whether that connection was `https`; none when the proxy did not say.
    pub https: Option<bool>,
    /// The host that was asked for, as written; none when the proxy did not say.
    pub host: Option<String>,
}

/// Reads one line of `X-Forwarded-For`: addresses with or without a port, separated by commas.
pub fn parse_x_forwarded_for(line: &str) -> Vec<Hop> {
    line.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
        .map(|element| Hop { address: parse_node(element), ..Hop::default() })
        .collect()
}

/// Reads one line of `Forwarded` (RFC 7239 section 4).
///
/// A line with an unclosed quote gives a single hop without an address: where its elements end cannot be known.
pub fn parse_forwarded(line: &str) -> Vec<Hop> {
    let Some(elements) = split_outside_quotes(line, ',') else { return vec![Hop::default()] };
    elements
        .into_iter()
        .map(str::trim)
        .filter(|element| !element.is_empty())
        .map(|element| parse_element(element).unwrap_or_default())
        .collect()
}

fn parse_element(element: &str) -> Option<Hop> {
    let (mut node, mut proto, mut host) = (None, None, None);
    for pair in split_outside_quotes(element, ';')? {
        let pair = pair.trim();
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        let value = unquote(value)?;
        let slot = match name.to_ascii_lowercase().as_str() {
            "for" => &mut node,
            "proto" => &mut proto,
            "host" => &mut host,
            _ => continue,
        };
        // RFC 7239 allows each parameter once; with two there is no telling which one the proxy wrote.
        if slot.replace(value).is_some() {
            return None;
        }
    }
    let https = proto.and_then(|proto| parse_scheme(&proto));
    Some(Hop { address: node.and_then(|node| parse_node(&node)), https, host })
}

/// Reads a scheme: `Some(true)` for `https`, `Some(false)` for `http`, in any case.
pub fn parse_scheme(scheme: &str) -> Option<bool> {
    let scheme = scheme.trim();
    if scheme.eq_ignore_ascii_case("https") {
        Some(true)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(false)
    } else {
        None
    }
}

/// Reads an address with an optional port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`. An IPv4 address in IPv6 clothes is the IPv4 address.
fn parse_node(node: &str) -> Option<IpAddr> {
    let bare = || node.parse::<IpAddr>().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// Splits at a separator that stands outside quoted strings; none when a quote stays open.
fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut parts = Vec::new();
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// The content of a token or a quoted string; none for anything in between.
fn unquote(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        let is_token = !value.is_empty() && !value.contains(|c: char| c == '"' || c.is_whitespace());
        return is_token.then(|| value.to_owned());
    };
    let inner = quoted.strip_suffix('"')?;
    let mut content = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => content.push(characters.next()?),
            '"' => return None,
            plain => content.push(plain),
        }
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses(hops: &[Hop]) -> Vec<Option<String>> {
        hops.iter().map(|hop| hop.address.map(|address| address.to_string())).collect()
    }

    #[test]
    fn x_forwarded_for_is_read_with_and_without_ports() {
        let hops = parse_x_forwarded_for(
            "192.0.2.1, 192.0.2.2:80,,2001:db8::1 ,[2001:db8::2]:443, [2001:db8::3], ::ffff:192.0.2.3, unknown, 1.2.3.4.5",
        );
        let expected = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.3"]
            .map(|s| Some(s.to_owned()));
        assert_eq!(addresses(&hops), [&expected[..], &[None, None]].concat());
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let hops = parse_forwarded(
            r#"For="[2001:db8:cafe::17]:4711", for=192.0.2.60;proto=HTTPS;by=203.0.113.43;host="shop.test:80", for=_hidden, for=unknown"#,
        );
        assert_eq!(addresses(&hops), [Some("2001:db8:cafe::17".to_owned()), Some("192.0.2.60".to_owned()), None, None]);
        assert_eq!(hops[1].https, Some(true));
        assert_eq!(hops[1].host.as_deref(), Some("shop.test:80"));
    }

    #[test]
    fn separators_inside_quotes_do_not_separate() {
        let hops = parse_forwarded(r#"host="a,b;for=1.2.3.4\"", for=192.0.2.1"#);
        assert_eq!(addresses(&hops), [None, Some("192.0.2.1".to_owned())]);
        assert_eq!(hops[0].host.as_deref(), Some("a,b;for=1.2.3.4\""));
    }

    #[test]
    fn what_cannot_be_understood_has_no_address() {
        for line in [
            r#"for="1.2.3.4, for=192.0.2.1"#,
            "for=1.2.3.4;for=192.0.2.1",
            "for",
            "for = 1.2.3.4",
            r#"for="1.2.3.4"x"#,
            "for=2001:db8::1:zz",
            "=",
        ] {
            assert!(parse_forwarded(line).iter().all(|hop| hop.address.is_none()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(line in "\\PC{0,80}") {
            parse_forwarded(&line);
            parse_x_forwarded_for(&line);
        }

        #[test]
        fn a_written_address_is_read_back(address: u128, short: u32, port: u16) {
            let long = IpAddr::V6(Ipv6Addr::from_bits(address)).to_canonical();
            let short = IpAddr::V4(short.into());
            for address in [long, short] {
                let socket = SocketAddr::new(address, port);
                let read = parse_x_forwarded_for(&format!("{address}, {socket}"));
                prop_assert_eq!(read.iter().map(|hop| hop.address).collect::<Vec<_>>(), [Some(address); 2]);
                let read = parse_forwarded(&format!("for=\"{socket}\";proto=http, proto=https;for=\"{socket}\""));
                prop_assert_eq!(read.iter().map(|hop| hop.address).collect::<Vec<_>>(), [Some(address); 2]);
            }
        }

        #[test]
        fn text_on_the_left_does_not_change_a_line_of_its_own(left in "[a-z0-9=\",;:. \\\\]{0,40}") {
            // Each header line is read alone, so what a client wrote in one cannot swallow what a proxy added in the next.
            let mut hops = parse_forwarded(&left);
            hops.extend(parse_forwarded("for=192.0.2.1"));
            prop_assert_eq!(hops.last().and_then(|hop| hop.address), Some(IpAddr::from([192, 0, 2, 1])));
        }
    }
}
