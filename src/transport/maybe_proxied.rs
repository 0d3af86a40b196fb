//! Connects to a host directly, or through the proxy if the host has no exception.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::Proxy;

use super::address::Reach;
use super::connect::{BoxError, Clean, Resolver};
use super::no_proxy;
use super::tcp::Tcp;

/// The connector below TLS.
#[derive(Clone)]
pub(super) struct MaybeProxied {
    direct: Tcp,
    through: Option<Through>,
}

/// The proxy, and the hosts that are reached without it.
#[derive(Clone)]
struct Through {
    /// The proxy's host and port, for error texts.
    name: Arc<str>,
    tunnel: Tunnel<Tcp>,
    no_proxy: Arc<str>,
}

/// The proxy's address cannot be used.
#[derive(Debug)]
pub(super) struct BadProxy;

impl MaybeProxied {
    /// Connects as `settings` say. `is_absolute` makes names resolve without the search domains of this machine, except
    /// for the proxy's own name. `reach` limits the addresses of direct connections; those of a host behind the proxy are
    /// not known here.
    pub(super) fn new(settings: &Proxy, is_absolute: bool, reach: Reach) -> Result<Self, BadProxy> {
        let direct = Tcp::new(Resolver::default(), is_absolute).within(reach);
        let through = settings.url.as_ref().map(|url| {
            let matcher = Matcher::builder().https(url.expose()).build();
            // The matcher excludes no host, so `None` means that it cannot read the address.
            let proxy = matcher.intercept(&Uri::from_static("https://host/")).ok_or(BadProxy)?;
            let name = proxy.uri().authority().map_or("?", |authority| authority.as_str()).into();
            let mut tunnel = Tunnel::new(proxy.uri().clone(), Tcp::new(Resolver::default(), false));
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            Ok(Through { name, tunnel, no_proxy: settings.no_proxy.as_str().into() })
        });
        Ok(Self { direct, through: through.transpose()? })
    }

    /// The host and port of the proxy through which `uri` is reached, if any.
    pub(super) fn proxy_of(&self, uri: &Uri) -> Option<&Arc<str>> {
        self.through_for(uri).map(|through| &through.name)
    }

    fn through_for(&self, uri: &Uri) -> Option<&Through> {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        self.through.as_ref().filter(|through| !no_proxy::names(&through.no_proxy, host))
    }
}

impl Service<Uri> for MaybeProxied {
    type Response = Clean<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The tunnel's connector resolves names in the same way.
        self.direct.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tunnel = self.through_for(&uri).map(|through| through.tunnel.clone());
        match tunnel {
            None => self.direct.call(uri),
            Some(mut tunnel) => {
                let connecting = tunnel.call(uri);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
        }
    }
}
