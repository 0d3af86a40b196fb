//! The timer of a connection: what ends it for lack of a request, of a whole head, or of a client that reads.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep, sleep};

use super::io::{ConnectionPhase, ConnectionState, HANG_UP_INTERVAL, hang_up};

/// The timeout of a header section, from its first byte to its last; for the first one from `connect(2)` on, so that no
/// client occupies a connection without a request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The idle timeout: a connection is closed after this long without a request, or up to twice as long. `Keep-Alive`
/// states less ([`crate::api::response::KeepAlive`]).
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The timeout of a client that does not read its response. Far longer than a busy machine keeps a process from
/// running. It counts only while the daemon has something to write: a provider may be silent for longer. The kernel takes
/// more once the client has read most of what it was sent before, about 150 KB.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What the timer has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimedOut {
    /// There was no request for [`IDLE_TIMEOUT`].
    Idle,
    /// A head was not complete in time.
    Head,
    /// The client does not read, or has hung up.
    Client,
}

/// The one timer of a connection. An ordinary request does not touch it: it is armed where a phase lasts, and an idle
/// timer that fires finds out only then whether there was a request meanwhile.
#[derive(Default)]
pub(super) struct ConnectionTimer {
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Armed>,
    /// The timer was polled, so it wakes this task when it fires.
    is_polled: bool,
    /// How long a streamed response has made no progress, although there is something to write.
    blocked_for: Duration,
}

#[derive(Clone, Copy)]
struct Armed {
    phase: ConnectionPhase,
    progress: u64,
}

impl ConnectionTimer {
    /// Called whenever the connection, which is over `stream`, has no work.
    pub fn poll(
        &mut self,
        connection: &ConnectionState,
        stream: &UnixStream,
        cx: &mut Context<'_>,
    ) -> Poll<TimedOut> {
        let (phase, progress, is_first) =
            (connection.phase(), connection.progress(), connection.requests() == 0);
        let (time, end) = match phase {
            // hyper reads what has arrived, and then the end of the stream, which ends the connection.
            ConnectionPhase::Idle if connection.is_over() => {
                self.armed = None;
                return Poll::Pending;
            }
            ConnectionPhase::Idle if is_first => (HEAD_TIMEOUT, TimedOut::Idle),
            ConnectionPhase::Idle => (IDLE_TIMEOUT, TimedOut::Idle),
            ConnectionPhase::Reading => (HEAD_TIMEOUT, TimedOut::Head),
            ConnectionPhase::Writing => (READ_TIMEOUT, TimedOut::Client),
            ConnectionPhase::Streaming => return self.poll_streaming(connection, stream, cx),
            // The request has time limits of its own, as has its body.
            ConnectionPhase::Answering => {
                self.armed = None;
                return Poll::Pending;
            }
        };
        loop {
            let armed = match self.armed {
                // Each head has its own timeout, the first one from the start; that of an idle connection runs on.
                Some(armed) if armed.progress == progress && (armed.phase == phase || is_first) => armed,
                Some(armed) if armed.phase == ConnectionPhase::Idle && phase == ConnectionPhase::Idle => {
                    armed
                }
                _ => self.arm(Armed { phase, progress }, time),
            };
            if self.fires(cx).is_pending() {
                return Poll::Pending;
            }
            if armed.progress == progress {
                return Poll::Ready(end);
            }
            self.armed = None;
        }
    }

    /// Looks at a streamed response every [`HANG_UP_INTERVAL`], whatever happens meanwhile.
    fn poll_streaming(
        &mut self,
        connection: &ConnectionState,
        stream: &UnixStream,
        cx: &mut Context<'_>,
    ) -> Poll<TimedOut> {
        let phase = ConnectionPhase::Streaming;
        let now = Armed { phase, progress: connection.progress() };
        let mut armed = match self.armed {
            Some(armed) if armed.phase == phase => armed,
            _ => {
                self.blocked_for = Duration::ZERO;
                self.arm(now, HANG_UP_INTERVAL)
            }
        };
        while self.fires(cx).is_ready() {
            self.blocked_for = match connection.is_blocked() && armed.progress == now.progress {
                true => self.blocked_for.saturating_add(HANG_UP_INTERVAL),
                false => Duration::ZERO,
            };
            if self.blocked_for >= READ_TIMEOUT || hang_up(stream).is_some() {
                return Poll::Ready(TimedOut::Client);
            }
            armed = self.arm(now, HANG_UP_INTERVAL);
        }
        Poll::Pending
    }

    fn arm(&mut self, armed: Armed, time: Duration) -> Armed {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(time)));
        timer.as_mut().reset(Instant::now() + time);
        self.is_polled = false;
        *self.armed.insert(armed)
    }

    /// Ready when the timer fires.
    fn fires(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = self.timer.as_mut() else { return Poll::Pending };
        if self.is_polled && !timer.is_elapsed() {
            return Poll::Pending;
        }
        let fires = timer.as_mut().poll(cx);
        self.is_polled = fires.is_pending();
        fires
    }
}
