//! Connects within one deadline for all steps, and reports the step that was reached when it passed.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::zeroize_io::ZeroizeIo;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A stream that leaves no processed part of a response in the buffers above it.
pub type Clean<S> = TokioIo<ZeroizeIo<S>>;

/// A connector whose name resolution, TCP, proxy and TLS handshakes share one deadline.
#[derive(Clone, Debug)]
pub struct Timed<C> {
    inner: C,
    timeout: Duration,
    /// Whether the bodies of responses may have any size.
    is_streaming: bool,
}

/// How far an attempt to connect has come. The connectors are nested and return nothing but streams, so each notes its
/// step in a task-local value of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The name is being resolved.
    Resolving,
    /// A TCP connection to an address is being made.
    Reaching,
    /// The TCP connection is there. A proxy's CONNECT and the TLS handshake follow.
    Reached,
}

tokio::task_local! {
    static STEP: Cell<Step>;
}

/// Notes the step that the current attempt has reached. Outside an attempt this is a no-op.
pub(super) fn note_step(step: Step) {
    STEP.try_with(|at| at.set(step)).ok();
}

/// There was no connection in time. Holds the step that was reached.
#[derive(Debug, thiserror::Error)]
#[error("connecting took too long")]
pub struct ConnectTimedOut(pub Step);

/// The name cannot be resolved, or has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub struct ResolveFailed;

impl<C> Timed<C> {
    /// Limits each connection that `inner` makes to `timeout`.
    pub fn new(inner: C, timeout: Duration) -> Self {
        Self { inner, timeout, is_streaming: false }
    }

    /// [`Timed::new`] for responses whose bodies are handed on and may have any size.
    pub fn streaming(inner: C, timeout: Duration) -> Self {
        Self { inner, timeout, is_streaming: true }
    }
}

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Response: Read + Write + Unpin>,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = Clean<TokioIo<C::Response>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.inner.call(uri));
        let is_streaming = self.is_streaming;
        Box::pin(STEP.scope(Cell::new(Step::Reaching), async move {
            match connecting.await {
                Ok(connected) => {
                    let stream = TokioIo::new(connected.map_err(Into::into)?);
                    Ok(TokioIo::new(ZeroizeIo::of_answers(stream, is_streaming)))
                }
                Err(_) => Err(ConnectTimedOut(STEP.with(Cell::get)).into()),
            }
        }))
    }
}

/// `getaddrinfo` with an error of its own type. Notes when it begins and when it ends.
#[derive(Clone, Debug)]
pub struct Resolver<R = GaiResolver>(R);

impl Default for Resolver {
    fn default() -> Self {
        Self(GaiResolver::new())
    }
}

impl<R> Resolver<R> {
    /// Resolves names with `inner`.
    pub fn new(inner: R) -> Self {
        Self(inner)
    }
}

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name>,
    R::Future: Send + 'static,
{
    type Response = R::Response;
    type Error = ResolveFailed;
    type Future = Pin<Box<dyn Future<Output = Result<R::Response, ResolveFailed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ResolveFailed>> {
        self.0.poll_ready(cx).map_err(|_| ResolveFailed)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.0.call(name);
        Box::pin(async move {
            note_step(Step::Resolving);
            let resolved = resolving.await.map_err(|_| ResolveFailed)?;
            note_step(Step::Reaching);
            Ok(resolved)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use super::super::tcp::Tcp;
    use super::*;

    /// A resolver that never answers.
    #[derive(Clone)]
    struct Silent;

    impl Service<Name> for Silent {
        type Response = std::iter::Empty<SocketAddr>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            std::future::pending()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_still_being_resolved_at_the_deadline_is_told_from_a_host_that_does_not_answer() {
        let tcp = Tcp::new(Resolver::new(Silent), false);
        let mut connector = Timed::new(tcp, Duration::from_secs(2));
        let begun = tokio::time::Instant::now();
        let late = connector.call("https://tenant.example/".parse().unwrap()).await.unwrap_err();
        assert_eq!(late.downcast_ref::<ConnectTimedOut>().unwrap().0, Step::Resolving);
        assert_eq!(begun.elapsed().as_secs(), 2);
    }
}
