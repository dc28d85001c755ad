//! The gateway's program as a whole, between raw sockets on both sides.

#![expect(clippy::unwrap_used, reason = "clippy takes only the functions with #[test] for tests")]

mod abuse;
mod answers;
mod documents;
mod failures;
mod forwarding;
mod framing;
mod harness;
mod headers;
mod limits;
mod observation;
mod own_paths;
mod pool;
mod repeats;
mod routing;
mod shutdown;
mod start_up;
mod streaming;
mod upgrades;
mod writes;
