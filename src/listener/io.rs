//! Connection I/O that records whether the client is idle, sending a request, waiting, or reading a response.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::api::proxy::framing::HeadScan;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

/// How often a connection that waits, for a response or for more of a streamed one, is checked for a hang-up. A hang-up
/// frees the connection; a lookup goes on.
pub(super) const HANG_UP_INTERVAL: Duration = Duration::from_millis(500);

/// What the client is doing, as far as its bytes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionPhase {
    /// The client has read its responses, and has not begun another request.
    Idle = 0,
    /// The client is sending a header section.
    Reading = 1,
    /// The client waits for the response.
    Answering = 2,
    /// The response is a stream that has not ended.
    Streaming = 3,
    /// The response is complete, and the client has not read the whole of it.
    Writing = 4,
}

/// The state of a connection, shared by the stream, which sees bytes, the service, which sees requests, and the timer.
/// All three run on one task, so relaxed loads and stores are enough, and no increment needs to be atomic.
#[derive(Default)]
pub struct ConnectionState {
    phase: AtomicU8,
    /// Requests so far.
    requests: AtomicU64,
    /// Grows with every request, and with every write that the socket accepts.
    progress: AtomicU64,
    /// Grows with progress, and with every read.
    work: AtomicU64,
    /// Requests that had begun when the current step began.
    before: AtomicU64,
    /// The connection ends after the requests that have begun.
    over: AtomicBool,
    /// The request under way is a proxied call.
    streaming: AtomicBool,
    /// The socket takes no more bytes, because the client has not read those before.
    blocked: AtomicBool,
    /// What the current step did of a streamed response.
    stream_step: AtomicU8,
    /// The head that is being read has two framings.
    two_framings: AtomicBool,
}

/// What a step did of a streamed response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStep {
    /// No frame was passed on.
    Free = 0,
    /// One frame was passed on.
    Used = 1,
    /// One frame was passed on, and the next one is at hand.
    WantsAnother = 2,
}

impl ConnectionState {
    /// A step of the connection begins.
    pub fn begin_step(&self) {
        self.before.store(self.requests(), Ordering::Relaxed);
        self.set_stream_step(StreamStep::Free);
    }

    /// Whether the request that has just begun is not the first one of its step.
    pub fn is_another_of_this_step(&self) -> bool {
        self.requests() > self.before.load(Ordering::Relaxed).saturating_add(1)
    }

