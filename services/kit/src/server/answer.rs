//! The body of an answer, which keeps its request under way until all of it is on its way to the client.

pub(super) mod full;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::hall::UnderWay;

/// A body, and the account of its request.
pub(super) struct Answer<B> {
    body: Source<B>,
    _under_way: UnderWay,
}

enum Source<B> {
    Service(B),
    Own(Full<Bytes>),
}

impl<B> Answer<B> {
    /// An answer of the service.
    pub(super) fn of_service(body: B, under_way: UnderWay) -> Self {
        Self { body: Source::Service(body), _under_way: under_way }
    }

    /// An answer that the server gives in place of the service.
    pub(super) fn own(body: Full<Bytes>, under_way: UnderWay) -> Self {
        Self { body: Source::Own(body), _under_way: under_way }
    }
}

impl<B> Body for Answer<B>
where
    B: Body + Unpin,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.get_mut().body {
            Source::Service(body) => Pin::new(body).poll_frame(context),
            Source::Own(body) => Pin::new(body).poll_frame(context).map(|frame| {
                frame.map(|frame| {
                    let frame = frame.unwrap_or_else(|never: Infallible| match never {});
                    Ok(frame.map_data(B::Data::from))
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Service(body) => body.is_end_stream(),
            Source::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Service(body) => body.size_hint(),
            Source::Own(body) => body.size_hint(),
        }
    }
}
