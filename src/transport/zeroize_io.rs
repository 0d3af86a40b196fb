//! A stream that overwrites the read buffers of connections that are kept open, so that no response remains in them.
//!
//! TLS decrypts in place, in the buffer that it reads into, and hyper keeps what it has read until it reads more.
//! Neither overwrites its buffer, so a token would stay in memory for as long as the connection is open. Both start the
//! next read as soon as a response has been processed, before there is anything to read. That read passes the buffer
//! down to this stream, which overwrites it.
//!
//! This covers processed bytes only if the next read goes to the same place. rustls starts at the front of its buffer
//! whenever the buffer is empty. So does hyper while its buffer has the size that it reads at a time
//! ([`READ_BUFFER`](super::read_bounds::READ_BUFFER)): it either moves back to the front or takes a new buffer, and the
//! allocator overwrites the old one. A buffer that has grown is read into further back. [`ReadBounds`] notes such a
//! connection, and it is not used again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::cut::Cut;
use super::read_bounds::ReadBounds;

/// A stream that overwrites the buffer it reads into before each read.
#[derive(Debug)]
pub struct ZeroizeIo<S> {
    stream: S,
    /// Of a stream that hyper reads responses from.
    bounds: Option<ReadBounds>,
    /// Of a stream that can be ended while its peer does not read.
    cut: Option<Cut>,
}

impl<S> ZeroizeIo<S> {
    /// Wraps a stream below TLS.
    pub fn new(stream: S) -> Self {
        Self { stream, bounds: None, cut: None }
    }

    /// Wraps a stream above TLS, which carries responses in plain text, and bounds them; only their heads if
    /// `is_streaming`.
    pub fn of_answers(stream: S, is_streaming: bool) -> Self {
        let bounds = if is_streaming { ReadBounds::of_streams() } else { ReadBounds::new() };
        Self { stream, bounds: Some(bounds), cut: is_streaming.then(Cut::default) }
    }

    fn sends(&self) {
        if let Some(bounds) = &self.bounds {
            bounds.sends();
        }
    }

    fn is_to_go_on(&self, cx: &Context<'_>) -> io::Result<()> {
        self.cut.as_ref().map_or(Ok(()), |cut| cut.check(cx))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ZeroizeIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_to_go_on(cx)?;
        if let Some(bounds) = &self.bounds {
            bounds.is_to_read(buf.remaining()).map_err(io::Error::other)?;
        }
        let before = buf.filled().len();
        buf.initialize_unfilled().fill(0);
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(bounds) = &self.bounds {
            bounds.has_read(buf.filled().len().saturating_sub(before));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ZeroizeIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_to_go_on(cx)?;
        self.sends();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_to_go_on(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_to_go_on(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_to_go_on(cx)?;
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
        let connected = match &self.bounds {
            Some(bounds) => connected.extra(bounds.clone()),
            None => connected,
        };
        match &self.cut {
            Some(cut) => connected.extra(cut.clone()),
            None => connected,
        }
    }
}
