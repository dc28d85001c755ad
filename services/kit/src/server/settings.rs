//! The settings that every service has.

use std::net::SocketAddr;
use std::time::Duration;

use super::Limits;
use crate::address;
use crate::contract::{Contract, Loader};
use crate::types::{Integer, LogLevel, Pause};

/// Where and how a service listens, and what it tolerates.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `BIND_ADDRESS` and `PORT`.
    pub address: SocketAddr,
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    /// `REQUEST_TIMEOUT`.
    pub request_timeout: Duration,
    /// `REQUEST_BODY_LIMIT`.
    pub request_body_limit_bytes: usize,
    /// `DRAIN_DELAY`.
    pub drain_delay: Duration,
    /// `METRICS_ADDRESS`.
    pub metrics_address: Option<SocketAddr>,
    /// `HEADER_READ_TIMEOUT`, `STALL_TIMEOUT`, `MAX_CONNECTIONS`, `MAX_IDLE_CONNECTIONS` and `SHUTDOWN_TIMEOUT`.
    pub limits: Limits,
}

impl Settings {
    /// Declares the variables that every service has.
    pub fn declare(contract: &mut Contract) -> Loader<Self> {
        let address = address::declare(contract);
        let log_level = contract.with_default(
            "LOG_LEVEL",
            "info",
            "How much the service writes about its own work; libraries never write more than warnings.",
        );
        let request_timeout = contract.with_default(
            "REQUEST_TIMEOUT",
            "10s",
            "The longest that a request may take before it is answered with 503.",
        );
        let request_body_limit = contract.with_default::<Integer<1, 1_073_741_824>>(
            "REQUEST_BODY_LIMIT",
            "65536",
            "The largest request body, in bytes.",
        );
        let header_read_timeout = contract.with_default(
            "HEADER_READ_TIMEOUT",
            "5s",
            "The longest that a client may take to send the headers of a request, and that a connection may stay idle.",
        );
        let stall_timeout = contract.with_default(
            "STALL_TIMEOUT",
            "5s",
            "The longest that a client may make no progress within a message: reading none of its answer, sending none of its body.",
        );
        let max_connections = contract.with_default::<Integer<1, 1_000_000>>(
            "MAX_CONNECTIONS",
            "1024",
            "The most connections at once; one more takes the place of an idle one or, when none is idle, is answered with 503.",
        );
        let max_idle_connections = contract.with_default::<Integer<1, 1_000_000>>(
            "MAX_IDLE_CONNECTIONS",
            "768",
            "The most connections without a complete request; one more closes the one that has been idle for longest.",
        );
        let drain_delay = contract.with_default::<Pause>(
            "DRAIN_DELAY",
            "500ms",
            "The time after a stop signal in which the service is not ready but still serves, so that load balancers notice.",
        );
        let shutdown_timeout = contract.with_default(
            "SHUTDOWN_TIMEOUT",
            "10s",
            "The time that requests in flight get to finish when the service stops.",
        );
        let metrics_address = contract.optional::<SocketAddr>(
            "METRICS_ADDRESS",
            "The IP address and port, such as 0.0.0.0:9464, on which Prometheus may read /metrics; off when unset.",
        );
        Box::new(move |values| Self {
            address: address(values),
            log_level: values.take(log_level),
            request_timeout: values.take(request_timeout),
            request_body_limit_bytes: values.take(request_body_limit).get() as usize,
            drain_delay: values.take(drain_delay).get(),
            metrics_address: values.take(metrics_address),
            limits: Limits {
                header_read_timeout: values.take(header_read_timeout),
                stall_timeout: values.take(stall_timeout),
                max_connections: values.take(max_connections).get(),
                max_idle_connections: values.take(max_idle_connections).get(),
                shutdown_timeout: values.take(shutdown_timeout),
            },
        })
    }
}