    pub fn set_phase(&self, phase: ConnectionPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub fn phase(&self) -> ConnectionPhase {
        match self.phase.load(Ordering::Relaxed) {
            0 => ConnectionPhase::Idle,
            1 => ConnectionPhase::Reading,
            2 => ConnectionPhase::Answering,
            3 => ConnectionPhase::Streaming,
            _ => ConnectionPhase::Writing,
        }
    }

    pub fn begin_request(&self) {
        grow(&self.requests);
        self.note_progress();
        self.set_phase(ConnectionPhase::Answering);
    }

    fn note_progress(&self) {
        grow(&self.progress);
        self.note_work();
    }

    pub fn note_work(&self) {
        grow(&self.work);
    }

    pub fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn set_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn set_streaming(&self, is_streaming: bool) {
        self.streaming.store(is_streaming, Ordering::Relaxed);
    }

    pub fn is_streaming(&self) -> bool {
        self.streaming.load(Ordering::Relaxed)
    }

    fn set_blocked(&self, is_blocked: bool) {
        self.blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Whether the client has to read before the socket takes more.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Whether the head of the request that begins has two framings, of which hyper shows one.
    pub fn take_two_framings(&self) -> bool {
        self.two_framings.load(Ordering::Relaxed) && self.two_framings.swap(false, Ordering::Relaxed)
    }

    pub fn set_stream_step(&self, step: StreamStep) {
        self.stream_step.store(step as u8, Ordering::Relaxed);
    }

    pub fn stream_step(&self) -> StreamStep {
        match self.stream_step.load(Ordering::Relaxed) {
            0 => StreamStep::Free,
            1 => StreamStep::Used,
            _ => StreamStep::WantsAnother,
        }
    }
}

/// Increments `number` without the bus lock of `fetch_add`, which would be most of the cost of a request here.
fn grow(number: &AtomicU64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// A stream that records what the client is doing.
///
/// It suppresses hyper's own response to a head that hyper cannot parse, a bare status, and the shutdown after it, so
/// that [`super::connection`] can send a problem in JSON like every other error. What hyper writes while no request is
/// open is such a response: hyper parses the next head only after the response before it has been flushed
/// (`Conn::try_keep_alive`), which sets the phase to idle. If hyper ever changes that, `tests/it/api.rs` fails.
pub struct ConnectionIo {
    reading: OwnedReadHalf,
    stream: Arc<OwnedWriteHalf>,
    state: Arc<ConnectionState>,
    /// The reading half is shut down, so the kernel accepts no further bytes of the client.
    is_read_shut: bool,
    /// hyper has given up, and its own response was suppressed.
    is_suppressed: bool,
    /// Scans heads, where calls are sent on.
    scan: Option<HeadScan>,
}

impl ConnectionIo {
    /// A stream that `scans` heads for two framings, or does not.
    pub fn new(
        reading: OwnedReadHalf,
        stream: &Arc<OwnedWriteHalf>,
        state: &Arc<ConnectionState>,
        scans: bool,
    ) -> Self {
        Self {
            scan: scans.then(HeadScan::default),
            reading,
            stream: Arc::clone(stream),
            state: Arc::clone(state),
            is_read_shut: false,
            is_suppressed: false,
        }
    }

    /// Whether to suppress what hyper writes now, and all that follows.
    fn suppresses(&mut self) -> bool {
        self.is_suppressed |= matches!(self.state.phase(), ConnectionPhase::Idle | ConnectionPhase::Reading);
        self.is_suppressed
    }

    /// Scans what was read of a head, which `begins` with it or was begun before.
    fn scan(&mut self, bytes: &[u8], begins: bool) {
        let Some(scan) = &mut self.scan else { return };
        if begins {
            *scan = HeadScan::default();
        }
        scan.feed(bytes);
        self.state.two_framings.store(scan.has_two_framings(), Ordering::Relaxed);
    }

    /// Shuts down the reading half of an idle connection: the kernel returns the bytes that have arrived, then the end
    /// of the stream, and refuses further writes of the client. Closing the connection instead would lose a request
    /// that the kernel has received and hyper has not read.
    fn shut_reading_half(&mut self) {
        self.is_read_shut = true;
        if shut(self.reading.as_ref(), Shutdown::Read).is_err() {
            tracing::trace!("An idle client had hung up already");
        }
    }
}

impl AsyncRead for ConnectionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.state.is_over() && self.state.phase() == ConnectionPhase::Idle && !self.is_read_shut {
            self.shut_reading_half();
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.reading).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.state.note_work();
            let phase = self.state.phase();
            if phase == ConnectionPhase::Idle {
                self.state.set_phase(ConnectionPhase::Reading);
            }
            if matches!(phase, ConnectionPhase::Idle | ConnectionPhase::Reading) {
                let new = buf.filled().get(before..).unwrap_or_default();
                self.scan(new, phase == ConnectionPhase::Idle);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The largest response that is copied to be written in one piece. It is smaller than a connection's buffer of 32 KiB.
const ONE_PIECE: usize = 16 * 1024;

impl ConnectionIo {
    /// Writes as `write` does, unless the `length` bytes are suppressed.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        mut write: impl FnMut(&UnixStream) -> std::io::Result<usize>,
    ) -> Poll<std::io::Result<usize>> {
        if self.suppresses() {
            return Poll::Ready(Ok(length));
        }
        loop {
            if (*self.stream).as_ref().poll_write_ready(cx)?.is_pending() {
                self.state.set_blocked(true);
                return Poll::Pending;
            }
            match write((*self.stream).as_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => {
                    self.state.set_blocked(false);
                    self.state.note_progress();
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncWrite for ConnectionIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.write(cx, buf.len(), |stream| stream.try_write(buf))
    }

    /// hyper calls this only after everything has been written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.state.phase() == ConnectionPhase::Writing {
            self.state.set_phase(ConnectionPhase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(if self.is_suppressed { Ok(()) } else { shut((*self.stream).as_ref(), Shutdown::Write) })
    }

    /// Writes head and body in one piece: to copy some hundred bytes costs less than a `writev(2)` of two pieces (6.36
    /// µs of processor time per hit instead of 6.89). hyper could copy them as well, but into memory that it keeps, so
    /// that a token would stay there until the connection ends. This copy is freed, and overwritten, at once.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if all > ONE_PIECE {
            return self.write(cx, all, |stream| stream.try_write_vectored(bufs));
        }
        let mut whole = Vec::with_capacity(all);
        bufs.iter().for_each(|buf| whole.extend_from_slice(buf));
        self.write(cx, all, |stream| stream.try_write(&whole))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// Returns when the client has closed both halves of its connection.
pub async fn hung_up(stream: &UnixStream) -> std::io::Error {
    loop {
        sleep(HANG_UP_INTERVAL).await;
        if let Some(gone) = hang_up(stream) {
            return gone;
        }
    }
}

/// The error of writing to a client that has closed both halves of its connection; `None` while it may still read.
pub(super) fn hang_up(stream: &UnixStream) -> Option<std::io::Error> {
    // An empty write sends nothing, and fails once the client cannot read any more.
    stream.try_write(&[]).err().filter(|error| error.kind() != ErrorKind::WouldBlock)
}

/// Shuts down one half of `stream`.
pub fn shut(stream: &UnixStream, half: Shutdown) -> std::io::Result<()> {
    shutdown(stream.as_raw_fd(), half).map_err(Into::into)
}
