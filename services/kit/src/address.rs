//! Where a service listens, and where its healthcheck asks.

use std::net::SocketAddr;

use crate::contract::{Contract, Loader};
use crate::types::{BindAddress, Port};

/// Declares the variables of the address alone, which are all that a healthcheck needs.
pub(crate) fn declare(contract: &mut Contract) -> Loader<SocketAddr> {
    let address = contract.with_default::<BindAddress>(
        "BIND_ADDRESS",
        "0.0.0.0",
        "The IP address to listen on; `::` takes IPv6 and IPv4 connections.",
    );
    let port = contract.with_default::<Port>("PORT", "8080", "The TCP port to listen on.");
    Box::new(move |values| SocketAddr::new(values.take(address).get(), values.take(port).get()))
}
