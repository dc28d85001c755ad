//! Texts and the address to listen on.

use std::net::{IpAddr, SocketAddr};

use crate::contract::{Reason, Value};

impl Value for String {
    const TYPE: &'static str = "string";

    fn parse(text: &str) -> Result<Self, Reason> {
        Ok(text.to_owned())
    }
}

impl Value for SocketAddr {
    const TYPE: &'static str = "string";

    fn parse(text: &str) -> Result<Self, Reason> {
        text.parse().map_err(|_| "is not an IP address with a port, such as 0.0.0.0:9464 or [::]:9464".into())
    }
}

/// The IP address that a service listens on. `::` takes IPv4 as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress(IpAddr);

impl BindAddress {
    /// The address.
    #[must_use]
    pub fn get(self) -> IpAddr {
        self.0
    }
}

impl Value for BindAddress {
    const TYPE: &'static str = "string";

    /// Reads an address, an IPv6 one also in the brackets that URLs put around it.
    fn parse(text: &str) -> Result<Self, Reason> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().map(Self).map_err(|_| "is not an IP address, such as 0.0.0.0 or ::".into())
    }
}
