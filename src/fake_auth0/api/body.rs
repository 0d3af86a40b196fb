//! The bodies that a simulated API sends: whole, made as they are read, paced, endless, or broken off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, Sleep, sleep_until};

use crate::fake_auth0::wire::GivenUp;

use super::content::{FRAME, content};
use super::underway::Underway;

/// What an answer's body consists of, and how it ends.
pub(super) struct Outgoing {
    source: Source,
    then: Then,
}

enum Source {
    Whole(Bytes),
    Content(Content),
    Events {
        frames: mpsc::UnboundedReceiver<Bytes>,
        /// Sends a numbered frame at each tick.
        ticks: Option<(Interval, u64)>,
    },
}

/// A part of the content, from the beginning.
struct Content {
    sent: u64,
    length: u64,
    /// Whether the length is stated as a size of the body.
    is_sized: bool,
    pace: Option<Pace>,
}

struct Pace {
    bytes_per_second: u64,
    begun: Instant,
    timer: Pin<Box<Sleep>>,
}

enum Then {
    End,
    /// Nothing more arrives, and the connection stays open.
    Stall,
    /// The connection is closed, once what was sent before is on its way.
    Break {
        is_flushed: bool,
    },
}

impl Outgoing {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Whole(bytes.into()), then: Then::End }
    }

    /// The first `length` bytes of the content, at `rate` bytes per second, if one is given. If `is_sized`, the length
    /// is stated.
    pub fn content(length: u64, is_sized: bool, rate: Option<u64>) -> Self {
        let pace = rate.filter(|&rate| rate > 0).map(|bytes_per_second| {
            let begun = Instant::now();
            Pace { bytes_per_second, begun, timer: Box::pin(sleep_until(begun)) }
        });
        Self { source: Source::Content(Content { sent: 0, length, is_sized, pace }), then: Then::End }
    }

    pub fn events(frames: mpsc::UnboundedReceiver<Bytes>, every: Option<Duration>) -> Self {
        let ticks = every.filter(|every| !every.is_zero()).map(|every| {
            let ticks = tokio::time::interval_at(Instant::now() + every, every);
            (ticks, 0)
        });
        Self { source: Source::Events { frames, ticks }, then: Then::End }
    }

    /// Makes the connection close where the body would end.
    pub fn broken_off(mut self) -> Self {
        self.then = Then::Break { is_flushed: false };
        self
    }

    /// Makes the connection fall silent where the body would end.
    pub fn stalled(mut self) -> Self {
        self.then = Then::Stall;
        self
    }
}

/// Formats one event of a stream of server-sent events (HTML standard, §9.2.6).
pub(super) fn event(text: &str) -> Bytes {
    let lines = text.split('\n').map(|line| format!("data: {line}\n"));
    lines.chain(["\n".to_owned()]).collect::<String>().into()
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self {
            Self::Whole(bytes) => Poll::Ready(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Self::Content(content) => content.poll(cx),
            Self::Events { frames, ticks } => {
                if let Poll::Ready(frame) = frames.poll_recv(cx) {
                    return Poll::Ready(frame);
                }
                let Some((ticks, number)) = ticks else { return Poll::Pending };
                ready!(ticks.poll_tick(cx));
                *number += 1;
                Poll::Ready(Some(event(&format!("tick {number}"))))
            }
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Content(content) => content.sent == content.length,
            Self::Events { .. } => false,
        }
    }

    /// What is left of a body whose size is stated.
    fn left(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Content(Content { sent, length, is_sized: true, .. }) => Some(length - sent),
            Self::Content(_) | Self::Events { .. } => None,
        }
    }
}

impl Content {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut length = FRAME.min(self.length - self.sent);
        if length == 0 {
            return Poll::Ready(None);
        }
        if let Some(pace) = &mut self.pace {
            ready!(pace.timer.as_mut().poll(cx));
            // Twenty frames a second, so that a slow body is no burst.
            length = length.min((pace.bytes_per_second / 20).max(1));
            let due = Duration::from_secs_f64((self.sent + length) as f64 / pace.bytes_per_second as f64);
            pace.timer.as_mut().reset(pace.begun + due);
        }
        let frame = content(self.sent, length);
        self.sent += length;
        Poll::Ready(Some(frame))
    }
}

/// An answer's body. Dropped before its end, it is logged as cut off by the client.
pub struct ApiBody {
    source: Source,
    then: Then,
    underway: Option<Underway>,
}

impl ApiBody {
    pub(super) fn new(outgoing: Outgoing, underway: Underway) -> Self {
        let body = Self { source: outgoing.source, then: outgoing.then, underway: Some(underway) };
        body.note_end();
        body
    }

    pub(super) fn empty() -> Self {
        Self { source: Source::Whole(Bytes::new()), then: Then::End, underway: None }
    }

    /// Notes the end as soon as the last byte has been passed on: a server does not ask again.
    fn note_end(&self) {
        if let (true, Some(underway)) = (self.is_end_stream(), &self.underway) {
            underway.ends();
        }
    }
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if let Some(bytes) = ready!(self.source.poll(cx)) {
            if let Some(underway) = &self.underway {
                underway.sends(bytes.len());
            }
            self.note_end();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut self.then {
            Then::End => {
                if let Some(underway) = &self.underway {
                    underway.ends();
                }
                Poll::Ready(None)
            }
            Then::Stall => Poll::Pending,
            Then::Break { is_flushed: is_flushed @ false } => {
                // hyper flushes its buffer when a body is pending, and drops the buffer when a body fails.
                *is_flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Then::Break { is_flushed: true } => {
                if let Some(underway) = &self.underway {
                    underway.gives_up();
                }
                Poll::Ready(Some(Err(GivenUp)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.then, Then::End) && self.source.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.then, self.source.left()) {
            (Then::End, Some(left)) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}
