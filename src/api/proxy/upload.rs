//! The body of a proxied request on its way to the provider: bounded in bytes, watched for silence, and kept for one
//! more attempt while it is small.
//!
//! Nothing is stored besides what an attempt may have to send again, [`MOST_HELD`] bytes. The rest is one frame, which
//! hyper reads from the client when the connection to the provider has room for it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use crate::transport::streaming::{BodyError, StreamBody};

use super::framing::BodyFraming;

/// The most bytes of a request's body that are kept, so that the call can be made once more with another token.
pub const MOST_HELD: usize = 64 * 1024;

/// A request's body is announced with more bytes than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyTooLarge;

/// The state of a request's body, shared by the connection that sends it and the call that waits for the answer.
#[derive(Clone)]
pub struct Upload(Arc<Mutex<UploadState>>);

struct UploadState {
    progress: Progress,
    /// When `progress` changed last, or when the latest part was sent.
    since: Instant,
    /// The bytes that were sent so far.
    sent: u64,
    /// What was sent so far; `None` once that is more than [`MOST_HELD`].
    held: Option<BytesMut>,
}

/// How far a request's body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The provider's side has not asked for the next part.
    AwaitsProvider,
    /// The client has not sent the next part.
    AwaitsClient,
    /// The whole body was handed to the provider's side.
    Whole,
    /// The body has more bytes than are allowed.
    TooLarge,
    /// The client broke off, or its framing is malformed.
    Broken,
}

impl Upload {
    /// The state of `body`, of which nothing was sent yet, and the body as the provider's side sends it.
    ///
    /// # Errors
    /// The body is announced with more than `most` bytes. One of unknown length is broken off when it has more.
    pub fn of(body: Incoming, framing: BodyFraming, most: u64) -> Result<(Self, StreamBody), BodyTooLarge> {
        let progress = match framing {
            BodyFraming::Length(length) if length > most => return Err(BodyTooLarge),
            BodyFraming::None | BodyFraming::Length(0) => Progress::Whole,
            BodyFraming::Length(_) | BodyFraming::Chunked => Progress::AwaitsProvider,
        };
        let upload = Self(Arc::new(Mutex::new(UploadState {
            progress,
            since: Instant::now(),
            sent: 0,
            held: Some(BytesMut::new()),
        })));
        let body = match progress {
            Progress::Whole => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            _ => Sent { body, most, upload: upload.clone() }.boxed_unsync(),
        };
        Ok((upload, body))
    }

    /// The body once more; `None` unless the whole of it was sent and is still held.
    pub fn again(&self) -> Option<StreamBody> {
        let mut state = self.state();
        if state.progress != Progress::Whole {
            return None;
        }
        let held = state.held.take()?.freeze();
        Some(Full::new(held).map_err(|never| match never {}).boxed_unsync())
    }

    /// Whether [`Upload::again`] would return the body.
    pub fn is_held(&self) -> bool {
        let state = self.state();
        state.progress == Progress::Whole && state.held.is_some()
    }

    /// How far the body has come.
    pub fn progress(&self) -> Progress {
        self.state().progress
    }

    /// The bytes that were sent so far.
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    /// When the call is given up if nothing changes: `idle` after the latest part of the body, or `head` after its end.
    pub fn deadline(&self, idle: Duration, head: Duration) -> Instant {
        let state = self.state();
        let limit = match state.progress {
            Progress::AwaitsProvider | Progress::AwaitsClient => idle,
            Progress::Whole | Progress::TooLarge | Progress::Broken => head,
        };
        state.since + limit
    }

    /// Counts the time for the answer's head from now on, as a second attempt does.
    pub fn restart(&self) {
        self.state().since = Instant::now();
    }

    fn state(&self) -> MutexGuard<'_, UploadState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UploadState {
    fn note(&mut self, progress: Progress) {
        (self.progress, self.since) = (progress, Instant::now());
    }

    /// The client's silence counts from the first time that the next part was asked for.
    fn note_silence(&mut self) {
        if self.progress != Progress::AwaitsClient {
            self.note(Progress::AwaitsClient);
        }
    }

    fn note_part(&mut self, part: &Bytes) {
        self.note(Progress::AwaitsProvider);
        self.sent = self.sent.saturating_add(part.len() as u64);
        match &mut self.held {
            Some(held) if held.len() + part.len() <= MOST_HELD => held.extend_from_slice(part),
            held => *held = None,
        }
    }
}

/// The body as hyper sends it to the provider.
struct Sent {
    body: Incoming,
    most: u64,
    upload: Upload,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let next = Pin::new(&mut self.body).poll_frame(cx);
            let mut state = self.upload.state();
            return Poll::Ready(match next {
                Poll::Pending => {
                    state.note_silence();
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    state.note(Progress::Whole);
                    None
                }
                Poll::Ready(Some(Err(_))) => {
                    state.note(Progress::Broken);
                    Some(Err(BodyError::Broken))
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers end here: no provider takes any.
                    let Ok(part) = frame.into_data() else { continue };
                    state.note_part(&part);
                    if state.sent > self.most {
                        state.note(Progress::TooLarge);
                        Some(Err(BodyError::TooLarge))
                    } else {
                        if self.body.is_end_stream() {
                            state.note(Progress::Whole);
                        }
                        Some(Ok(Frame::data(part)))
                    }
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
