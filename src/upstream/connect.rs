//! The two pieces of connecting that hyper leaves to us: one deadline for all of it, and errors that can be told
//! apart by type.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector whose name resolution, TCP, proxy and TLS handshakes share one deadline.
#[derive(Clone, Debug)]
pub struct Timed<C> {
    inner: C,
    timeout: Duration,
}

/// No connection in time.
#[derive(Debug, thiserror::Error)]
#[error("connecting took too long")]
pub struct ConnectTimedOut;

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
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.inner.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(ConnectTimedOut.into()),
            }
        })
    }
}

/// `getaddrinfo`, with an error of its own type.
#[derive(Clone, Debug)]
pub struct Resolver(GaiResolver);

impl Default for Resolver {
    fn default() -> Self {
        Self(GaiResolver::new())
    }
}

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = ResolveFailed;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, ResolveFailed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ResolveFailed>> {
        self.0.poll_ready(cx).map_err(|_| ResolveFailed)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.0.call(name);
        Box::pin(async move { resolving.await.map_err(|_| ResolveFailed) })
    }
}
