//! The HTTP server that the axum services and the gateway share: hyper, HTTP/1 only, with a limit on everything.

mod settings;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use settings::Settings;
pub(crate) use settings::declare_address;

use crate::shutdown::{Phase, Shutdown};

/// The most bytes of a request's line and headers together. The most header lines are 100, by hyper's own limit, which is
/// faster than one that is set. hyper answers what is above either with 431 (RFC 6585 §5) and closes the connection; no
/// service sees such a request, so the answer has neither a problem document nor a request id nor a line in the log.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// How many connections may wait in the system for `accept`.
const BACKLOG: u32 = 1024;
/// How long `accept` rests after an error such as "too many open files", which the next call would meet again.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The address at the other end of the connection; every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The place of a connection among [`Limits::max_connections`]; every request carries it as an extension.
///
/// Work that outlives its connection, because the client may leave and the work must still be finished, keeps a clone
/// until it is done. So it counts as a connection, and the end of the service waits for it.
#[derive(Clone, Debug)]
pub struct InFlight(
    #[expect(dead_code, reason = "it is held, and counts for as long as that")] Arc<OwnedSemaphorePermit>,
);

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time in which a client must send the line and headers of a request. It is also the time that a connection
    /// may stay idle between two requests, so clients that keep connections must let go of them sooner.
    pub header_read_timeout: Duration,
    /// The most connections at once; more wait in the system's queue.
    pub max_connections: u32,
    /// The time that requests in flight get to finish after the service has stopped accepting.
    pub shutdown_timeout: Duration,
}

/// Listens on `address`; `::` takes IPv4 connections as well. With `reuse_port` several listeners share the port, one
/// for each core.
///
/// # Errors
/// When the system refuses, for instance because the port is taken.
pub fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves every connection with `service` until the phase [`Phase::Stopping`], then finishes the requests in flight,
/// at most for [`Limits::shutdown_timeout`]. In the phase [`Phase::Aborting`] it returns at once.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, shutdown: &Shutdown)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let permits = Arc::new(Semaphore::new(limits.max_connections as usize));
    let stopping = shutdown.reached(Phase::Stopping);
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            _ = &mut stopping => break,
            (stream, peer, permit) = accept(&listener, &permits) => {
                let in_flight = InFlight(Arc::new(permit));
                let service = WithConnection { service: service.clone(), peer: Peer(peer), in_flight };
                tokio::spawn(serve_connection(stream, service, limits, shutdown.clone()));
            }
        }
    }
    // Closing the listener refuses new connections at once, instead of leaving them in the queue of a dying process.
    drop(listener);
    tokio::select! {
        _ = permits.acquire_many(limits.max_connections) => {}
        _ = shutdown.reached(Phase::Aborting { exit_code: 0 }) => {}
        () = tokio::time::sleep(limits.shutdown_timeout) => {
            let open = limits.max_connections as usize - permits.available_permits();
            tracing::warn!(open, "connections dropped: their requests did not finish within SHUTDOWN_TIMEOUT");
        }
    }
}

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn serve_connection<S, B>(stream: TcpStream, service: S, limits: Limits, shutdown: Shutdown)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Answers are small: waiting to fill a packet only adds delay. A socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_read_timeout).max_header_size(MAX_HEADER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = shutdown.reached(Phase::Stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Adds what is known of the connection to each of its requests.
struct WithConnection<S> {
    service: S,
    peer: Peer,
    in_flight: InFlight,
}

impl<S, B> hyper::service::Service<Request<B>> for WithConnection<S>
where
    S: hyper::service::Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.in_flight.clone());
        self.service.call(request)
    }
}
