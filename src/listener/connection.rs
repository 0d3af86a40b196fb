//! One connection: HTTP/1.1 with keep-alive, timeouts, and a shutdown that finishes the requests under way.

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

use super::fairness::{ScheduledConnection, yield_to_ready};
use super::io::{ConnectionIo, ConnectionPhase, ConnectionState, hung_up};
use super::refusal;
use crate::api::error::ApiError;
use crate::api::peer::ConnectionPeer;
use crate::api::response::KEEP_ALIVE;
use crate::api::service::{self, Answering};
use crate::api::{Services, ShutdownPhase};

/// The timeout of a header section, from its first byte to its last; for the first one from `connect(2)` on, so that no
/// client occupies a connection without a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The idle timeout: a connection is closed after this long without a request, or up to twice as long. `Keep-Alive`
/// states less ([`crate::api::response::KeepAlive`]).
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The timeout of a client that does not read its response. Far longer than a busy machine keeps a process from
/// running.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// During a shutdown: how long a client that has just connected may take to begin its first request. A process on a busy
/// machine may take longer than 100 ms from `connect(2)` to `write(2)`.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// The limit on hyper's buffer of a connection: above the 16 KiB that a header section may have, so that a section that
/// is slightly too large does not cost the connection. It is also about the most memory that a client can make one
/// take.
const MAX_BUFFER: usize = 32 * 1024;

