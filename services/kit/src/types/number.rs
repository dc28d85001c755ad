//! Numbers, with their limits in the type.

use crate::contract::{Reason, Value};

/// A whole number between `MIN` and `MAX`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Integer<MIN, MAX> {
    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> Value for Integer<MIN, MAX> {
    const TYPE: &'static str = "integer";

    fn parse(text: &str) -> Result<Self, Reason> {
        whole_number(text)
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| format!("is not a whole number from {MIN} to {MAX}").into())
    }
}

/// A TCP port. Zero lets the system choose one, which the log then names: for tests that run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(u16);

impl Port {
    /// The number of the port.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Value for Port {
    const TYPE: &'static str = "port";

    fn parse(text: &str) -> Result<Self, Reason> {
        if text.starts_with("tcp://") || text.starts_with("udp://") {
            return Err("is the address of a Kubernetes Service, not a port number: the cluster sets such service \
                        links; turn them off with `enableServiceLinks: false` or rename the Service"
                .into());
        }
        whole_number(text)
            .and_then(|number| u16::try_from(number).ok())
            .map(Self)
            .ok_or_else(|| "is not a port number, at most 65535".into())
    }
}

impl Value for bool {
    const TYPE: &'static str = "boolean";

    fn parse(text: &str) -> Result<Self, Reason> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither true nor false".into()),
        }
    }
}

/// Digits only: the standard parser would also take a plus sign.
fn whole_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
