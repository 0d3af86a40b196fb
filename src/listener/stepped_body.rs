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
struct SteppedBody {
    body: StreamedBody,
    /// The frame, or the error, that is due in the next step. What was passed on before it is written first.
    next: Option<Result<Frame<Bytes>, BrokenStream>>,
    state: Arc<ConnectionState>,
}

/// `body` in steps, of the response that the connection with this `state` begins to write.
pub(super) fn in_steps(body: StreamedBody, state: &Arc<ConnectionState>) -> StreamedBody {
    state.set_phase(ConnectionPhase::Streaming);
    Box::pin(SteppedBody { body, next: None, state: Arc::clone(state) })
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    type Next = Poll<Option<Result<Frame<Bytes>, BrokenStream>>>;

    /// A body that has these frames at hand.
    struct Ready(VecDeque<Result<Bytes, BrokenStream>>);

    impl Body for Ready {
        type Data = Bytes;
        type Error = BrokenStream;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Next {
            Poll::Ready(self.0.pop_front().map(|frame| frame.map(Frame::data)))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    /// The sizes of the frames of each step, each of which polls until there is no more.
    fn steps(
        frames: impl IntoIterator<Item = Result<Bytes, BrokenStream>>,
    ) -> Vec<Vec<Result<usize, BrokenStream>>> {
        let state = Arc::default();
        let mut body = in_steps(Box::pin(Ready(frames.into_iter().collect())), &state);
        let mut steps = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            state.begin_step();
            let mut step = Vec::new();
            loop {
                match body.as_mut().poll_frame(&mut cx) {
                    Poll::Ready(Some(frame)) => step.push(frame.map(|frame| frame.data_ref().unwrap().len())),
                    Poll::Ready(None) => {
                        steps.push(step);
                        return steps;
                    }
                    Poll::Pending => break,
                }
            }
            assert_eq!(state.stream_step(), StreamStep::WantsAnother);
            assert!(!body.is_end_stream());
            steps.push(step);
        }
    }

    #[test]
    fn each_step_has_one_frame_of_at_most_64_kib() {
        let frames = [10, 150_000, 65_536, 1].map(|size| Ok(Bytes::from(vec![0; size])));
        let sizes = [10, 65_536, 65_536, 18_928, 65_536, 1];
        assert_eq!(steps(frames), sizes.map(|size| vec![Ok(size)]));
    }

    /// hyper drops what it has not written when a body fails.
    #[test]
    fn an_error_has_a_step_of_its_own() {
        let frames = [Ok(Bytes::from_static(b"one")), Err(BrokenStream::Cut)];
        assert_eq!(steps(frames), [vec![Ok(3)], vec![Err(BrokenStream::Cut)]]);
    }
}
