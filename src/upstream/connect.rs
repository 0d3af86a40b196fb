//! The pieces of connecting that hyper leaves to us: one deadline for all of it, how far it came by then, and errors
//! that can be told apart by type.

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

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A stream whose user has no more of an answer in its buffer than it has not dealt with.
pub type Clean<S> = TokioIo<ZeroizeIo<S>>;

/// A connector whose name resolution, TCP, proxy and TLS handshakes share one deadline.
#[derive(Clone, Debug)]
pub struct Timed<C> {
    inner: C,
    timeout: Duration,
}

/// How far an attempt has come. The connectors lie within each other and hand on nothing but streams, so each says
/// it to the attempt that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The name is being resolved.
    Resolving,
    /// An address is being connected to.
    Reaching,
    /// There is a TCP connection; a proxy's CONNECT and the TLS handshake follow.
    Reached,
}

tokio::task_local! {
    static STEP: Cell<Step>;
}

/// Notes how far the attempt has come of which this is a part; if there is none, nobody wants to know.
pub(super) fn has_come_to(step: Step) {
    STEP.try_with(|at| at.set(step)).ok();
}

/// No connection in time, and how far it came.
#[derive(Debug, thiserror::Error)]
#[error("connecting took too long")]
pub struct ConnectTimedOut(pub Step);

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub struct ResolveFailed;

impl<C> Timed<C> {
    /// Gives `inner` at most `timeout` for each connection.
    pub fn new(inner: C, timeout: Duration) -> Self {
        Self { inner, timeout }
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
        Box::pin(STEP.scope(Cell::new(Step::Reaching), async move {
            match connecting.await {
                Ok(connected) => {
                    Ok(TokioIo::new(ZeroizeIo::of_answers(TokioIo::new(connected.map_err(Into::into)?))))
                }
                Err(_) => Err(ConnectTimedOut(STEP.with(Cell::get)).into()),
            }
        }))
    }
}

/// `getaddrinfo`, with an error of its own type, and a note of how long it is at work.
#[derive(Clone, Debug)]
pub struct Resolver<R = GaiResolver>(R);

impl Default for Resolver {
    fn default() -> Self {
        Self(GaiResolver::new())
    }
}

impl<R> Resolver<R> {
    /// Has `inner` resolve names.
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
            has_come_to(Step::Resolving);
            let resolved = resolving.await.map_err(|_| ResolveFailed)?;
            has_come_to(Step::Reaching);
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

    /// A name server that is away.
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
