//! What the tests stand on: the gateway as a process, a client and an upstream that speak HTTP by the byte.

mod client;
mod gateway;
mod upstream;

use std::time::Duration;

pub(crate) use client::{Client, stream_from};
pub(crate) use gateway::{Gateway, Launch};
pub(crate) use upstream::Upstream;

/// The longest that a test waits for anything. Reaching it is a failure, whatever was waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
