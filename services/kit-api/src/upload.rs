//! Request bodies of the axum services: they must not stand still, and must end as they should.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// A client's body.
pub(crate) struct Upload {
    body: Body,
    stall_timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Why a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokenUpload {
    /// Nothing of it came for `STALL_TIMEOUT`.
    Stalled,
    /// What follows a chunked body was taken for its trailers: only a bare LF makes hyper find trailers where there are none.
    BadEnd,
}

impl fmt::Display for BrokenUpload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Stalled => "the body made no progress within STALL_TIMEOUT",
            Self::BadEnd => "the end of the chunked body is malformed",
        })
    }
}

impl std::error::Error for BrokenUpload {}

impl BrokenUpload {
    /// The one among the causes of an error.
    pub(crate) fn among_causes(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        std::iter::successors(Some(error), |error| error.source())
            .find_map(|cause| cause.downcast_ref::<Self>().copied())
    }
}

impl Upload {
    pub(crate) fn new(body: Body, stall_timeout: Duration) -> Self {
        Self { body, stall_timeout, timer: None }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.timer = None;
            let has_bad_end =
                matches!(&frame, Some(Ok(frame)) if frame.trailers_ref().is_some_and(http::HeaderMap::is_empty));
            let broken = || Some(Err(axum::Error::new(BrokenUpload::BadEnd)));
            return Poll::Ready(if has_bad_end { broken() } else { frame });
        }
        let stall_timeout = this.stall_timeout;
        let timer =
            this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stall_timeout)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(axum::Error::new(BrokenUpload::Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
