//! The HTTP server that the axum services and the gateway share: hyper, HTTP/1 only, with a limit on everything.

mod answer;
mod door;
mod hall;
mod head;
mod own_answer;
mod settings;
mod stream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub use door::Door;
pub use settings::Settings;

use self::answer::{Answer, full};
use self::hall::{Hall, Place, Seat};
use self::stream::ClientStream;
use crate::failure::Failure;
use crate::metrics::{Metrics, Route};
use crate::shutdown::{Phase, Shutdown};

/// One reader, and somebody who looks.
const METRICS_CONNECTIONS: u32 = 8;

/// The most bytes of a request's line and headers together. The most header lines are 100, by hyper's own limit, which is
/// faster than one that is set.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// How much of an answer hyper takes from its service before the client has taken the beginning; then one more piece.
const UNWRITTEN_BYTES: usize = 64 * 1024;
/// How many connections may wait in the system for `accept`.
const BACKLOG: u32 = 1024;
/// How much of its answers the system keeps for a client that does not read. Without this it is megabytes for each
/// connection, which a thousand such clients would take from the container.
const UNSENT_LIMIT_BYTES: u32 = 64 * 1024;
/// How long `accept` rests after an error such as "too many open files", which the next call would meet again.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// While the service ends, a client that takes nothing of its answer for this long is not waited for.
const STALL_LIMIT_AT_THE_END: Duration = Duration::from_millis(500);

/// The address at the other end of the connection; every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The place of a connection among [`Limits::max_connections`]; every request carries it as an extension.
///
/// Work that outlives its connection, because the client may leave and the work must still be finished, keeps a clone
/// until it is done. So it counts as a connection, and the end of the service waits for it.
#[derive(Clone)]
pub struct InFlight(#[expect(dead_code, reason = "it is held, and counts for as long as that")] Arc<Place>);

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time in which a client must send the line and headers of a request. It is also the time that a connection
    /// may stay idle between two requests, so clients that keep connections must let go of them sooner.
    pub header_read_timeout: Duration,
    /// How long a client may take nothing of an answer that is ready for it.
    pub stall_timeout: Duration,
    /// The most connections at once. When one more comes, an idle one makes room; without any, it is answered with 503.
    pub max_connections: u32,
    /// The most connections without a request under way, whether no head has come yet or it is kept for the next.
    pub max_idle_connections: u32,
    /// The time that requests in flight get to finish after the service has stopped accepting.
    pub shutdown_timeout: Duration,
}

/// On what terms a listener serves.
#[derive(Clone)]
pub struct Terms {
    /// What is tolerated.
    pub limits: Limits,
    /// How many connections each client may have.
    pub door: Arc<Door>,
    /// Where it is counted, if anywhere.
    pub metrics: Option<Arc<Metrics>>,
}

impl Terms {
    /// Without a limit by client, and without counting.
    #[must_use]
    pub fn plain(limits: Limits) -> Self {
        Self { limits, door: Door::open(), metrics: None }
    }
}

/// Listens for those who read the metrics, and says on what terms they are served. Whoever calls has its own server serve
/// [`Metrics::answer`] there: a server of another kind would be in the program a second time.
///
/// # Errors
/// When the address cannot be listened on.
pub fn listen_for_metrics(address: SocketAddr, limits: Limits) -> Result<(TcpListener, Terms), Failure> {
    let cannot = |error| Failure::caused(format!("cannot listen on {address} for the metrics"), error);
    let listener = listen(address, false).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    tracing::info!(%address, "metrics");
    let limits = Limits { max_connections: METRICS_CONNECTIONS, max_idle_connections: METRICS_CONNECTIONS, ..limits };
    Ok((listener, Terms::plain(limits)))
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
    // Connections inherit both. Answers are small: waiting to fill a packet only adds delay.
    SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_LIMIT_BYTES)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves every connection that the door lets in with `service` until the phase [`Phase::Stopping`], then finishes the
