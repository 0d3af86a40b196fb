//! The TCP listener for probes and metrics, for clients that cannot reach a Unix socket: kubelets and Prometheus. Its
//! routes are open to every client, and return neither tokens nor users.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

use crate::api::Services;
use crate::api::peer::Peer;
use crate::api::service;
use crate::listener::fairness::{FairScheduler, Group, ScheduledConnection, yield_to_ready};
use crate::listener::io::ConnectionState;

/// Maximum number of connections: scrapers and probes are few, and their connections short. A further connection closes
/// another one; see `expendable`.
pub const MAX_CONNECTIONS: usize = 32;

/// Maximum number of descriptors. An aborted connection is closed when its task runs, after `ACCEPT_BATCH` at the latest.
pub const MAX_DESCRIPTORS: usize = MAX_CONNECTIONS + ACCEPT_BATCH;

/// Delay before the next attempt, if every connection waits for its first answer and none may be closed.
const WHILE_ALL_WAIT: Duration = Duration::from_millis(1);

/// Number of accepts after which other ready tasks run first.
const ACCEPT_BATCH: usize = 8;

/// Timeout for a request's head, and for an idle connection. Clients are told less
/// ([`crate::api::response::KeepAlive`]).
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum lifetime of a connection. A scraper with a persistent connection makes a new one.
const LIFETIME: Duration = Duration::from_secs(300);

/// Size of hyper's buffer for a connection.
const MAX_BUFFER: usize = 32 * 1024;

/// Delay after a failed accept, for lack of descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Why the listener cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.address {address} cannot be listened on: {cause}; choose another port, or stop the process that uses it"
)]
pub struct AdminError {
    address: SocketAddr,
    cause: io::Error,
}

/// Listens on `address`. Needs no runtime. The sandbox forbids this call later.
pub fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|cause| AdminError { address, cause })
}

/// Serves until the future is dropped, also during a shutdown, so that probes then show it.
///
/// Clients are not identified here, so the scheduler treats all connections as one group beside the uids of the
/// sockets.
pub async fn serve(listener: tokio::net::TcpListener, services: Arc<Services>, scheduler: FairScheduler) {
    let (mut connections, mut open, mut accepted) = (JoinSet::new(), Vec::new(), 0_usize);
    let steps = Arc::new(AtomicU64::new(0));
    loop {
        if accepted.is_multiple_of(ACCEPT_BATCH) {
            yield_to_ready().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        accepted = accepted.wrapping_add(1);
        make_room(&mut open).await;
        while connections.try_join_next().is_some() {}
        let activity = Arc::new(ProbeActivity::new(steps.fetch_add(1, Ordering::Relaxed)));
        let scheduled = scheduler.register(Group::Probes);
        let answering =
            answer(stream, Arc::clone(&services), scheduled, Arc::clone(&activity), Arc::clone(&steps));
        let task = connections.spawn(async move {
            tokio::time::timeout(LIFETIME, answering).await.ok();
        });
        open.push(Open { task, activity });
    }
}

/// An open connection.
struct Open {
    task: AbortHandle,
    activity: Arc<ProbeActivity>,
}

/// The activity of a connection, by which [`expendable`] chooses.
struct ProbeActivity {
    /// Whether the connection has work and waits for the scheduler.
    is_waiting: AtomicBool,
    /// Whether the connection was answered at least once.
    is_answered: AtomicBool,
    /// Number of the connection's last step, or of its accept, in the sequence of all steps of all connections.
    last_step: AtomicU64,
}

impl ProbeActivity {
    /// The state before the first step.
    fn new(step: u64) -> Self {
        Self { is_waiting: true.into(), is_answered: false.into(), last_step: step.into() }
    }
}

/// Closes connections until there is room for another.
async fn make_room(open: &mut Vec<Open>) {
    loop {
        open.retain(|one| !one.task.is_finished());
        if open.len() < MAX_CONNECTIONS {
            return;
        }
        match expendable(open.iter().map(|one| &*one.activity)) {
            Some(index) => open.swap_remove(index).task.abort(),
            None => tokio::time::sleep(WHILE_ALL_WAIT).await,
        }
    }
}

/// Returns the index of the connection to close for a new one: the one that has been idle for longest, or, if all have
/// work, the one whose last answer is the oldest. A connection that waits for its first answer is never closed, so that
/// new connections can displace neither each other nor a probe.
fn expendable<'a>(open: impl Iterator<Item = &'a ProbeActivity>) -> Option<usize> {
    let candidates = open.enumerate().filter_map(|(index, activity)| {
        let is_waiting = activity.is_waiting.load(Ordering::Relaxed);
        let is_first = !activity.is_answered.load(Ordering::Relaxed);
        let last_step = activity.last_step.load(Ordering::Relaxed);
        (!(is_waiting && is_first)).then_some((is_waiting, last_step, index))
    });
    candidates.min().map(|(.., index)| index)
}

async fn answer(
    stream: TcpStream,
    services: Arc<Services>,
    mut scheduled: ScheduledConnection,
    activity: Arc<ProbeActivity>,
    steps: Arc<AtomicU64>,
) {
    let (state, peer) = (Arc::new(ConnectionState::default()), Peer::over_tcp());
    let service = service_fn(|request| {
        state.begin_request();
        let (services, peer, state) = (&services, &peer, &state);
        async move {
            if state.is_another_of_this_step() {
                yield_to_ready().await;
            }
            Ok::<_, Infallible>(service::answer(services, Arc::clone(peer), request).response().await)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(RecordingStream { stream, state: Arc::clone(&state) }), service);
    let served = poll_fn(|cx| {
        let step = |cx: &mut Context<'_>| {
            let before = state.work();
            state.begin_step();
            let outcome = Pin::new(&mut connection).poll(cx);
            if state.work() != before {
                activity.last_step.store(steps.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            }
            (outcome, state.work() != before)
        };
        let outcome = scheduled.poll(cx, step);
        activity.is_waiting.store(scheduled.is_waiting(), Ordering::Relaxed);
        activity.is_answered.store(state.requests() > 0, Ordering::Relaxed);
        outcome
    });
    if let Err(error) = served.await {
        tracing::trace!(%error, "A connection to admin.address ended");
    }
}

/// A stream that records reads and writes in the connection's state.
struct RecordingStream {
    stream: TcpStream,
    state: Arc<ConnectionState>,
}

impl AsyncRead for RecordingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.state.note_work();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RecordingStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.state.note_work();
        Poll::Ready(written)
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
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.state.note_work();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity((is_waiting, is_answered, last_step): (bool, bool, u64)) -> ProbeActivity {
        ProbeActivity {
            is_waiting: is_waiting.into(),
            is_answered: is_answered.into(),
            last_step: last_step.into(),
        }
    }

    #[test]
    fn the_connection_idle_for_longest_is_closed_and_never_one_that_waits_for_its_first_answer() {
        let cases: [(&[_], _); 5] = [
            (&[(false, true, 3), (false, true, 2), (true, true, 1), (true, false, 0)], Some(1)),
            (&[(true, true, 3), (true, true, 2), (true, false, 0)], Some(1)),
            (&[(true, true, 3), (false, false, 9)], Some(1)),
            (&[(true, false, 0), (true, false, 0)], None),
            (&[], None),
        ];
        for (open, index) in cases {
            let open: Vec<_> = open.iter().copied().map(activity).collect();
            assert_eq!(expendable(open.iter()), index);
        }
    }
}
