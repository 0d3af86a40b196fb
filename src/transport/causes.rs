//! Why a request failed, found in the chain of errors of hyper, TLS and the connectors.

use std::error::Error;
use std::io;
use std::sync::Arc;

use hyper::Uri;
use hyper_util::client::legacy;

use crate::domain::error::{Failure, ProxyProblem};

use super::address::NoPublicAddress;
use super::connect::{ConnectTimedOut, ResolveFailed, Step};
use super::maybe_proxied::MaybeProxied;
use super::read_bounds::TooMuch;
use super::{descriptor_shortage, resolver, tls};

/// What failures are told apart by, besides their errors.
#[derive(Clone)]
pub(super) struct Causes {
    /// Chooses between a direct connection and the proxy.
    pub route: MaybeProxied,
    /// Whether a certificate of the client is presented.
    pub is_certified: bool,
}

impl Causes {
    /// Finds the cause in the chain of errors. Their texts never reach the failure, because they may quote what a peer
    /// sent.
    pub fn classify(&self, error: &legacy::Error, uri: &Uri) -> Failure {
        let host = host(uri);
        let chain = || chain(error);
        if self.is_certified && chain().any(tls::is_refusal_of_the_client) {
            return Failure::CertificateRefused { host };
        }
        let tls = chain().find_map(tls::problem);
        if let Some(problem) = tls {
            return Failure::Untrusted { host, problem };
        }
        if !error.is_connect() {
            return broken(error, uri);
        }
        if chain().any(|error| error.is::<NoPublicAddress>()) {
            return Failure::PrivateAddress { host };
        }
        let late = chain().find_map(|error| Some(error.downcast_ref::<ConnectTimedOut>()?.0));
        let is_unresolved = chain().any(|error| error.is::<ResolveFailed>());
        if chain().any(descriptor_shortage::are_lacking) || (is_unresolved && descriptor_shortage::are_gone())
        {
            return Failure::NoDescriptors { host };
        }
        if let Some(proxy) = self.route.proxy_of(uri) {
            let problem = match late {
                Some(Step::Resolving | Step::Reaching) => ProxyProblem::Unreachable,
                Some(Step::Reached) => ProxyProblem::TooSlow,
                // A tunnel that breaks after it was established was closed by the proxy or by a host behind it.
                None => chain().find_map(tunnel_problem).unwrap_or(ProxyProblem::Refused),
            };
            return Failure::Proxy { proxy: Arc::clone(proxy), problem };
        }
        if late == Some(Step::Resolving) || is_unresolved {
            return match resolver::link_local() {
                Some(server) => Failure::LinkLocalResolver { host, server: server.to_string().into() },
                None => Failure::UnknownHost { host },
            };
        }
        if late.is_some() {
            return Failure::ConnectTimeout { host };
        }
        match chain().filter_map(|error| error.downcast_ref::<io::Error>()).last().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Failure::Refused { host },
            Some(kind) => Failure::Unreachable { host, kind },
            None => Failure::Broken { host },
        }
    }
}

/// Host and port as the request names them, for error texts.
pub(super) fn host(uri: &Uri) -> Arc<str> {
    uri.authority().map_or("?", |authority| authority.as_str()).into()
}

/// The failure of a response that was cut off.
pub(super) fn broken(error: &(dyn Error + 'static), uri: &Uri) -> Failure {
    match chain(error).any(|error| error.is::<TooMuch>()) {
        true => Failure::Malformed { what: "headers or framing beyond the limit" },
        false => Failure::Broken { host: host(uri) },
    }
}

/// An error, and what caused it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

/// The cause of an error. An io error hides the error that it wraps from `source`, and TLS errors are wrapped in this
/// way twice.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(|error| error.get_ref()) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Recognizes an error of the tunnel by its text, because hyper-util does not export the type. The texts are fixed and
/// quote nothing of a peer.
fn tunnel_problem(error: &(dyn Error + 'static)) -> Option<ProxyProblem> {
    match error.to_string().as_str() {
        "tunnel error: failed to create underlying connection" => Some(ProxyProblem::Unreachable),
        "tunnel error: proxy authorization required" => Some(ProxyProblem::Authentication),
        "tunnel error: proxy response headers too long" => Some(ProxyProblem::NotUnderstood),
        // hyper-util also reports these for a response that is not HTTP.
        "tunnel error: unsuccessful"
        | "tunnel error: unexpected end of file"
        | "tunnel error: io error establishing tunnel" => Some(ProxyProblem::Refused),
        _ => None,
    }
}