/// requests in flight, at most for [`Limits::shutdown_timeout`]. In the phase [`Phase::Aborting`] it returns at once.
pub async fn serve<S, B>(listener: TcpListener, service: S, terms: &Terms, shutdown: &Shutdown)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send + From<bytes::Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Terms { limits, door, metrics } = terms;
    let limits = *limits;
    let hall = Hall::new(limits, metrics.clone());
    let stopping = shutdown.reached(Phase::Stopping);
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            _ = &mut stopping => break,
            (stream, peer) = accept(&listener) => {
                // Dropping the socket closes it, which is all that a client over its limit is told.
                let Some(entry) = door.enter(peer.ip()) else {
                    hall.count("over-share");
                    continue;
                };
                if let Some((seat, place)) = hall.admit(entry) {
                    let connection = Connection { peer, seat, limits, shutdown: shutdown.clone() };
                    tokio::spawn(connection.serve(stream, place, service.clone()));
                }
            }
        }
    }
    // Closing the listener refuses new connections at once, instead of leaving them in the queue of a dying process.
    drop(listener);
    tokio::select! {
        () = hall.empty() => {}
        _ = shutdown.reached(Phase::Aborting { exit_code: 0 }) => {}
        () = tokio::time::sleep(limits.shutdown_timeout) => {
            let open = hall.open();
            tracing::warn!(open, "connections dropped: their requests did not finish within SHUTDOWN_TIMEOUT");
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// One connection.
struct Connection {
    peer: SocketAddr,
    seat: Arc<Seat>,
    limits: Limits,
    shutdown: Shutdown,
}

impl Connection {
    async fn serve<S, B>(self, socket: TcpStream, place: Place, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body + Send + Unpin + 'static,
        B::Data: Send + From<bytes::Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let client = self.peer.ip().to_canonical();
        let stream = ClientStream::new(socket, client, Arc::clone(&self.seat), self.limits, self.shutdown.clone());
        let reception = Reception {
            service,
            peer: self.peer,
            seat: Arc::clone(&self.seat),
            in_flight: InFlight(Arc::new(place)),
            // A count of its own for each connection: threads would wait for each other at a common one.
            shutdown: Arc::new(self.shutdown.clone()),
        };
        let service = service_fn(move |request| reception.answer(request));
        let mut builder = http1::Builder::new();
        // The stream keeps the time limits, so hyper needs no timer. Half-closed: a client that has said all that it has to
        // say still wants its answer.
        builder.half_close(true).header_read_timeout(None).max_header_size(MAX_HEADER_BYTES);
        builder.max_buf_size(UNWRITTEN_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.seat.dismissed() => Ok(()),
            _ = self.shutdown.reached(Phase::Stopping) => {
                connection.as_mut().graceful_shutdown();
                match connection.as_mut().now_or_never() {
                    Some(ended) => ended,
                    // Half a head is no request: nobody waits for the rest of it.
                    None if !self.seat.is_busy() && !self.seat.owes() => Ok(()),
                    None => connection.await,
                }
            }
        };
        self.seat.leave();
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Where the requests of one connection arrive.
struct Reception<S> {
    service: S,
    peer: SocketAddr,
    seat: Arc<Seat>,
    in_flight: InFlight,
    shutdown: Arc<Shutdown>,
}

impl<S, B> Reception<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: 'static,
{
    /// Has a request answered, and keeps account of it until its answer is finished.
    fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer<B>>, Infallible>> + use<S, B> {
        let under_way = self.seat.begin();
        let is_in_annex = self.seat.is_in_annex;
        if is_in_annex && !full::is_probe(&request) {
            let response = full::refusal(&request, self.peer.ip().to_canonical());
            if let Some(metrics) = self.seat.metrics() {
                metrics.refused(Some(request.method()), response.status());
            }
            return Either::Left(std::future::ready(Ok(response.map(|body| Answer::own(body, under_way)))));
        }
        request.extensions_mut().insert(Peer(self.peer));
        request.extensions_mut().insert(self.in_flight.clone());
        let shutdown = Arc::clone(&self.shutdown);
        let count = self.seat.metrics().map(|metrics| (Arc::clone(metrics), request.method().clone(), Instant::now()));
        let work = if self.seat.has_read_since() {
            Either::Left(self.service.call(request))
        } else {
            // One request after the other that came at once: each of them lets the other connections go first.
            let service = self.service.clone();
            Either::Right(Box::pin(async move {
                tokio::task::yield_now().await;
                service.call(request).await
            }))
        };
        Either::Right(work.map(move |response| {
            let Ok(mut response) = response;
            if let Some((metrics, method, begin)) = count {
                let route = response.extensions_mut().remove::<Route>().map(|route| route.0).unwrap_or_default();
                metrics.answered(&method, route, response.status(), begin.elapsed());
            }
            // From the first moment of the end: a client that is told reconnects elsewhere instead of losing a request.
            if is_in_annex || shutdown.phase() >= Phase::Draining {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer::of_service(body, under_way)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is set on the listener: for each connection it would be one more call of the system.
    #[test]
    fn what_is_written_to_a_client_is_sent_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            assert!(socket.nodelay().unwrap() && !client.nodelay().unwrap());
        });
    }
}
