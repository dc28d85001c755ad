//! The body of a response on its way to the client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::BodyError;
use super::RequestBody;
use crate::pool::Lease;

/// A response body: the gateway's own, or an upstream's.
#[derive(Debug)]
pub enum ResponseBody {
    /// An answer of the gateway's own.
    Own(Full<Bytes>),
    /// An upstream's answer.
    Upstream {
        /// What comes from the upstream.
        incoming: Incoming,
        /// The connection that it comes on, which is free for another request when this is dropped.
        lease: Lease<RequestBody>,
        /// When the request as a whole has to be over.
        deadline: Instant,
        /// The timer for that moment; made only when the body is not there at once, which is rare.
        timer: Option<Pin<Box<Sleep>>>,
    },
}

impl ResponseBody {
    /// Wraps an upstream's body that has to end by `deadline`.
    pub fn upstream(incoming: Incoming, lease: Lease<RequestBody>, deadline: Instant) -> Self {
        Self::Upstream { incoming, lease, deadline, timer: None }
    }
}

impl From<Full<Bytes>> for ResponseBody {
    fn from(body: Full<Bytes>) -> Self {
        Self::Own(body)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (incoming, deadline, timer) = match self.get_mut() {
            Self::Own(body) => {
                return Pin::new(body).poll_frame(context).map_err(|never: Infallible| match never {});
            }
            Self::Upstream { incoming, deadline, timer, .. } => (incoming, *deadline, timer),
        };
        loop {
            return match Pin::new(&mut *incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => Poll::Ready(Some(Ok(frame))),
                // Trailers: nobody announced them to this client, so they may not be sent to it.
                Poll::Ready(Some(Ok(_))) => continue,
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyError::Broken(error)))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => {
                    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                    ready!(timer.as_mut().poll(context));
                    Poll::Ready(Some(Err(BodyError::TooSlow)))
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream { incoming, .. } => incoming.size_hint(),
        }
    }
}
