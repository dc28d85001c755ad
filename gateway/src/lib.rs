//! The one public door of the mini shop.
//!
//! A request comes in ([`gateway`]), is judged by its head ([`admission`]: [`target`], [`host`], [`rate_limit`]), loses
//! what may not cross ([`headers`]), learns where it came from ([`origin`], [`forwarded`]), is exchanged with one service
//! ([`upstream`] on a connection of the [`pool`], whose answers [`framing`] checks) while its bodies stream through ([`body`]), or is
//! answered by the gateway itself ([`refusal`], [`documents`]).
//!
//! The gateway knows nobody: it passes `Authorization` on as it came, and the services verify tokens themselves.
//!
//! # What it answers itself
//!
//! | status | when |
//! |---|---|
//! | 400 | the target is not a plain path: absolute-form, `*`, dot segments, `//`, `;`, a character outside RFC 3986 `pchar`, a bad percent-encoding, or an encoded slash, backslash, percent sign, `;`, `?`, `#` or control character |
//! | 400 | no host (HTTP/1.1), two hosts, a malformed host, on every path; a message that can be read in more than one way; a fragment in the target |
//! | 404 | the first segment is not exactly that of a route, and the path is none of the gateway's own |
//! | 405 | `/healthz`, `/readyz`, `/version`, `/openapi.json`, `/problems` and what is below it, with another method than GET and HEAD |
//! | 408 | the client did not send its body within `REQUEST_TIMEOUT`, or nothing of it for `STALL_TIMEOUT`; part of a head came, but not all of it within `HEADER_READ_TIMEOUT` |
//! | 413, 414, 431 | the body, the target (4096 bytes), the head is too large |
//! | 417, 421 | an expectation other than `100-continue`; a host outside `ALLOWED_HOSTS` |
//! | 429 | the client's bucket is empty; `Retry-After` says for how long |
//! | 501 | CONNECT, TRACE, any `Upgrade`, a transfer coding other than `chunked` alone |
//! | 502 | the service cannot be reached or its name not resolved, it broke off before its response began, it did not speak HTTP, or its response has no framing, more than one, or an unknown one |
//! | 503 | `UPSTREAM_MAX_REQUESTS` are under way to the service; `MAX_CONNECTIONS` are at work, and the path is none of the gateway's own; while draining, from `/readyz` only |
//! | 504 | the service did not accept the connection within `UPSTREAM_CONNECT_TIMEOUT` or begin its response within `UPSTREAM_TIMEOUT` |
//!
//! A response that breaks off half-way, or takes longer than `REQUEST_TIMEOUT`, ends the client's connection: it is never
//! completed. Services count for `/readyz` no more than for `/healthz`: a gateway whose one service is down still serves
//! the others and has to stay in rotation.
//!
//! A client that has `MAX_CONNECTIONS_PER_CLIENT` connections gets no further one: it is closed at once, without an answer. So
//! is the idle connection that makes room for a new one when `MAX_IDLE_CONNECTIONS` are idle.
//!
//! A message with both `Content-Length` and `Transfer-Encoding: chunked` is read by the coding, the length is dropped,
//! and the connection ends after the answer (RFC 9112 section 6.3). Only GET and HEAD without a body are sent a second
//! time, once, when an open connection was lost before the response began. A client that closes its sending side gets its
//! answer. One that has left looks the same, so what it asked for is carried on to its end, within the usual limits. After
//! a chunked body with trailers the connection ends, and after one that the gateway did not pass on: hyper cannot tell for
//! sure where trailers end.

pub mod access_log;
pub mod admission;
pub mod body;
pub mod documents;
pub mod forwarded;
pub mod framing;
pub mod gateway;
pub mod headers;
pub mod host;
pub mod origin;
pub mod pool;
pub mod rate_limit;
pub mod refusal;
pub mod settings;
pub mod target;
pub mod threads;
pub mod upstream;

use mini_kit::Service;

use crate::settings::Settings;

/// The gateway as the kit runs it.
pub static SERVICE: Service<Settings> =
    Service { name: "mini-gateway", declare: Settings::declare, serve: threads::serve, commands: &[] };
