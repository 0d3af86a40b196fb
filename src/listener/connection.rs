//! One connection: HTTP/1.1 with keep-alive, bounds on time, and an end that finishes what was begun.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::fairness::{ScheduledConnection, step_back};
use super::io::{ConnectionIo, ConnectionPhase, ConnectionState, hung_up};
use super::refusal;
use crate::api::error::ApiError;
use crate::api::peer::Visitor;
use crate::api::response::KEEP_ALIVE;
use crate::api::service::{self, Answering};
use crate::api::{Services, ShutdownPhase};

/// From the first byte of a header section to its last; and from connecting to the end of the first one, so that
/// nobody holds a connection by saying nothing.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// A connection on which nothing was asked for this long, or up to twice as long, is closed. Callers are told of less
/// ([`crate::api::response::KEPT`]).
const IDLE_TIME: Duration = Duration::from_secs(120);

/// A connection whose caller reads nothing of its answers for this long is closed. Far longer than a busy machine keeps
/// a process from running.
const READ_TIME: Duration = Duration::from_secs(30);

/// At the daemon's end: how long whoever has just connected may take to begin its request.
const LAST_CALL: Duration = Duration::from_millis(100);

/// hyper's own bound on what it buffers of a connection: above the 16 KiB of a header section that we allow, so that
/// what is somewhat too large costs no connection. All that a caller can make a connection weigh is about this.
const MAX_BUFFER: usize = 32 * 1024;

/// Serves `stream` until it ends, is idle, misbehaves, or the daemon ends.
pub(super) async fn serve(
    stream: UnixStream,
    visitor: Visitor,
    mut scheduled: ScheduledConnection,
    services: Arc<Services>,
) {
    let state = Arc::new(ConnectionState::default());
    // Halves, because one of them is read by hyper alone, and others look at the stream, too.
    let (reading, stream) = stream.into_split();
    let stream = Arc::new(stream);
    let io = TokioIo::new(ConnectionIo::new(reading, &stream, &state));
    // The service lives no longer than this function, so it borrows what others have to share.
    let (known, seen, written, visitor) = (&*services, &*state, &*stream, &visitor);
    let service = service_fn(|request| {
        seen.begin_request();
        async move {
            // One request a step, lest a pipeline of them be one long step.
            if seen.is_another_of_this_step() {
                step_back().await;
            }
            let mut reply = match service::answer(known, visitor.peer(), request) {
                Answering::Now(reply) => reply,
                Answering::Later(reply) => Box::pin(unless_gone(reply, written)).await?,
            };
            if known.is_closing() || seen.is_over() {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                reply.headers_mut().remove(KEEP_ALIVE);
            }
            seen.set_phase(ConnectionPhase::Writing);
            Ok::<_, std::io::Error>(reply)
        }
    });
    let mut connection = http1::Builder::new()
        // Ours below counts from a head's first byte; hyper's would close connections that are merely idle.
        .header_read_timeout(None)
        // Who has said everything may close that half and still wants its answer. Whether it is gone altogether is
        // looked at apart.
        .half_close(true)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(io, service);

    let mut patience = Patience::default();
    let mut last_call = pin!(last_call(services.phase(), &state));
    let mut waits_for_it = false;
    let end = std::future::poll_fn(|cx| {
        loop {
            let step = |cx: &mut Context<'_>| {
                let before = state.work();
                state.begin_step();
                let outcome = Pin::new(&mut connection).poll(cx);
                (outcome, state.work() != before)
            };
            let end = match scheduled.poll(cx, step) {
                Poll::Ready(outcome) => return Poll::Ready(End::of(outcome)),
                Poll::Pending => patience.poll(&state, cx),
            };
            if matches!(end, Poll::Ready(End::Idle)) {
                // A request may have come that the runtime has not told of yet; to close would reset it.
                state.say_that_it_is_over();
                continue;
            }
            // It wakes this task, having been polled once; to poll it with every request is to take its locks.
            let is_quiet = waits_for_it && !services.phase_has_changed();
            if end.is_ready() || state.is_over() || is_quiet || last_call.as_mut().poll(cx).is_pending() {
                waits_for_it = true;
                return end;
            }
            // The connection is polled once more, and finds out.
            state.say_that_it_is_over();
        }
    })
    .await;
    if let End::ApiError(why) = end {
        refusal::explain(&why, (*stream).as_ref(), &services).await;
    }
}

