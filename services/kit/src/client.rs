//! Who a client is: for everything that is limited by client, and as text.

use std::fmt::Write as _;
use std::net::IpAddr;

/// A client as limits see it: an IPv4 address, or the first 64 bits of an IPv6 address, of which one subscriber has at
/// least 2⁶⁴ to choose from.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Client(u64, bool);

impl Client {
    /// The client behind an address. An IPv4 address in IPv6 clothes is the IPv4 address.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_bits().into(), false),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self([a, b, c, d].iter().fold(0, |bits, segment| bits << 16 | u64::from(*segment)), true)
            }
        }
    }
}

/// Writes an address as its `Display` does. A gateway does so several times for each request, and the formatting machinery
/// takes many times as long for four numbers.
pub fn push_address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            let mut digits = itoa::Buffer::new();
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push('.');
                }
                text.push_str(digits.format(octet));
            }
        }
        // Writing to a string cannot fail.
        IpAddr::V6(v6) => write!(text, "{v6}").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_its_display_writes_it(address in any::<IpAddr>()) {
            let mut text = String::from("client ");
            push_address(&mut text, address);
            prop_assert_eq!(text, format!("client {address}"));
        }
    }

    #[test]
    fn an_ipv6_client_is_its_first_64_bits_and_a_mapped_address_its_ipv4() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::2"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("::c000:201"));
    }
}
