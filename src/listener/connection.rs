//! One connection: HTTP/1.1 with keep-alive, timeouts, and a shutdown that finishes the requests under way.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::watch;

use super::connection_timer::{ConnectionTimer, TimedOut};
use super::fairness::{ScheduledConnection, yield_to_ready};
use super::io::{ConnectionIo, ConnectionPhase, ConnectionState, StreamStep, hung_up};
use super::refusal;
use super::stepped_body;
use crate::api::error::ApiError;
use crate::api::peer::ConnectionPeer;
use crate::api::proxy::framing::TwoFramings;
use crate::api::response::{AnswerBody, KEEP_ALIVE};
use crate::api::service::{self, Answering};
use crate::api::{Services, ShutdownPhase};

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
    state: Arc<ConnectionState>,
) {
    let (known, client) = (&services, &client);
    let (reading, stream) = stream.into_split();
    let stream = Arc::new(stream);
    let answer = |request| service::answer(known, client.peer(), request);
    let io = ConnectionIo::new(reading, &stream, &state, services.sends_calls_on());
    let end = converse(io, &stream, &mut scheduled, &state, services.phase(), &answer).await;
    // The connection keeps a turn that it still holds: what its client goes on sending is read, and costs its uid alone.
    // Without it, a client that sends head sections that are too large takes the 95th percentile of another uid's hits
    // from 0.8 to 1.3 ms (debug builds).
    match end {
        ConnectionEnd::Refused(why) => refusal::explain(&why, (*stream).as_ref(), &services).await,
        ConnectionEnd::Answered => refusal::drain((*stream).as_ref()).await,
        ConnectionEnd::Done => {}
    }
}

/// Answers the requests of one connection with `answer`, until the connection ends. The stream is split, because hyper
/// alone reads, and `hung_up` and `refusal` use it as well.
async fn converse<'a>(
    io: ConnectionIo,
    stream: &Arc<OwnedWriteHalf>,
    scheduled: &mut ScheduledConnection,
    state: &Arc<ConnectionState>,
    phase: watch::Receiver<ShutdownPhase>,
    answer: &(impl Fn(Request<Incoming>) -> Answering<'a> + Sync),
) -> ConnectionEnd {
    let io = TokioIo::new(io);
    let (shutdown, has_body) = (&Shutdown(phase), &AtomicBool::new(false));
    // The service lives no longer than this function, so it can borrow.
    let service = service_fn(|mut request: Request<Incoming>| {
        state.begin_request();
        if state.take_two_framings() {
            request.extensions_mut().insert(TwoFramings);
        }
        if !request.body().is_end_stream() {
            has_body.store(true, Ordering::Relaxed);
        }
        async move {
            // One request per step, so that pipelined requests are not one long step.
            if state.is_another_of_this_step() {
                yield_to_ready().await;
            }
            let mut reply = match answer(request) {
                Answering::Now(reply) => reply,
                // Boxed, because to hold it in this future would cost every hit 100 instructions.
                Answering::Later(reply) => Box::pin(unless_gone(reply, stream)).await?,
            };
            if shutdown.is_closing() || state.is_over() {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                reply.headers_mut().remove(KEEP_ALIVE);
            }
            state.set_phase(ConnectionPhase::Writing);
            Ok::<_, std::io::Error>(match reply.body() {
                AnswerBody::Whole(_) => reply,
                AnswerBody::Stream(_) => in_steps(reply, state),
            })
        }
    });
    let mut connection = http1::Builder::new()
        // `ConnectionTimer` counts from a head's first byte; hyper's timer would close idle connections.
        .header_read_timeout(None)
        // A client may shut down its sending half and wait for its response. `hung_up` finds out whether it is gone.
        .half_close(true)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(io, service);

    let (mut timer, mut cutoff) = (ConnectionTimer::default(), None);
    let mut idle_close = pin!(idle_close(shutdown.0.clone(), state));
    let mut is_idle_close_armed = false;
    std::future::poll_fn(|cx| {
        loop {
            scheduled.set_streaming(state.is_streaming());
            let (was_over, mut wants_another) = (state.is_over(), false);
            let step = |cx: &mut Context<'_>| {
                let before = state.work();
                state.begin_step();
                let outcome = Pin::new(&mut connection).poll(cx);
                let stream_step = state.stream_step();
                wants_another = stream_step == StreamStep::WantsAnother;
                (outcome, state.work() != before || stream_step != StreamStep::Free)
            };
            let timed_out = match scheduled.poll(cx, step) {
                Poll::Ready(Ok(())) if has_body.load(Ordering::Relaxed) => {
                    return Poll::Ready(ConnectionEnd::Answered);
                }
                Poll::Ready(outcome) => return Poll::Ready(ConnectionEnd::of(outcome)),
                Poll::Pending => timer.poll(state, (**stream).as_ref(), cx),
            };
            if wants_another && !scheduled.is_woken() {
                cx.waker().wake_by_ref();
            }
            match timed_out {
                // A request may have arrived that the runtime has not reported yet; to close would reset it.
                Poll::Ready(TimedOut::Idle) => {
                    state.set_over();
                    continue;
                }
                Poll::Ready(TimedOut::Head) => return Poll::Ready(ConnectionEnd::Refused(ApiError::Timeout)),
                Poll::Ready(TimedOut::Client) => return Poll::Ready(ConnectionEnd::Done),
                Poll::Pending => {}
            }
            if state.phase() == ConnectionPhase::Streaming && shutdown.has_begun() {
                let cutoff = cutoff.get_or_insert_with(|| Box::pin(over(shutdown.0.clone())));
                if cutoff.as_mut().poll(cx).is_ready() {
                    // The client finds the response to be incomplete.
                    return Poll::Ready(ConnectionEnd::Done);
                }
            }
            // The end of a stream has found no slot. The connection is polled once more, and sees that it is over.
            if state.is_over() && !was_over {
                continue;
            }
            // Polled once, `idle_close` wakes this task. Polling it with every request would take its locks each time.
            let is_quiet = is_idle_close_armed && !shutdown.has_begun();
            if state.is_over() || is_quiet || idle_close.as_mut().poll(cx).is_pending() {
                is_idle_close_armed = true;
                return Poll::Pending;
            }
            // The connection is polled once more here, too.
            state.set_over();
        }
    })
    .await
}

/// The response, whose body is a stream, so that it takes a step for each frame.
fn in_steps(reply: Response<AnswerBody>, state: &Arc<ConnectionState>) -> Response<AnswerBody> {
    reply.map(|body| match body {
        AnswerBody::Stream(stream) => AnswerBody::Stream(stepped_body::in_steps(stream, state)),
        whole => whole,
    })
}

/// The phase of the daemon's shutdown, as a connection reads it.
struct Shutdown(watch::Receiver<ShutdownPhase>);

impl Shutdown {
    /// Whether the shutdown has begun. Unlike reading the phase, this takes no lock.
    fn has_begun(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Whether the connection has to be closed when its request under way is finished.
    fn is_closing(&self) -> bool {
        self.has_begun() && *self.0.borrow() >= ShutdownPhase::Closing
    }
}

/// Returns at the shutdown's deadline. The wait does not fail: the sender is kept until every listener has ended.
async fn over(mut phase: watch::Receiver<ShutdownPhase>) {
    phase.wait_for(|phase| *phase == ShutdownPhase::Over).await.ok();
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
    /// With a response that the client may not get to read: it may still be sending the body of its request, and the
    /// kernel fails its write once the connection is closed.
    Answered,
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

#[cfg(test)]
mod tests;
