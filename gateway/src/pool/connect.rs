//! A connection to an upstream.

use std::io;
use std::time::Duration;

use mini_kit::types::HttpOrigin;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Its name could not be resolved.
    #[error("dns: the name could not be resolved: {0}")]
    Lookup(#[source] io::Error),
    /// Nobody listens there, or it cannot be reached.
    #[error("connect: {0}")]
    Refused(#[source] io::Error),
    /// It did not accept in time.
    #[error("connect: not accepted within UPSTREAM_CONNECT_TIMEOUT")]
    TimedOut,
    /// hyper could not begin.
    #[error("connect: {0}")]
    Handshake(#[source] hyper::Error),
}

/// Connects to the first of the name's addresses that accepts. Each gets its share of `limit`.
pub(super) async fn connect(origin: &HttpOrigin, limit: Duration) -> Result<TcpStream, ConnectError> {
    let (host, port) = origin.host_and_port();
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(ConnectError::Lookup)?.collect();
    let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = ConnectError::Lookup(io::ErrorKind::NotFound.into());
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Heads are small: waiting to fill a packet only adds delay. A socket that refuses is about to fail anyway.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = ConnectError::Refused(error),
            Err(_) => failure = ConnectError::TimedOut,
        }
    }
    Err(failure)
}
