//! Ends what is left of a streamed exchange: a request's body that is still being sent when its answer is over.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::connect::CaptureConnection;

use super::cut::Cut;
use super::stream_body::{BodyError, StreamBody};

/// Whether hyper needs no more of a request's body. Locked while the connection is cut, so that hyper cannot begin
/// another request on it meanwhile.
type IsSent = Arc<Mutex<bool>>;

/// A request's body. hyper drops it when the whole of it is buffered, or when the connection ends.
pub(super) struct Outgoing {
    body: StreamBody,
    is_sent: IsSent,
}

/// Cuts the connection on drop if the request's body is still being sent.
pub(super) struct ExchangeEnd {
    connection: CaptureConnection,
    is_sent: IsSent,
}

/// An answer's body, with whose end, or drop, the exchange ends.
pub(super) struct Incomplete {
    body: Incoming,
    end: Option<ExchangeEnd>,
}

impl ExchangeEnd {
    /// The end of an exchange whose request is sent through `connection` with the body that is returned.
    pub(super) fn of(body: StreamBody, connection: CaptureConnection) -> (Outgoing, Self) {
        let is_sent = IsSent::default();
        (Outgoing { body, is_sent: Arc::clone(&is_sent) }, Self { connection, is_sent })
    }
}

impl Drop for ExchangeEnd {
    fn drop(&mut self) {
        let is_sent = self.is_sent.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_sent {
            return;
        }
        let mut parts = Request::new(());
        if let Some(connected) = self.connection.connection_metadata().as_ref() {
            connected.get_extras(parts.extensions_mut());
        }
        if let Some(cut) = parts.extensions().get::<Cut>() {
            cut.now();
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        *self.is_sent.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Incomplete {
    /// The `body` of an answer whose exchange ends with `end`.
    pub(super) fn new(body: Incoming, end: ExchangeEnd) -> Self {
        let end = (!body.is_end_stream()).then_some(end);
        Self { body, end }
    }
}

impl Body for Incomplete {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(next, Some(Ok(_))) || self.body.is_end_stream() {
            self.end = None;
        }
        Poll::Ready(next.map(|frame| frame.map_err(|_| BodyError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