/// Serves `stream` until the client closes it, a timeout or an error ends it, or the daemon shuts down.
pub(super) async fn serve(
    stream: UnixStream,
    client: ConnectionPeer,
    mut scheduled: ScheduledConnection,
    services: Arc<Services>,
) {
    let state = Arc::new(ConnectionState::default());
    // Split, because hyper alone reads, and `hung_up` and `refusal` use the stream as well.
    let (reading, stream) = stream.into_split();
    let stream = Arc::new(stream);
    let io = TokioIo::new(ConnectionIo::new(reading, &stream, &state));
    // The service lives no longer than this function, so it can borrow.
    let (known, seen, written, client) = (&*services, &*state, &*stream, &client);
    let service = service_fn(|request| {
        seen.begin_request();
        async move {
            // One request per step, so that pipelined requests are not one long step.
            if seen.is_another_of_this_step() {
                yield_to_ready().await;
            }
            let mut reply = match service::answer(known, client.peer(), request) {
                Answering::Now(reply) => reply,
                // Boxed, because to hold it in this future would cost every hit 100 instructions.
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
        // The timer below counts from a head's first byte; hyper's would close idle connections.
        .header_read_timeout(None)
        // A client may shut down its sending half and wait for its response. `hung_up` finds out whether it is gone.
        .half_close(true)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(io, service);

    let mut timer = ConnectionTimer::default();
    let mut idle_close = pin!(idle_close(services.phase(), &state));
    let mut is_idle_close_armed = false;
    let end = std::future::poll_fn(|cx| {
        loop {
            let step = |cx: &mut Context<'_>| {
                let before = state.work();
                state.begin_step();
                let outcome = Pin::new(&mut connection).poll(cx);
                (outcome, state.work() != before)
            };
            let end = match scheduled.poll(cx, step) {
                Poll::Ready(outcome) => return Poll::Ready(ConnectionEnd::of(outcome)),
                Poll::Pending => timer.poll(&state, cx),
            };
            if matches!(end, Poll::Ready(ConnectionEnd::Idle)) {
                // A request may have arrived that the runtime has not reported yet; to close would reset it.
                state.set_over();
                continue;
            }
            // Polled once, `idle_close` wakes this task. Polling it with every request would take its locks each time.
            let is_quiet = is_idle_close_armed && !services.phase_has_changed();
            if end.is_ready() || state.is_over() || is_quiet || idle_close.as_mut().poll(cx).is_pending() {
                is_idle_close_armed = true;
                return end;
            }
            // The connection is polled once more, and sees that it is over.
            state.set_over();
        }
    })
    .await;
    // The connection keeps a turn that it still holds: what its client goes on sending is read, and costs its uid alone.
    // Without it, a client that sends head sections that are too large takes the 95th percentile of another uid's hits
    // from 0.8 to 1.3 ms (debug builds).
    if let ConnectionEnd::Refused(why) = end {
        refusal::explain(&why, (*stream).as_ref(), &services).await;
    }
}

/// The answer, unless the client hangs up before it.
async fn unless_gone<T>(answer: impl Future<Output = T>, stream: &OwnedWriteHalf) -> std::io::Result<T> {
    tokio::select! {
        biased;
        answer = answer => Ok(answer),
        gone = hung_up(stream.as_ref()) => Err(gone),
    }
}

/// Returns when an idle connection is closed because of the shutdown: at once, or for a connection without a request so
/// far a little later.
async fn idle_close(mut phase: watch::Receiver<ShutdownPhase>, state: &ConnectionState) {
    // Neither wait fails: the sender is kept until every listener has ended.
    phase.wait_for(|phase| *phase >= ShutdownPhase::Closing).await.ok();
    if state.requests() == 0 {
        tokio::time::timeout(FIRST_REQUEST_GRACE, phase.wait_for(|phase| *phase == ShutdownPhase::Over))
            .await
            .ok();
    }
}

/// How a connection ends.
enum ConnectionEnd {
    /// Without a further response to the client.
    Done,
    /// After the idle timeout.
    Idle,
    /// With an error, because no request could be read, or not in time.
    Refused(ApiError),
}

impl ConnectionEnd {
    /// The end that hyper has come to. Where it could not parse a head, [`ConnectionIo`] has suppressed its own
    /// response.
    fn of(outcome: hyper::Result<()>) -> Self {
        match outcome {
            Err(error) if error.is_parse_too_large() => Self::Refused(ApiError::HeadersTooLarge),
            Err(error) if error.is_parse() => Self::Refused(ApiError::InvalidRequest {
                parameter: "request".into(),
                detail:
                    "it is not a request in HTTP/1.1, or its header section is not as RFC 9112 defines it"
                        .into(),
            }),
            _ => Self::Done,
        }
    }
}

/// The one timer of a connection. An ordinary request does not touch it: it is armed where a phase lasts, and an idle
/// timer that fires finds out only then whether there was a request meanwhile.
#[derive(Default)]
struct ConnectionTimer {
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Armed>,
    /// The timer was polled, so it wakes this task when it fires.
    is_polled: bool,
}

#[derive(Clone, Copy)]
struct Armed {
    phase: ConnectionPhase,
    progress: u64,
}

impl ConnectionTimer {
    /// Called whenever the connection has no work.
    fn poll(&mut self, connection: &ConnectionState, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let (phase, progress, is_first) =
            (connection.phase(), connection.progress(), connection.requests() == 0);
        let time = match phase {
            // hyper reads what has arrived, and then the end of the stream, which ends the connection.
            ConnectionPhase::Idle if connection.is_over() => {
                self.armed = None;
                return Poll::Pending;
            }
            ConnectionPhase::Idle if is_first => HEAD_TIMEOUT,
            ConnectionPhase::Idle => IDLE_TIMEOUT,
            ConnectionPhase::Reading => HEAD_TIMEOUT,
            ConnectionPhase::Writing => READ_TIMEOUT,
            ConnectionPhase::Answering => {
                self.armed = None;
                return Poll::Pending;
            }
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(time)));
        loop {
            let armed = match self.armed {
                // Each head has its own timeout, the first one from the start; that of an idle connection runs on.
                Some(armed) if armed.progress == progress && (armed.phase == phase || is_first) => armed,
                Some(armed) if armed.phase == ConnectionPhase::Idle && phase == ConnectionPhase::Idle => {
                    armed
                }
                _ => {
                    timer.as_mut().reset(Instant::now() + time);
                    self.is_polled = false;
                    *self.armed.insert(Armed { phase, progress })
                }
            };
            if self.is_polled && !timer.is_elapsed() {
                return Poll::Pending;
            }
            match timer.as_mut().poll(cx) {
                Poll::Pending => {
                    self.is_polled = true;
                    return Poll::Pending;
                }
                Poll::Ready(()) if armed.progress == progress => {
                    return Poll::Ready(match phase {
                        ConnectionPhase::Idle => ConnectionEnd::Idle,
                        ConnectionPhase::Reading => ConnectionEnd::Refused(ApiError::Timeout),
                        ConnectionPhase::Answering | ConnectionPhase::Writing => ConnectionEnd::Done,
                    });
                }
                Poll::Ready(()) => self.armed = None,
            }
        }
    }
}
