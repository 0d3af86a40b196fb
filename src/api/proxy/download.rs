//! The body of a provider's answer on its way to the client: frame by frame, bounded in bytes and in the provider's
//! silence. A body that breaks off is an error, never an end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::api::response::BrokenStream;
use crate::transport::streaming::StreamBody;

use super::record::CallRecord;

/// How long the beginning of a refusal's body is awaited. It comes with the head; a body that stalls is handed on as it
/// is, and judged by what has come.
const BEGINNING_TIME: Duration = Duration::from_secs(2);

/// The limits of an answer's body.
pub struct AnswerLimits {
    /// The most bytes.
    pub bytes: u64,
    /// The longest silence of the server.
    pub idle_timeout: Duration,
}

/// An answer's body, of which a part may have been read already.
pub struct Download {
    /// What was read already, to be sent first.
    beginning: Beginning,
    body: StreamBody,
    /// The bytes that may still be sent.
    left: u64,
    idle_timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
    is_idle_armed: bool,
    /// Why the body breaks off, when what was passed on before has been sent.
    broken: Option<BrokenStream>,
    record: CallRecord,
}

/// The beginning of an answer's body, read to find out what the answer means.
#[derive(Default)]
pub struct Beginning {
    parts: VecDeque<Bytes>,
    /// The body broke off after these parts. hyper tells that once, and ends such a body when it is polled again.
    is_broken: bool,
}

impl Beginning {
    /// Reads `body` until `most` bytes are there, or it ends, or [`BEGINNING_TIME`] is over.
    pub async fn read(body: &mut StreamBody, most: usize) -> Self {
        let (mut beginning, mut length, deadline) =
            (Self::default(), 0_usize, Instant::now() + BEGINNING_TIME);
        while length < most && !body.is_end_stream() {
            match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(part) = frame.into_data() {
                        length = length.saturating_add(part.len());
                        beginning.parts.push_back(part);
                    }
                }
                Ok(Some(Err(_))) => {
                    beginning.is_broken = true;
                    break;
                }
                Ok(None) | Err(_) => break,
            }
        }
        beginning
    }

    /// The bytes, at most `most` of them.
    pub fn bytes(&self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            let room = most.saturating_sub(bytes.len());
            bytes.extend_from_slice(part.get(..room).unwrap_or(part));
        }
        bytes
    }
}

impl Download {
    /// `body` after its `beginning`, within `limits`. `record` is completed when this is dropped.
    pub fn new(
        beginning: Beginning,
        body: StreamBody,
        AnswerLimits { bytes, idle_timeout }: AnswerLimits,
        record: CallRecord,
    ) -> Self {
        let mut download = Self {
            beginning,
            body,
            left: bytes,
            idle_timeout,
            idle: None,
            is_idle_armed: false,
            broken: None,
            record,
        };
        download.note_end();
        download
    }

    /// Notes the end of a body whose end is known. hyper polls such a body no further.
    fn note_end(&mut self) {
        if self.is_end_stream() {
            self.record.complete();
        }
    }

    /// Passes a part on, unless it is beyond the limit.
    fn pass(&mut self, part: Bytes) -> Result<Frame<Bytes>, BrokenStream> {
        let length = part.len() as u64;
        let Some(left) = self.left.checked_sub(length) else {
            return Err(self.record.broken(BrokenStream::TooLarge));
        };
        self.left = left;
        self.record.received(length);
        self.note_end();
        Ok(Frame::data(part))
    }

    /// Whether the provider has been silent for too long. Polled only while it is silent and the client could read.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle_timeout = self.idle_timeout;
        let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
        if !self.is_idle_armed {
            idle.as_mut().reset(Instant::now() + idle_timeout);
            self.is_idle_armed = true;
        }
        idle.as_mut().poll(cx)
    }

    /// The next part, or why there is none.
    fn poll_part(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        if let Some(part) = self.beginning.parts.pop_front() {
            return Poll::Ready(Some(self.pass(part)));
        }
        if self.beginning.is_broken {
            return Poll::Ready(Some(Err(self.record.broken(BrokenStream::Cut))));
        }
        loop {
            let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.poll_idle(cx));
                return Poll::Ready(Some(Err(self.record.broken(BrokenStream::Idle))));
            };
            self.is_idle_armed = false;
            return Poll::Ready(match next {
                None => {
                    self.record.complete();
                    None
                }
                Some(Err(_)) => Some(Err(self.record.broken(BrokenStream::Cut))),
                Some(Ok(frame)) => {
                    // Trailers are dropped: few clients read any.
                    let Ok(part) = frame.into_data() else { continue };
                    Some(self.pass(part))
                }
            });
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BrokenStream;

    /// hyper throws away what it has not yet written when a body breaks off: a client would find an empty answer, and
    /// might make the call again. So it is told one poll later, before which it writes.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        match self.as_mut().poll_part(cx) {
            Poll::Ready(Some(Err(broken))) => {
                self.broken = Some(broken);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            next => next,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none()
            && self.beginning.parts.is_empty()
            && !self.beginning.is_broken
            && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self.beginning.parts.iter().map(|part| part.len() as u64).sum();
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}
