//! The socket of a client, between the system and hyper.
//!
//! hyper knows no limit on a client that does not read, answers a head that it cannot read with a bare status line, and
//! never sees a fragment in a request target because it is cut off beforehand. All three are seen to here, where the bytes
//! pass: hyper stays the one that reads HTTP.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::hall::Seat;
use super::head::HeadScanner;
use super::own_answer;
use super::{Limits, STALL_LIMIT_AT_THE_END};
use crate::shutdown::{Phase, Shutdown};

/// How much of what a refused client still sends is read and thrown away, so that it gets to read the refusal: closing a
/// socket with unread data makes the system discard what was sent last.
const LINGER_LIMIT_BYTES: usize = 256 * 1024;
/// How long that may take.
const LINGER_LIMIT: Duration = Duration::from_secs(1);

/// The parts of a small answer are copied together: the system takes one part faster than several.
const TOGETHER_LIMIT_BYTES: usize = 1024;

/// A client's socket.
pub(super) struct ClientStream {
    /// None only at the very end.
    socket: Option<TcpStream>,
    seat: Arc<Seat>,
    client: IpAddr,
    limits: Limits,
    shutdown: Shutdown,
    scanner: HeadScanner,
    /// Whether part of a head has been read.
    has_part_of_head: bool,
    /// Since when the client has not taken what there is to write.
    blocked_since: Option<Instant>,
    /// What is sent in place of hyper's own answer.
    replacement: Option<Bytes>,
    /// Whether a refusal was sent that the client should get to read.
    lingers: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    pub(super) fn new(socket: TcpStream, client: IpAddr, seat: Arc<Seat>, limits: Limits, shutdown: Shutdown) -> Self {
        Self {
            socket: Some(socket),
            seat,
            client,
            limits,
            shutdown,
            scanner: HeadScanner::default(),
            has_part_of_head: false,
            blocked_since: None,
            replacement: None,
            lingers: false,
            timer: None,
        }
    }

    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// When this client has used up its time, as things stand.
    fn deadline(&self) -> Option<Instant> {
        if let Some(since) = self.blocked_since {
            let is_ending = self.shutdown.phase() >= Phase::Stopping;
            let limit = self.limits.stall_timeout;
            return Some(since + if is_ending { limit.min(STALL_LIMIT_AT_THE_END) } else { limit });
        }
        self.seat.waiting_since().map(|since| since + self.limits.header_read_timeout)
    }

    /// Is ready when the client has used up its time. One timer serves for all limits; it is only set again when it went
    /// off too early or would go off too late.
    fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.deadline() else { return Poll::Pending };
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            let deadline = deadline.into();
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.is_elapsed() || timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(context));
        }
    }

    /// The end of a connection whose client did not send a head in time: with an answer when part of it had come.
    fn head_is_late(&mut self) -> io::Result<()> {
        if !self.has_part_of_head {
            return Ok(());
        }
        self.refuse(StatusCode::REQUEST_TIMEOUT);
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Sends the last answer of the connection past hyper, which has none for this.
    fn refuse(&mut self, status: StatusCode) {
        let answer = self.own_answer(status);
        // A fresh answer fits into the buffer of the system; a client that left it no room has not read earlier ones.
        if let Some(socket) = &self.socket {
            let _ = socket.try_write(&answer);
        }
        self.lingers = true;
    }

    fn own_answer(&self, status: StatusCode) -> Bytes {
        if let Some(metrics) = self.seat.metrics() {
            metrics.refused(None, status);
        }
        own_answer::answer(status, self.client)
    }

    /// Notes whether the client takes what is written. A client that has taken nothing for too long is cut off.
    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.blocked_since.take().is_some() {
                self.seat.takes_again();
            }
            return written;
        }
        if self.blocked_since.is_none() {
            let now = Instant::now();
            self.blocked_since = Some(now);
            self.seat.stalls(now);
        }
        ready!(self.poll_expired(context));
        if let Some(metrics) = self.seat.metrics() {
            metrics.closed("never-read");
        }
        tracing::info!(client = %self.client, "a connection was cut off: its client did not read its answers");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// hyper's own answer begins: ours is sent in its place.
    fn replace(&mut self, context: &mut Context<'_>, own: &[u8], length: usize) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() {
            let Some(status) = own_answer::status(own) else {
                let written = self.socket()?.poll_write(context, own);
                return self.watch(context, written);
            };
            self.replacement = Some(self.own_answer(status));
            self.lingers = true;
        }
        while let Some(rest) = self.replacement.take().filter(|rest| !rest.is_empty()) {
            let written = self.socket()?.poll_write(context, &rest);
            let written = self.watch(context, written);
            let mut rest = rest;
            if let Poll::Ready(Ok(count)) = &written {
                rest.advance(*count);
            }
            self.replacement = Some(rest);
            ready!(written)?;
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (before, has_room) = (buffer.filled().len(), buffer.remaining() > 0);
        if this.socket()?.poll_read(context, buffer)?.is_ready() {
            let is_head = !this.seat.is_busy();
            let read = &mut buffer.filled_mut()[before..];
            // Half a head, and its client will send no more.
            if read.is_empty() && has_room && is_head && this.scanner.is_within_head() && !this.seat.owes() {
                this.refuse(StatusCode::BAD_REQUEST);
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.has_part_of_head = is_head && (this.has_part_of_head || !read.is_empty());
            this.seat.has_read();
            this.scanner.scan(read, is_head);
            return Poll::Ready(Ok(()));
        }
        // While an answer waits for its client to read, that limit counts, and writing keeps it.
        if this.blocked_since.is_some() {
            return Poll::Pending;
        }
        ready!(this.poll_expired(context));
        Poll::Ready(this.head_is_late())
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !this.seat.owes() {
            return this.replace(context, bytes, bytes.len());
        }
        this.has_part_of_head = false;
        let written = this.socket()?.poll_write(context, bytes);
        this.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !this.seat.owes() {
            let own = parts.first().map_or(&[][..], |part| part);
            return this.replace(context, own, parts.iter().map(|part| part.len()).sum());
        }
        this.has_part_of_head = false;
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let written = if length <= TOGETHER_LIMIT_BYTES {
            let (mut together, mut end) = ([0; TOGETHER_LIMIT_BYTES], 0);
            for part in parts {
                together[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            this.socket()?.poll_write(context, &together[..end])
        } else {
            this.socket()?.poll_write_vectored(context, parts)
        };
        this.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A socket has nothing to flush. hyper calls this when all that it had to write has been written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(context)
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.lingers
            && let Some(socket) = self.socket.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(LINGER_LIMIT, linger(socket)));
        }
    }
}

async fn linger(mut socket: TcpStream) {
    let mut thrown_away = [0; 4096];
    let mut read_bytes = 0;
    // hyper has shut down its side in order, or the connection is broken and this ends at once.
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut socket).await;
    while read_bytes < LINGER_LIMIT_BYTES {
        match socket.read(&mut thrown_away).await {
            Ok(0) | Err(_) => return,
            Ok(count) => read_bytes += count,
        }
    }
}
