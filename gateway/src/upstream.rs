//! One exchange with an upstream: send, wait, repeat where that is harmless, and tell the failures apart.

use std::error::Error as _;
use std::io;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use crate::body::{BodyError, RequestBody, Upload, UploadState};
use crate::framing;
use crate::refusal::Refusal;
use crate::settings::ExchangeLimits;

/// The most bytes of a response's status line and headers together.
const RESPONSE_HEADER_LIMIT_BYTES: usize = 64 * 1024;

/// A client with its pool of connections. Each thread has its own, so no lock is ever contended.
pub type Pool = Client<HttpConnector, RequestBody>;

/// Makes a client.
pub fn pool(limits: &ExchangeLimits) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(limits.connect_timeout));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(limits.idle_timeout)
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(limits.max_requests)
        .http1_max_buf_size(RESPONSE_HEADER_LIMIT_BYTES)
        // hyper repeats a request, of whatever method, only when not a byte of it had been written to a kept connection
        // that turned out to be closed. The upstream has not seen such a request.
        .retry_canceled_requests(true)
        .set_host(false)
        .build(connector)
}

/// Why an exchange failed: what the client is told, and what only the log is told.
#[derive(Debug)]
pub struct Failure {
    /// For the client.
    pub refusal: Refusal,
    /// For the log.
    pub cause: String,
}

/// Sends a request and waits for the head of the response until `deadline`.
///
/// # Errors
/// 502 when the upstream cannot be reached or breaks off, 504 when it is too slow, and 400, 408 or 413 when the client's
/// body is at fault.
pub async fn exchange(
    pool: &Pool,
    request: Request<RequestBody>,
    deadline: Instant,
) -> Result<Response<Incoming>, Failure> {
    let upload = request.body().upload();
    let method = request.method().clone();
    let spare = spare(&request);
    let mut outcome = timeout_at(deadline, pool.request(request)).await;
    if let (Ok(Err(error)), Some(spare)) = (&outcome, spare)
        && connection_was_lost(error)
    {
        tracing::debug!(cause = chain(error), "sending a request again: its connection was lost without a response");
        outcome = timeout_at(deadline, pool.request(spare)).await;
    }
    match outcome {
        Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Failure { refusal: Refusal::BadGateway, cause: "it switched protocols without being asked".to_owned() })
        }
        Ok(Ok(response)) => {
            let (head, body) = response.into_parts();
            match framing::check(&head, &method) {
                Ok(()) => Ok(Response::from_parts(head, body)),
                // Its connection ends with the body, which nobody reads.
                Err(cause) => Err(Failure { refusal: Refusal::BadGateway, cause: cause.to_owned() }),
            }
        }
        Ok(Err(error)) => Err(Failure { refusal: blame(&upload, &error), cause: chain(&error) }),
        Err(_) => {
            let client_is_slow = upload.state() == UploadState::Waiting;
            let refusal = if client_is_slow { Refusal::SlowRequest } else { Refusal::GatewayTimeout };
            Err(Failure { refusal, cause: "there was no response in time".to_owned() })
        }
    }
}

/// A second copy of a request that may be sent twice: reading, and without a body.
fn spare(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let may_repeat = matches!(*request.method(), Method::GET | Method::HEAD);
    (may_repeat && matches!(request.body(), RequestBody::Empty)).then(|| {
        let mut spare = Request::new(RequestBody::Empty);
        spare.method_mut().clone_from(request.method());
        spare.uri_mut().clone_from(request.uri());
        spare.headers_mut().clone_from(request.headers());
        spare
    })
}

/// Whether an open connection ended before the head of a response was there. That is the ordinary end of a kept
/// connection which the upstream closes at the moment when a request is sent on it.
fn connection_was_lost(error: &Error) -> bool {
    !error.is_connect()
        && error.source().and_then(|source| source.downcast_ref::<hyper::Error>()).is_some_and(|error| {
            error.is_incomplete_message() || error.is_canceled() || error.is_closed() || io_kind(error).is_some()
        })
}

fn blame(upload: &Upload, error: &Error) -> Refusal {
    match upload.state() {
        UploadState::TooLarge => Refusal::BodyTooLarge,
        UploadState::Broken => Refusal::BrokenBody,
        // Only the deadline of the body itself fails a request that waits for its client.
        UploadState::Waiting if source_is_body(error) => Refusal::SlowRequest,
        _ if io_kind(error) == Some(io::ErrorKind::TimedOut) => Refusal::GatewayTimeout,
        _ => Refusal::BadGateway,
    }
}

fn source_is_body(error: &Error) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<BodyError>)
}

fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn chain(error: &Error) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
