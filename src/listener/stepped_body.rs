//! A streamed body that passes on one frame per step of its connection, so that every frame costs its uid a turn.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::io::{ConnectionPhase, ConnectionState, StreamStep};
use crate::api::response::{BrokenStream, StreamedBody};

/// The largest frame of a step, in bytes. Larger ones are divided, so that a step takes some ten microseconds.
const LARGEST: usize = 64 * 1024;

/// A streamed body in steps. It keeps at most one frame, the next one.
pub(super) struct SteppedBody {
    body: StreamedBody,
    /// The frame, or the error, that is due in the next step. What was passed on before it is written first.
    next: Option<Result<Frame<Bytes>, BrokenStream>>,
    state: Arc<ConnectionState>,
}

impl SteppedBody {
    /// `body`, of the response that the connection with this `state` begins to write.
    pub fn new(body: StreamedBody, state: &Arc<ConnectionState>) -> StreamedBody {
        state.set_phase(ConnectionPhase::Streaming);
        Box::pin(Self { body, next: None, state: Arc::clone(state) })
    }
}

impl Body for SteppedBody {
    type Data = Bytes;
    type Error = BrokenStream;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        let this = self.get_mut();
        let next = match this.next.take() {
            Some(next) => next,
            None => match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(next) => next,
                None => return Poll::Ready(None),
            },
        };
        if this.state.stream_step() != StreamStep::Free {
            this.next = Some(next);
            // The connection sees to it that there is a next step.
            this.state.set_stream_step(StreamStep::WantsAnother);
            return Poll::Pending;
        }
        this.state.set_stream_step(StreamStep::Used);
        let mut frame = next?;
        if let Some(data) = frame.data_mut()
            && data.len() > LARGEST
        {
            let first = data.split_to(LARGEST);
            this.next = Some(Ok(std::mem::replace(&mut frame, Frame::data(first))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.next {
            None => self.body.size_hint(),
            // hyper asks before the first frame alone.
            Some(_) => SizeHint::default(),
        }
    }
}

impl Drop for SteppedBody {
    /// hyper drops a body once it has taken the whole of it, before it writes the last bytes.
    fn drop(&mut self) {
        if self.state.phase() == ConnectionPhase::Streaming {
            self.state.set_phase(ConnectionPhase::Writing);
        }
    }
}
