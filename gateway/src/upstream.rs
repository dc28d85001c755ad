//! One exchange with an upstream: send, wait, repeat where that is harmless, and tell the failures apart.

use std::error::Error;
use std::future::ready;
use std::io;
use std::pin::Pin;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use mini_kit::types::HttpOrigin;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::body::{BodyError, RequestBody, Upload, UploadState};
use crate::framing;
use crate::pool::{self, ConnectError, Lease};
use crate::refusal::Refusal;
use crate::target::Upstream;

/// Why an exchange failed: what the client is told, and what only the log is told.
#[derive(Debug)]
pub struct Failure {
    /// For the client.
    pub refusal: Refusal,
    /// For the log.
    pub cause: String,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Exchange(#[source] hyper::Error),
}

/// The connections to the upstreams.
pub type Pool = pool::Pool<RequestBody>;

/// An upstream, and where it is.
type Destination<'a> = (Upstream, &'a HttpOrigin);

/// An upstream's answer, and the connection that its body comes on.
type Answer = (Response<Incoming>, Lease<RequestBody>);

/// Sends a request and waits for the head of the response until `deadline`.
///
/// This and what it calls are functions that put futures together, and what happens rarely is in a box: the future of a request
/// is moved several times on its way to the connection, and an async function keeps what it is given and what it makes of it.
///
/// # Errors
/// 502 when the upstream cannot be reached or breaks off, 504 when it is too slow, and 400, 408 or 413 when the client's
/// body is at fault.
pub(crate) fn exchange<'a>(
    pool: &'a Pool,
    to: Destination<'a>,
    request: Request<RequestBody>,
    deadline: Instant,
) -> impl Future<Output = Result<Answer, Failure>> + use<'a> {
    let upload = request.body().upload();
    let method = request.method().clone();
    let spare = spare(&request).map(Box::new);
    let sent = send(pool, to, request).then(move |outcome| match (outcome, spare) {
        (Err(Fault::Exchange(error)), Some(spare)) if connection_was_lost(&error) => {
            let cause = chain(&error);
            tracing::debug!(cause, "sending a request again: its connection was lost without a response");
            Either::Left(Box::pin(send(pool, to, *spare)))
        }
        (outcome, _) => Either::Right(ready(outcome)),
    });
    timeout_at(deadline, sent).map(move |outcome| judge(outcome, &upload, &method))
}

fn judge(outcome: Result<Result<Answer, Fault>, Elapsed>, upload: &Upload, method: &Method) -> Result<Answer, Failure> {
    let failure = |refusal, cause: &str| Err(Failure { refusal, cause: cause.to_owned() });
    match outcome {
        Ok(Ok((response, _))) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            failure(Refusal::BadGateway, "it switched protocols without being asked")
        }
        Ok(Ok((response, lease))) => {
            let (head, body) = response.into_parts();
            match framing::check(&head, method) {
                Ok(()) => Ok((Response::from_parts(head, body), lease)),
                // Its connection ends with the body, which nobody reads.
                Err(cause) => failure(Refusal::BadGateway, cause),
            }
        }
        Ok(Err(fault)) => Err(Failure { refusal: blame(upload, &fault), cause: chain(&fault) }),
        Err(_) => {
            let client_is_slow = upload.state() == UploadState::Waiting;
            let refusal = if client_is_slow { Refusal::SlowRequest } else { Refusal::GatewayTimeout };
            failure(refusal, "there was no response in time")
        }
    }
}

/// Sends a request on a kept connection or, where there is none, on a new one.
fn send<'a>(
    pool: &'a Pool,
    to: Destination<'a>,
    request: Request<RequestBody>,
) -> impl Future<Output = Result<Answer, Fault>> + use<'a> {
    let Some(mut lease) = pool.take(to.0) else { return Either::Left(send_on_new(pool, to, request)) };
    Either::Right(lease.send(request).then(move |outcome| match outcome {
        Ok(response) => Either::Left(ready(Ok((response, lease)))),
        Err(mut failed) => match failed.take_message() {
            // The connection turned out to be closed before a byte of the request was written. The upstream has not seen it,
            // whatever its method. Each time there is one connection less to try.
            Some(unsent) => Either::Right(send_again(pool, to, unsent)),
            None => Either::Left(ready(Err(Fault::Exchange(failed.into_error())))),
        },
    }))
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send + 'a>>;

fn send_again<'a>(pool: &'a Pool, to: Destination<'a>, request: Request<RequestBody>) -> Sending<'a> {
    Box::pin(send(pool, to, request))
}

fn send_on_new<'a>(pool: &'a Pool, to: Destination<'a>, request: Request<RequestBody>) -> Sending<'a> {
    Box::pin(async move {
        let mut lease = pool.connect(to.0, to.1).await?;
        match lease.send(request).await {
            Ok(response) => Ok((response, lease)),
            Err(failed) => Err(Fault::Exchange(failed.into_error())),
        }
    })
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
fn connection_was_lost(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || io_kind(error).is_some()
}

fn blame(upload: &Upload, fault: &Fault) -> Refusal {
    match upload.state() {
        UploadState::TooLarge => Refusal::BodyTooLarge,
        UploadState::Broken => Refusal::BrokenBody,
        // Only the deadline of the body itself fails a request that waits for its client.
        UploadState::Waiting if causes(fault).any(<dyn Error>::is::<BodyError>) => Refusal::SlowRequest,
        _ if matches!(fault, Fault::Connect(ConnectError::TimedOut)) => Refusal::GatewayTimeout,
        _ if io_kind(fault) == Some(io::ErrorKind::TimedOut) => Refusal::GatewayTimeout,
        _ => Refusal::BadGateway,
    }
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
