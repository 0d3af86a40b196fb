//! Leaves nothing of an answer in the buffers of a connection that is kept open.
//!
//! TLS decrypts where it has read to, and hyper keeps what it has read until there is more; neither overwrites either,
//! so that a token would be there for as long as the connection is. Both ask for more as soon as an answer has been
//! dealt with, and wait for it: that is when there is nothing to be read, and when the place to read to is handed down
//! to the stream below, which is here.
//!
//! That overwrites what was dealt with only where the same place is read to again. rustls begins at the front of its
//! buffer whenever that is empty. hyper does as long as its buffer has the size that it is told to read at a time
//! ([`READ_BUFFER`](super::line::READ_BUFFER)); what it has dealt with is then at the front, and it either moves back
//! there or takes a new buffer, and the allocator overwrites the old one. A buffer that has grown is read to further
//! behind, so such a connection is noted here ([`Line`]), and not used again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::Line;

/// A stream that overwrites what it is to read to before it reads.
#[derive(Debug)]
pub struct ZeroizeIo<S> {
    stream: S,
    /// Where this is what hyper reads from.
    line: Option<Line>,
}

impl<S> ZeroizeIo<S> {
    /// Below TLS.
    pub fn new(stream: S) -> Self {
        Self { stream, line: None }
    }

    /// Above TLS, where answers can be read: bounds them.
    pub fn of_answers(stream: S) -> Self {
        Self { stream, line: Some(Line::new()) }
    }

    fn sends(&self) {
        if let Some(line) = &self.line {
            line.sends();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ZeroizeIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(line) = &self.line {
            line.is_to_read(buf.remaining()).map_err(io::Error::other)?;
        }
        let before = buf.filled().len();
        buf.initialize_unfilled().fill(0);
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(line) = &self.line {
            line.has_read(buf.filled().len().saturating_sub(before));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ZeroizeIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.sends();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sends();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: Connection> Connection for ZeroizeIo<S> {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected();
        match &self.line {
            Some(line) => connected.extra(line.clone()),
            None => connected,
        }
    }
}
