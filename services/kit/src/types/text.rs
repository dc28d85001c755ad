//! Texts, URLs and the address to listen on.

use std::net::IpAddr;

use url::Url;

use crate::contract::{Reason, Value};

impl Value for String {
    const TYPE: &'static str = "string";

    fn parse(text: &str) -> Result<Self, Reason> {
        Ok(text.to_owned())
    }
}

impl Value for Url {
    const TYPE: &'static str = "url";

    /// Reads an absolute URL with a host. User information is refused: a URL with a password in it is a secret, and
    /// this type is printed.
    fn parse(text: &str) -> Result<Self, Reason> {
        let url = Self::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        if !url.has_host() {
            return Err("is a URL without a host".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("is a URL with user information, which does not belong here".into());
        }
        Ok(url)
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
