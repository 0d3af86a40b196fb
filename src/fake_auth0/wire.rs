//! Faulty delivery on a socket: bodies that stop, connections that are reset, and bytes before an answer.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Response, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::reply::Delivery;

/// Set if a connection must be reset when it is dropped.
#[derive(Clone, Default)]
pub(super) struct ResetFlag(Arc<AtomicBool>);

/// A TCP stream that is reset on drop if its flag is set.
pub(super) struct ResettableStream {
    stream: TcpStream,
    reset: ResetFlag,
}

impl ResettableStream {
    pub fn new(stream: TcpStream, reset: ResetFlag) -> Self {
        Self { stream, reset }
    }
}

impl Drop for ResettableStream {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::Relaxed) {
            // If this fails, the client sees a close in the middle of an answer, which is a failure as well.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Bytes to send before hyper's next bytes. hyper itself would not write them.
#[derive(Clone)]
pub(super) struct Before {
    bytes: Bytes,
    is_endless: bool,
}

impl Before {
    /// Interim responses; `None`: endlessly many.
    pub fn interim(count: Option<usize>) -> Self {
        let bytes = b"HTTP/1.1 100 \r\n\r\n".repeat(count.unwrap_or(1000)).into();
        Self { bytes, is_endless: count.is_none() }
    }

    /// Interim responses of this status, with one field.
    pub fn informational(status: u16, field: &str, count: usize) -> Self {
        let bytes = format!("HTTP/1.1 {status} \r\n{field}\r\n\r\n").into_bytes().repeat(count).into();
        Self { bytes, is_endless: false }
    }

    /// A complete answer in chunks of one byte each. hyper's own answer follows its end, and is ignored, because the
    /// headers announce that the connection closes.
    pub fn in_crumbs(body: &[u8]) -> Self {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                     transfer-encoding: chunked\r\n\r\n";
        let chunks = body.iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
        let bytes: Vec<u8> = head.iter().copied().chain(chunks).chain(*b"0\r\n\r\n").collect();
        Self { bytes: bytes.into(), is_endless: false }
    }
}

/// Passes bytes from the service to its connection.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<Option<Before>>>);

impl Queue {
    pub fn put(&self, before: Before) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    }

    fn take(&self) -> Option<Before> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A stream that writes the queued bytes first.
pub(super) struct Preceded<S> {
    stream: S,
    queue: Queue,
    under_way: Option<(Before, usize)>,
}

impl<S: AsyncWrite + Unpin> Preceded<S> {
    pub fn new(stream: S, queue: Queue) -> Self {
        Self { stream, queue, under_way: None }
    }

    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(before) = self.queue.take() {
            self.under_way = Some((before, 0));
        }
        while let Some((before, sent)) = &mut self.under_way {
            match before.bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
                Some(rest) => *sent += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?,
                None if before.is_endless => *sent = 0,
                None => self.under_way = None,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Preceded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Preceded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_queue(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body that ends as its [`Delivery`] states.
pub(super) struct Sent {
    data: Option<Bytes>,
    then: Then,
    paused: bool,
}

enum Then {
    End,
    Stall,
    Close,
    Reset(ResetFlag),
    /// Sends one byte after each pause.
    Drip {
        pause: Duration,
        timer: Pin<Box<Sleep>>,
    },
}

/// The error that makes hyper close the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
pub struct GivenUp;

/// Makes the response with which the client sees `delivery`; `Err` closes the connection without an answer.
pub(super) fn deliver(
    response: Response<Bytes>,
    delivery: Delivery,
    reset: &ResetFlag,
) -> Result<Response<Sent>, GivenUp> {
    let then = match delivery {
        Delivery::Whole => Then::End,
        Delivery::BodyStalls => Then::Stall,
        Delivery::Truncated => Then::Close,
        Delivery::ResetMidway => Then::Reset(reset.clone()),
        Delivery::Dripping(pause) => Then::Drip { pause, timer: Box::pin(sleep(pause)) },
        // The listener handles a stalled head; it never comes here.
        Delivery::Refused | Delivery::Closed | Delivery::HeadersStall => return Err(GivenUp),
    };
    let (mut parts, body) = response.into_parts();
    let sent = match then {
        Then::End | Then::Drip { .. } => body,
        _ => {
            parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
            body.slice(..body.len() / 2)
        }
    };
    Ok(Response::from_parts(parts, Sent { data: Some(sent), then, paused: false }))
}

impl Sent {
    fn poll_drip(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let Some(data) = self.data.as_mut().filter(|data| !data.is_empty()) else { return Poll::Ready(None) };
        if let Then::Drip { pause, timer } = &mut self.then {
            ready!(timer.as_mut().poll(cx));
            *timer = Box::pin(sleep(*pause));
        }
        Poll::Ready(Some(Ok(Frame::data(data.split_to(1)))))
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if let Then::Drip { .. } = self.then {
            return self.poll_drip(cx);
        }
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &self.then {
            Then::End => return Poll::Ready(None),
            Then::Stall => return Poll::Pending,
            Then::Close | Then::Reset(_) | Then::Drip { .. } => {}
        }
        if !self.paused {
            // hyper flushes its buffer when a body is pending, and drops the buffer when a body fails.
            self.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Then::Reset(flag) = &self.then {
            flag.0.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Some(Err(GivenUp)))
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.then, &self.data) {
            (Then::End | Then::Drip { .. }, data) => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            _ => SizeHint::default(),
        }
    }
}