/// The answer, if there is still somebody to be told.
async fn unless_gone<T>(answer: impl Future<Output = T>, stream: &OwnedWriteHalf) -> std::io::Result<T> {
    tokio::select! {
        biased;
        answer = answer => Ok(answer),
        gone = hung_up(stream.as_ref()) => Err(gone),
    }
}

/// Returns when whoever has asked for nothing is too late: at the daemon's end, and for those who have only just
/// connected a little after it.
async fn last_call(mut phase: watch::Receiver<ShutdownPhase>, state: &ConnectionState) {
    // Neither fails: the other end is kept until every server is done.
    phase.wait_for(|phase| *phase >= ShutdownPhase::Closing).await.ok();
    if state.requests() == 0 {
        tokio::time::timeout(LAST_CALL, phase.wait_for(|phase| *phase == ShutdownPhase::Over)).await.ok();
    }
}

enum End {
    /// There is nobody to tell anything, or nothing to tell.
    Done,
    /// Nothing has been asked for too long.
    Idle,
    /// The request cannot be read, or not in time.
    ApiError(ApiError),
}

impl End {
    /// What hyper has come to. Where it could not read a head, it has said so in its own way, which was not let
    /// through; see [`ConnectionIo`].
    fn of(outcome: hyper::Result<()>) -> Self {
        match outcome {
            Err(error) if error.is_parse_too_large() => Self::ApiError(ApiError::HeadersTooLarge),
            Err(error) if error.is_parse() => Self::ApiError(ApiError::InvalidRequest {
                parameter: "request".into(),
                detail: "it is no request of HTTP/1.1, with a header section as RFC 9112 has it".into(),
            }),
            _ => Self::Done,
        }
    }
}

/// One timer for a connection, which an ordinary request never touches: it is armed where a state lasts, and an
/// idle timer that fires finds out only then whether anything was asked for meanwhile.
#[derive(Default)]
struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Armed>,
    /// The timer wakes this task when it fires.
    waits: bool,
}

#[derive(Clone, Copy)]
struct Armed {
    state: ConnectionPhase,
    progress: u64,
}

impl Patience {
    /// Called whenever the connection has nothing to do.
    fn poll(&mut self, connection: &ConnectionState, cx: &mut Context<'_>) -> Poll<End> {
        let (state, progress, first) =
            (connection.phase(), connection.progress(), connection.requests() == 0);
        let time = match state {
            // What has come is read, and then the end, which was drawn with that.
            ConnectionPhase::Idle if connection.is_over() => {
                self.armed = None;
                return Poll::Pending;
            }
            ConnectionPhase::Idle if first => HEAD_TIME,
            ConnectionPhase::Idle => IDLE_TIME,
            ConnectionPhase::Reading => HEAD_TIME,
            ConnectionPhase::Writing => READ_TIME,
            ConnectionPhase::Answering => {
                self.armed = None;
                return Poll::Pending;
            }
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(time)));
        loop {
            let armed = match self.armed {
                // Each head has its own time, the first one from the start; that of an idle connection runs on.
                Some(armed) if armed.progress == progress && (armed.state == state || first) => armed,
                Some(armed) if armed.state == ConnectionPhase::Idle && state == ConnectionPhase::Idle => {
                    armed
                }
                _ => {
                    timer.as_mut().reset(Instant::now() + time);
                    self.waits = false;
                    *self.armed.insert(Armed { state, progress })
                }
            };
            if self.waits && !timer.is_elapsed() {
                return Poll::Pending;
            }
            match timer.as_mut().poll(cx) {
                Poll::Pending => {
                    self.waits = true;
                    return Poll::Pending;
                }
                Poll::Ready(()) if armed.progress == progress => {
                    return Poll::Ready(match state {
                        ConnectionPhase::Idle => End::Idle,
                        ConnectionPhase::Reading => End::ApiError(ApiError::Timeout),
                        ConnectionPhase::Answering | ConnectionPhase::Writing => End::Done,
                    });
                }
                Poll::Ready(()) => self.armed = None,
            }
        }
    }
}
