//! A connection that a fake service answers: what a provider sends is in the hands of the test.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::{ConnectionEnd, converse};
use crate::api::response::{AnswerBody, BrokenStream};
use crate::api::service::Answering;
use crate::api::streams::{StreamPermit, StreamSlots};
use crate::api::{ListenerInfo, ShutdownPhase};
use crate::domain::policy::{Caller, Standing};
use crate::listener::connection_limits::{ConnectionLimits, ConnectionSlot};
use crate::listener::fairness::{FairScheduler, Group};
use crate::listener::held_slot::HeldSlot;
use crate::listener::io::{ConnectionIo, ConnectionState};
use crate::listener::refusal;

/// What the provider of one call sends. Closed once the daemon has dropped the call.
pub(super) type Provider = mpsc::UnboundedSender<Result<Bytes, BrokenStream>>;

/// The limits of one listener.
pub(super) struct Limits {
    pub connections: Arc<ConnectionLimits>,
    pub streams: Arc<ConnectionLimits>,
    pub info: Arc<ListenerInfo>,
}

impl Limits {
    pub fn new(max_connections: usize, max_streams: usize) -> Self {
        Self {
            connections: ConnectionLimits::new(max_connections),
            streams: ConnectionLimits::new(max_streams),
            info: Arc::new(ListenerInfo::new("/run/test.sock".into())),
        }
    }

    /// A connection slot of uid 7.
    pub fn slot(&self) -> Option<ConnectionSlot> {
        self.connections.free_slot(Caller { uid: 7, gid: 7 }, Standing::Named)
    }
}

/// A connection, from its client's end.
pub(super) struct Served {
    pub client: UnixStream,
    pub phase: watch::Sender<ShutdownPhase>,
    /// The provider of each call, once it is called.
    pub calls: mpsc::UnboundedReceiver<Provider>,
    /// The sizes of the frames of uploads.
    pub uploaded: mpsc::UnboundedReceiver<usize>,
    task: JoinSet<()>,
}

impl Served {
    pub fn new() -> Self {
        Self::within(&Limits::new(8, 8))
    }

    pub fn within(limits: &Limits) -> Self {
        let (client, server) = UnixStream::pair().unwrap();
        let (phase, phase_now) = watch::channel(ShutdownPhase::Serving);
        let ((called, calls), (uploads, uploaded)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let state = Arc::<ConnectionState>::default();
        let slots = HeldSlot::new(limits.slot().unwrap(), &limits.streams, &state, &limits.info);
        let mut scheduled = FairScheduler::default().register(Group::Uid(7));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (reading, writing) = server.into_split();
            let held: Arc<dyn StreamSlots> = slots;
            let answer = |request| answer(request, &held, &called, &uploads);
            let writing = Arc::new(writing);
            let io = ConnectionIo::new(reading, &writing, &state, true);
            let end = converse(io, &writing, &mut scheduled, &state, phase_now, &answer).await;
            if let ConnectionEnd::Answered = end {
                refusal::drain((*writing).as_ref()).await;
            }
        });
        Self { client, phase, calls, uploaded, task }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request without a body.
    pub async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    }

    /// Sends a request that is proxied, and waits until its provider is called.
    pub async fn call(&mut self, path: &str) -> Provider {
        self.get(path).await;
        self.calls.recv().await.unwrap()
    }

    /// Everything that arrives until `end` has.
    pub async fn read_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let more = self.read().await;
            assert!(!more.is_empty(), "the connection has ended: {text}");
            text.push_str(&more);
        }
        text
    }

    /// Everything that arrives until the connection is closed.
    pub async fn read_to_close(&mut self) -> String {
        let mut text = String::new();
        loop {
            match self.read().await {
                more if more.is_empty() => return text,
                more => text.push_str(&more),
            }
        }
    }

    /// What has arrived; empty if the connection is closed.
    pub async fn read(&mut self) -> String {
        let mut bytes = [0; 65_536];
        let length = self.client.read(&mut bytes).await.unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Closes the client's end.
    pub fn hang_up(&mut self) {
        self.client = UnixStream::pair().unwrap().0;
    }

    /// Whether the connection ends within `time`.
    pub async fn ends_within(&mut self, time: Duration) -> bool {
        timeout(time, self.task.join_next()).await.is_ok()
    }
}

/// Answers `/now` at once; `/stream` with a stream, whose head comes at once; `/late` with one whose head waits for its
/// first frame; `/upload` when it has read the body; `/refused` with an error, without reading the body. A query is the
/// stream's content length.
fn answer<'a>(
    request: Request<Incoming>,
    slots: &'a Arc<dyn StreamSlots>,
    called: &'a mpsc::UnboundedSender<Provider>,
    uploads: &'a mpsc::UnboundedSender<usize>,
) -> Answering<'a> {
    let whole = |status, text: &'static str| {
        let mut response = Response::new(AnswerBody::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
        response
    };
    let length = request.uri().query().map(|length| HeaderValue::from_str(length).unwrap());
    let path = request.uri().path().to_owned();
    if path == "/now" {
        return Answering::Now(whole(200, "now."));
    }
    if path == "/refused" {
        return Answering::Now(whole(403, "refused."));
    }
    let Ok(permit) = StreamPermit::take(slots) else { return Answering::Now(whole(503, "full.")) };
    let (provider, frames) = mpsc::unbounded_channel();
    called.send(provider).ok();
    let mut stream = FakeStream { frames, first: None, _permit: permit };
    let respond = |stream| {
        let mut response = Response::new(AnswerBody::Stream(Box::pin(stream)));
        response.headers_mut().extend(length.map(|length| (CONTENT_LENGTH, length)));
        response
    };
    match path.as_str() {
        "/stream" => Answering::Now(respond(stream)),
        "/late" => Answering::Later(Box::pin(async move {
            stream.first = stream.frames.recv().await;
            respond(stream)
        })),
        _ => Answering::Later(Box::pin(async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return whole(400, "cut.") };
                uploads.send(frame.data_ref().map_or(0, Bytes::len)).ok();
            }
            drop(stream);
            whole(200, "uploaded.")
        })),
    }
}

struct FakeStream {
    frames: mpsc::UnboundedReceiver<Result<Bytes, BrokenStream>>,
    first: Option<Result<Bytes, BrokenStream>>,
    _permit: StreamPermit,
}

impl Body for FakeStream {
    type Data = Bytes;
    type Error = BrokenStream;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first.map(Frame::data))),
            None => self.frames.poll_recv(cx).map_ok(Frame::data),
        }
    }
}
