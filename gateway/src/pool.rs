//! The connections to the upstreams that one thread keeps.
//!
//! A connection belongs to one exchange at a time: whoever takes it holds it until the body of the answer is gone, and
//! then it is put back. Whether the next request may go on it is asked when that request is there: hyper says so as soon as
//! both messages of the exchange before are complete.

mod connect;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mini_kit::types::HttpOrigin;
use tokio::time::Instant;

pub use self::connect::ConnectError;
use self::connect::connect;
use crate::settings::ExchangeLimits;
use crate::target::Upstream;

/// The most bytes of a response that are read at once, and of its status line and headers together.
const RESPONSE_BUFFER_BYTES: usize = 128 * 1024;

/// The connections of one thread, so no lock is ever contended.
pub struct Pool<B>(Arc<Shelves<B>>);

struct Shelves<B> {
    limits: ExchangeLimits,
    kept: [Mutex<Shelf<B>>; Upstream::COUNT],
}

/// The connections to one upstream; the one that was put back last is the last.
struct Shelf<B> {
    connections: Vec<Kept<B>>,
    /// Somebody comes by to close those that are idle for too long.
    is_swept: bool,
}

impl<B> Shelf<B> {
    const EMPTY: Self = Self { connections: Vec::new(), is_swept: false };
}

struct Kept<B> {
    sender: SendRequest<B>,
    since: Instant,
}

impl<B> Kept<B> {
    /// What is not ready here is still at work on an exchange that its client has lost interest in.
    fn is_over(&self, now: Instant, idle_timeout: Duration) -> bool {
        self.sender.is_closed() || now.duration_since(self.since) >= idle_timeout
    }
}

/// A connection in use. It goes back to the others when it is dropped, unless it is closed by then.
pub struct Lease<B: Send + 'static> {
    /// None only at the very end.
    sender: Option<SendRequest<B>>,
    shelves: Arc<Shelves<B>>,
    upstream: Upstream,
}

impl<B> Pool<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty one.
    #[must_use]
    pub fn new(limits: &ExchangeLimits) -> Self {
        Self(Arc::new(Shelves { limits: *limits, kept: std::array::from_fn(|_| Mutex::new(Shelf::EMPTY)) }))
    }

    /// A kept connection that can take a request, as far as is known. The one that was used last: the others can grow old.
    pub fn take(&self, upstream: Upstream) -> Option<Lease<B>> {
        let mut shelf = self.0.shelf(upstream);
        let now = Instant::now();
        while let Some(last) = shelf.connections.last() {
            // What lies before it was put back even earlier.
            if now.duration_since(last.since) >= self.0.limits.idle_timeout {
                shelf.connections.clear();
            } else if last.sender.is_closed() {
                shelf.connections.pop();
            } else {
                break;
            }
        }
        let ready = shelf.connections.iter().rposition(|kept| kept.sender.is_ready())?;
        let kept = shelf.connections.remove(ready);
        Some(self.lease(kept.sender, upstream))
    }

    /// A new connection.
    ///
    /// # Errors
    /// When the name leads nowhere or nobody accepts in time.
    pub async fn connect(&self, upstream: Upstream, origin: &HttpOrigin) -> Result<Lease<B>, ConnectError> {
        let stream = connect(origin, self.0.limits.connect_timeout).await?;
        let mut builder = http1::Builder::new();
        // A request is its head, or has a small body: one piece is sent faster than two are gathered.
        builder.max_buf_size(RESPONSE_BUFFER_BYTES).writev(false);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(ConnectError::Handshake)?;
        tokio::spawn(async move {
            // Whoever waits for an answer has the error too.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a service ended early");
            }
        });
        Ok(self.lease(sender, upstream))
    }

    fn lease(&self, sender: SendRequest<B>, upstream: Upstream) -> Lease<B> {
        Lease { sender: Some(sender), shelves: Arc::clone(&self.0), upstream }
    }
}

impl<B: Body + Send + 'static> Lease<B> {
    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// hyper's, and with it the request, if no byte of it was written.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<B> {
        let sender = self.sender.as_mut().expect("only dropping takes it away");
        sender.try_send_request(request)
    }
}

impl<B: Send + 'static> Drop for Lease<B> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|sender| !sender.is_closed()) {
            Shelves::put(&self.shelves, self.upstream, sender);
        }
    }
}

impl<B: Send + 'static> std::fmt::Debug for Lease<B> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Lease")
    }
}

impl<B: Send + 'static> Shelves<B> {
    /// A panic elsewhere cannot leave a shelf half-changed, so poison means nothing here.
    fn shelf(&self, upstream: Upstream) -> MutexGuard<'_, Shelf<B>> {
        self.kept[upstream as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(shelves: &Arc<Self>, upstream: Upstream, sender: SendRequest<B>) {
        let mut shelf = shelves.shelf(upstream);
        if shelf.connections.len() >= shelves.limits.max_requests {
            return;
        }
        shelf.connections.push(Kept { sender, since: Instant::now() });
        // Not at the end of the runtime, which closes them all.
        if !shelf.is_swept
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            shelf.is_swept = true;
            runtime.spawn(Arc::clone(shelves).sweep(upstream));
        }
    }

    /// Closes what is idle for too long, until nothing is left.
    async fn sweep(self: Arc<Self>, upstream: Upstream) {
        loop {
            tokio::time::sleep(self.limits.idle_timeout).await;
            let mut shelf = self.shelf(upstream);
            let now = Instant::now();
            shelf.connections.retain(|kept| !kept.is_over(now, self.limits.idle_timeout));
            if shelf.connections.is_empty() {
                *shelf = Shelf::EMPTY;
                return;
            }
        }
    }
}
