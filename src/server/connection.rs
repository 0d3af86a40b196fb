//! One connection: HTTP/1.1 with keep-alive, bounds on time, and an end that finishes what was begun.

use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::reply::Refused;
use super::{Peer, Phase, Services, routes};

/// From the first byte of a header section to its last; and from connecting to the end of the first one, so that
/// nobody holds a connection by saying nothing.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// A connection on which nothing was asked for this long, or up to twice as long, is closed.
const IDLE_TIME: Duration = Duration::from_secs(120);

/// At the daemon's end: how long whoever has just connected may take to begin its request.
const LAST_CALL: Duration = Duration::from_millis(100);

/// hyper's own bound on what it buffers, beyond which it answers by itself, without a body. Far enough above the
/// 16 KiB we allow that what is too large by any ordinary measure still gets a proper answer.
const MAX_BUFFER: usize = 64 * 1024;

/// Serves `stream` until it ends, is idle, misbehaves, or the daemon ends.
pub(super) async fn serve(stream: UnixStream, peer: Peer, services: Arc<Services>) {
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity), deaf: false });
    let service = service_fn(|request| {
        let (services, activity, peer) = (Arc::clone(&services), Arc::clone(&activity), &peer);
        activity.begin_request();
        async move {
            let mut reply = routes::answer(&services, peer, request).await;
            if *services.phase.borrow() >= Phase::Closing {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            activity.set(State::Idle);
            Ok::<_, std::convert::Infallible>(reply)
        }
    });
    let mut connection = http1::Builder::new()
        // Ours below counts from a head's first byte; hyper's would close connections that are merely idle.
        .header_read_timeout(None)
        // Who has said everything may close that half and still wants its answer. Whether it is gone altogether shows
        // when that is written, and no answer takes for ever.
        .half_close(true)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(io, service);

    let mut patience = Patience::default();
    let mut last_call = pin!(last_call(services.phase.clone(), &activity));
    let end = loop {
        tokio::select! {
            biased;
            end = std::future::poll_fn(|cx| {
                if Pin::new(&mut connection).poll(cx).is_ready() {
                    return Poll::Ready(End::Done);
                }
                patience.poll(&activity, cx)
            }) => break end,
            // The connection is polled once more, and finds out.
            () = &mut last_call, if !activity.is_over() => activity.say_that_it_is_over(),
        }
    };
    if end == End::SlowHead {
        tell_timeout(connection.into_parts().io.into_inner().stream, &services).await;
    }
}

/// Returns when whoever has asked for nothing is too late: at the daemon's end, and for those who have only just
/// connected a little after it.
async fn last_call(mut phase: watch::Receiver<Phase>, activity: &Activity) {
    // Neither fails: the other end is kept until every server is done.
    phase.wait_for(|phase| *phase >= Phase::Closing).await.ok();
    if activity.requests() == 0 {
        tokio::time::timeout(LAST_CALL, phase.wait_for(|phase| *phase == Phase::Over)).await.ok();
    }
}

/// Says why the connection is closed to somebody who began a request and did not end it.
async fn tell_timeout(mut stream: UnixStream, services: &Services) {
    let request_id = services.next_request_id();
    let text = Refused::Timeout.raw(&request_id);
    // Whether it still reads is its own affair.
    if stream.try_write(text.as_bytes()).is_ok() && stream.shutdown().await.is_err() {
        tracing::trace!("A slow caller was gone already");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Idle,
    SlowHead,
}

/// What the other side is doing, as far as its bytes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle = 0,
    Reading = 1,
    Answering = 2,
}

/// Shared by the stream, which sees bytes, the service, which sees requests, and the timers. All three run on one
/// task, so the ordering does not matter.
#[derive(Default)]
struct Activity {
    state: AtomicU8,
    /// Requests so far.
    requests: AtomicU64,
    /// Nothing that has not begun by now is waited for.
    over: AtomicBool,
}

impl Activity {
    fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn get(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Idle,
            1 => State::Reading,
            _ => State::Answering,
        }
    }

    fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.set(State::Answering);
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn say_that_it_is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One timer for a connection, which an ordinary request never touches: it is armed where a state lasts, and an
/// idle timer that fires finds out only then whether anything was asked for meanwhile.
#[derive(Default)]
struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Armed>,
}

#[derive(Clone, Copy)]
struct Armed {
    state: State,
    requests: u64,
}

impl Patience {
    /// Called whenever the connection has nothing to do.
    fn poll(&mut self, activity: &Activity, cx: &mut Context<'_>) -> Poll<End> {
        let (state, requests) = (activity.get(), activity.requests());
        let (time, end) = match state {
            State::Idle if requests == 0 => (HEAD_TIME, End::Idle),
            State::Idle => (IDLE_TIME, End::Idle),
            State::Reading => (HEAD_TIME, End::SlowHead),
            State::Answering => {
                self.armed = None;
                return Poll::Pending;
            }
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(time)));
        loop {
            let armed = match self.armed {
                // Each head has its own time, the first one from the start; that of an idle connection runs on.
                Some(armed) if armed.requests == requests && (armed.state == state || requests == 0) => armed,
                Some(armed) if armed.state == State::Idle && state == State::Idle => armed,
                _ => {
                    timer.as_mut().reset(Instant::now() + time);
                    *self.armed.insert(Armed { state, requests })
                }
            };
            match timer.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if armed.requests == requests => return Poll::Ready(end),
                Poll::Ready(()) => self.armed = None,
            }
        }
    }
}

/// A stream that notices the first byte after a pause.
struct Watched {
    stream: UnixStream,
    activity: Arc<Activity>,
    /// Nothing more can be sent to us.
    deaf: bool,
}

impl Watched {
    /// Draws the line between what was sent in time and what was not, on an idle connection: the kernel hands out what
    /// it has, then the end, and refuses whatever the other side would write from now on. To close the connection
    /// instead would lose a request that is in the kernel's hands but not in ours.
    fn stop_listening(&mut self) {
        self.deaf = true;
        if shutdown(self.stream.as_raw_fd(), Shutdown::Read).is_err() {
            tracing::trace!("An idle caller was gone already");
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.activity.is_over() && self.activity.get() == State::Idle && !self.deaf {
            self.stop_listening();
        }
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && self.activity.get() == State::Idle {
            self.activity.set(State::Reading);
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
