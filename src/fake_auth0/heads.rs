//! The heads of requests, byte for byte as they arrived: a parsed request has lost the order and the case of its
//! fields.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest head that is recorded. What follows is left out.
const LONGEST: usize = 256 * 1024;

/// Records the head of a connection's current request. Clones share the record.
///
/// Requests may be pipelined only behind requests without a body.
#[derive(Clone, Default)]
pub(super) struct Heads(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    bytes: Vec<u8>,
    /// What arrives belongs to a body.
    is_off: bool,
}

impl Heads {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, bytes: &[u8]) {
        let mut record = self.record();
        if !record.is_off {
            let room = LONGEST.saturating_sub(record.bytes.len());
            record.bytes.extend(bytes.iter().take(room));
        }
    }

    /// Removes the head that has arrived, with the empty line that ends it. With a body, nothing is recorded until
    /// [`Heads::body_ended`].
    pub fn take(&self, has_body: bool) -> Bytes {
        let mut record = self.record();
        let end = record.bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let end = end.unwrap_or(record.bytes.len());
        let rest = record.bytes.split_off(end);
        let head = std::mem::replace(&mut record.bytes, rest);
        if has_body {
            record.bytes.clear();
            record.is_off = true;
        }
        head.into()
    }

    /// Notes that the body has been read to its end, so that the next bytes are a head.
    pub fn body_ended(&self) {
        self.record().is_off = false;
    }
}

/// A stream whose read bytes are recorded, if there is a record.
pub(super) struct Tapped<S> {
    stream: S,
    heads: Option<Heads>,
}

impl<S> Tapped<S> {
    pub fn new(stream: S, heads: Option<Heads>) -> Self {
        Self { stream, heads }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let (Some(heads), Some(new)) = (&self.heads, buf.filled().get(before..)) {
            heads.note(new);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
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
