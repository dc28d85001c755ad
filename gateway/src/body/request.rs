//! The body of a request on its way to an upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::BodyError;

/// How much of a body that nobody wants is read and thrown away, so that the client gets to read the answer: closing a
/// socket with unread data makes the system discard what was sent last.
const DISCARD_LIMIT_BYTES: usize = 256 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// How far the client's body has come. Whoever sends the request reads it to tell whose fault a failure is.
#[derive(Clone, Debug)]
pub struct Upload(
    /// None when there is no body, so that everything has come.
    Option<Arc<Progress>>,
);

#[derive(Debug)]
struct Progress {
    state: AtomicU8,
    /// Whether the end of the body shows that what follows it on the connection is the next request.
    ends_plainly: AtomicBool,
}

/// The states of an [`Upload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UploadState {
    /// There is more, and the upstream's connection can have it when it asks.
    Arriving = 0,
    /// The upstream's connection asked, and the client has not sent any more yet.
    Waiting = 1,
    /// Everything has come.
    Complete = 2,
    /// More came than may.
    TooLarge = 3,
    /// The client left, or its framing was wrong.
    Broken = 4,
}

impl Upload {
    fn new(ends_plainly: bool) -> Self {
        let state = AtomicU8::new(UploadState::Arriving as u8);
        Self(Some(Arc::new(Progress { state, ends_plainly: AtomicBool::new(ends_plainly) })))
    }

    fn set(&self, state: UploadState) {
        if let Some(progress) = &self.0 {
            progress.state.store(state as u8, Ordering::Relaxed);
        }
    }

    fn set_end(&self, is_plain: bool) {
        if let Some(progress) = &self.0 {
            progress.ends_plainly.store(is_plain, Ordering::Relaxed);
        }
    }

    /// Whether the connection can take another request after this one.
    ///
    /// After a chunked body only one without trailers tells where it ends: hyper looks for the end of trailers in a way of
    /// its own, and takes what follows a bare LF for trailers too.
    pub fn ends_plainly(&self) -> bool {
        self.0.as_ref().is_none_or(|progress| progress.ends_plainly.load(Ordering::Relaxed))
    }

    /// How far it has come.
    pub fn state(&self) -> UploadState {
        let Some(progress) = &self.0 else { return UploadState::Complete };
        match progress.state.load(Ordering::Relaxed) {
            0 => UploadState::Arriving,
            1 => UploadState::Waiting,
            2 => UploadState::Complete,
            3 => UploadState::TooLarge,
            _ => UploadState::Broken,
        }
    }
}

/// A request body: none, or the client's.
#[derive(Debug)]
pub enum RequestBody {
    /// No body at all: such a request can be sent again.
    Empty,
    /// The client's body, counted and timed as it comes.
    Streamed(Streamed),
}

/// A client's body.
#[derive(Debug)]
pub struct Streamed {
    incoming: Option<Incoming>,
    remaining_bytes: u64,
    deadline: Instant,
    stall_timeout: Duration,
    /// When the client has to have sent more; none while nobody waits for it.
    more_by: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    upload: Upload,
    has_trailers: bool,
    /// The client waits for `100 Continue`, which hyper sends when the body is first asked for.
    waits_for_continue: bool,
}

impl RequestBody {
    /// Wraps a client's body that may have at most `limit_bytes`, has to end by `deadline` and must not stand still for
    /// `stall_timeout`.
    pub fn new(
        incoming: Incoming,
        limit_bytes: u64,
        deadline: Instant,
        stall_timeout: Duration,
        waits_for_continue: bool,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let upload = Upload::new(incoming.size_hint().exact().is_some());
        Self::Streamed(Streamed {
            incoming: Some(incoming),
            remaining_bytes: limit_bytes,
            deadline,
            stall_timeout,
            more_by: None,
            timer: None,
            upload,
            has_trailers: false,
            waits_for_continue,
        })
    }

    /// Where the progress of the body is noted.
    pub fn upload(&self) -> Upload {
        match self {
            Self::Empty => Upload(None),
            Self::Streamed(streamed) => streamed.upload.clone(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(streamed) => streamed.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(streamed) => streamed.incoming.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(streamed) => streamed.incoming.as_ref().map(Body::size_hint).unwrap_or_default(),
        }
    }
}

impl Streamed {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.waits_for_continue = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        loop {
            match Pin::new(&mut *incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.more_by = None;
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        // Trailers end here: they could carry the very fields that are removed from the headers.
                        Err(trailers) if trailers.trailers_ref().is_some_and(|trailers| !trailers.is_empty()) => {
                            self.has_trailers = true;
                            continue;
                        }
                        // Only a bare LF makes hyper find trailers where there are none.
                        Err(_) => {
                            self.upload.set(UploadState::Broken);
                            self.incoming = None;
                            return Poll::Ready(Some(Err(BodyError::BadEnd)));
                        }
                    };
                    let Some(rest) = self.remaining_bytes.checked_sub(data.len() as u64) else {
                        self.upload.set(UploadState::TooLarge);
                        return Poll::Ready(Some(Err(BodyError::TooLarge)));
                    };
                    self.remaining_bytes = rest;
                    let state = if incoming.is_end_stream() { UploadState::Complete } else { UploadState::Arriving };
                    self.upload.set(state);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(None) => {
                    self.upload.set(UploadState::Complete);
                    self.upload.set_end(!self.has_trailers);
                    self.incoming = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.upload.set(UploadState::Broken);
                    self.incoming = None;
                    return Poll::Ready(Some(Err(BodyError::Broken(error))));
                }
                Poll::Pending => {
                    self.upload.set(UploadState::Waiting);
                    let (end, stall_timeout) = (self.deadline, self.stall_timeout);
                    let more_by = *self.more_by.get_or_insert_with(|| end.min(Instant::now() + stall_timeout));
                    let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(more_by)));
                    if timer.deadline() != more_by {
                        timer.as_mut().reset(more_by);
                    }
                    ready!(timer.as_mut().poll(context));
                    return Poll::Ready(Some(Err(BodyError::TooSlow)));
                }
            }
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(rest) = self.incoming.take()
            && !rest.is_end_stream()
            && !self.waits_for_continue
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(DISCARD_TIMEOUT, discard(rest)));
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut read_bytes = 0;
    while read_bytes < DISCARD_LIMIT_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        read_bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}
