//! Admits requests: decides whether a request is answered at all, and what its client's rules permit.
//!
//! A request passes, in this order: limits of its header section, headers of forwarded requests, the request header, the
//! route and its method, and the client's right to the route's operation. Once its parameters are parsed, the rules
//! decide about the user and the connection. A client without rights learns nothing about users, not even whether an id
//! is well-formed.

use hyper::http::request::Parts;

use crate::clock::Clock;
use crate::domain::policy::{Allowed, Operation, Request};

use super::error::ApiError;
use super::peer::Peer;
use super::request_limits::HeaderScan;
use super::route::Matched;

/// Decides what precedes the request's body and parameters, and returns the route.
pub(super) fn admit<'r>(
    peer: &Peer,
    head: &Parts,
    scan: &HeaderScan,
    matched: Option<Matched<'r>>,
) -> Result<Matched<'r>, ApiError> {
    let matched = if peer.is_identified() {
        scan.check(head)?;
        let needs_header =
            peer.require_request_header && !matched.is_some_and(|matched| matched.spec.is_probe);
        if needs_header && !scan.is_meant() {
            return Err(ApiError::NoRequestHeader { is_there: scan.has_request_header() });
        }
        matched.ok_or(ApiError::NoRoute)?
    } else {
        matched.ok_or(ApiError::NotOpen)?
    };
    if !matched.spec.takes(&head.method) {
        return Err(ApiError::Method(matched.spec));
    }
    if let Some(operation) = matched.spec.operation {
        peer.rights.may(operation).map_err(ApiError::Forbidden)?;
    }
    Ok(matched)
}

/// What the client may do now, decided before any lookup. A lookup counts towards the rates of the rules that permit it.
pub(super) fn authorize(peer: &Peer, clock: &Clock, request: Request<'_>) -> Result<Allowed, ApiError> {
    let operation = request.operation;
    let allowed = peer.rights.decide(request).map_err(ApiError::Forbidden)?;
    // Lookups by user token are counted before the token is verified.
    if operation.is_lookup() && !matches!(operation, Operation::Me | Operation::MeProxy) {
        count(peer, clock, &allowed.rates)?;
    }
    Ok(allowed)
}

/// Counts a lookup of the client under each of these rules.
pub(super) fn count(peer: &Peer, clock: &Clock, rates: &[(usize, f64)]) -> Result<(), ApiError> {
    if rates.is_empty() {
        // Most rules have no rate; the clock is read only for those that do.
        return Ok(());
    }
    let now = clock.now();
    rates.iter().try_for_each(|(rule, rate)| {
        let taken = peer.rates.take(*rule, peer.rights.caller().uid, *rate, now);
        taken.map_err(|retry_after| ApiError::TooOften { retry_after })
    })
}
