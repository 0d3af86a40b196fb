//! The TCP listener for probes and metrics, for those who cannot reach a Unix socket: kubelets, Prometheus. Never a
//! token, never a user: of the routes there are it has those that anybody may ask for.

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

/// Connections at a time: a few scrapers and probes, each of which asks and leaves. For a further one another is closed; see
/// `expendable`.
pub const MAX_CONNECTIONS: usize = 32;

/// Descriptors at a time: one that gives way is closed when its task runs, which is after `IN_ONE_GO` at the latest.
pub const MAX_DESCRIPTORS: usize = MAX_CONNECTIONS + IN_ONE_GO;

/// Where none can be closed because all wait for their first answer: for how long.
const WHILE_ALL_WAIT: Duration = Duration::from_millis(1);

/// After so many connections whatever else is ready goes first.
const IN_ONE_GO: usize = 8;

/// For a request's head, and for how long a connection may stay without one. Clients are told less
/// ([`crate::api::response::KeepAlive`]).
const HEAD_TIME: Duration = Duration::from_secs(10);

/// A connection is over after this long, whatever it does; a scraper that keeps its own open makes another.
const LIFETIME: Duration = Duration::from_secs(300);

/// hyper's bound on what it buffers of a connection.
const MAX_BUFFER: usize = 32 * 1024;

/// After an accept that failed for want of descriptors or memory.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.address {address} cannot be listened on: {cause}; choose another port, or stop whoever has it"
)]
pub struct AdminError {
    address: SocketAddr,
    cause: io::Error,
}

/// Listens. Needs no runtime; the sandbox forbids it later.
pub fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|cause| AdminError { address, cause })
}

/// Answers for as long as it is not dropped: probes tell the truth during a shutdown, too.
///
/// Callers are not identified here, so all connections take turns as one group, beside the callers on the sockets.
pub async fn serve(listener: tokio::net::TcpListener, services: Arc<Services>, scheduler: FairScheduler) {
    let (mut connections, mut open, mut accepted) = (JoinSet::new(), Vec::new(), 0_usize);
    let steps = Arc::new(AtomicU64::new(0));
    loop {
        if accepted.is_multiple_of(IN_ONE_GO) {
            yield_to_ready().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await;
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

/// A connection, as it is seen from outside of it.
struct Open {
    task: AbortHandle,
    activity: Arc<ProbeActivity>,
}

struct ProbeActivity {
    /// It has something to say and waits for its turn.
    is_waiting: AtomicBool,
    /// It has been answered at least once.
    is_answered: AtomicBool,
    /// Its last step, or when it was accepted, by the number of all of these so far.
    last_step: AtomicU64,
}

impl ProbeActivity {
    /// As it is before its first step.
    fn new(step: u64) -> Self {
        Self { is_waiting: true.into(), is_answered: false.into(), last_step: step.into() }
    }
}

/// Returns when there is room for another connection.
async fn make_room(open: &mut Vec<Open>) {
    loop {
        open.retain(|one| !one.task.is_finished());
        if open.len() < MAX_CONNECTIONS {
            return;
        }
        match expendable(open.iter().map(|one| &*one.activity)) {
            Some(place) => open.swap_remove(place).task.abort(),
            None => tokio::time::sleep(WHILE_ALL_WAIT).await,
        }
    }
}

/// The connection that gives way to a new one, by its place: the one that has been idle for longest, or, where all have
/// something to say, the one whose last answer is the oldest. One that waits for its first answer never does: so
/// those that come can push out neither one another nor a probe.
fn expendable<'a>(open: impl Iterator<Item = &'a ProbeActivity>) -> Option<usize> {
    let candidates = open.enumerate().filter_map(|(place, activity)| {
        let is_waiting = activity.is_waiting.load(Ordering::Relaxed);
        let is_first = !activity.is_answered.load(Ordering::Relaxed);
        let last_step = activity.last_step.load(Ordering::Relaxed);
        (!(is_waiting && is_first)).then_some((is_waiting, last_step, place))
    });
    candidates.min().map(|(.., place)| place)
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
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(Noted { stream, state: Arc::clone(&state) }), service);
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

/// A stream that notes when anything comes or goes through it.
struct Noted {
    stream: TcpStream,
    state: Arc<ConnectionState>,
}

impl AsyncRead for Noted {
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

impl AsyncWrite for Noted {
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
    fn the_connection_that_gives_way_is_the_one_idle_for_longest_and_never_one_that_waits_for_its_first_answer()
     {
        let cases: [(&[_], _); 5] = [
            (&[(false, true, 3), (false, true, 2), (true, true, 1), (true, false, 0)], Some(1)),
            (&[(true, true, 3), (true, true, 2), (true, false, 0)], Some(1)),
            (&[(true, true, 3), (false, false, 9)], Some(1)),
            (&[(true, false, 0), (true, false, 0)], None),
            (&[], None),
        ];
        for (open, place) in cases {
            let open: Vec<_> = open.iter().copied().map(activity).collect();
            assert_eq!(expendable(open.iter()), place);
        }
    }
}
