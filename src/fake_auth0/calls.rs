//! The ordered log of calls, without most headers and bodies, and the maximum number of concurrent calls.

use std::collections::{HashMap, VecDeque};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::{Method, Request, StatusCode};

use crate::domain::freshness::Moment;

use super::paths::user_in_path;
use super::vault;

/// How many calls the log keeps. A tenant may run for weeks; tests look at far fewer.
const KEPT: usize = 100_000;

/// An endpoint of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/oauth/token`, for a Management token.
    Token,
    /// `/oauth/token`, for a token of Token Vault.
    Exchange,
    /// `GET /api/v2/users/{id}`.
    User,
    /// Any other call below `/api/v2/`.
    ManagementApi,
    /// `/.well-known/jwks.json`.
    Keys,
    /// `/.well-known/openid-configuration`.
    Discovery,
    /// Any other path, which gets a 404.
    Other,
}

impl Endpoint {
    pub(super) fn of(request: &Request<Bytes>) -> Self {
        match request.uri().path() {
            "/oauth/token" if vault::is_exchange(request.body()) => Self::Exchange,
            "/oauth/token" => Self::Token,
            "/.well-known/jwks.json" => Self::Keys,
            "/.well-known/openid-configuration" => Self::Discovery,
            path => match path.strip_prefix("/api/v2/users/") {
                Some(id) if !id.is_empty() && !id.contains('/') && request.method() == Method::GET => {
                    Self::User
                }
                _ if path.starts_with("/api/v2/") => Self::ManagementApi,
                _ => Self::Other,
            },
        }
    }
}

/// One call that reached the tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// When it arrived, by the tenant's clock.
    pub at: Moment,
    /// The requested endpoint.
    pub endpoint: Endpoint,
    /// The method.
    pub method: Method,
    /// Path and query exactly as received.
    pub path: String,
    /// The requested user, decoded once, also if more follows in the path.
    pub user_id: Option<String>,
    /// The application that the bearer token names, which is not verified here.
    pub client_id: Option<String>,
    /// `Auth0-Custom-Domain`.
    pub custom_domain: Option<String>,
    /// `Auth0-Client`.
    pub auth0_client: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The length of the body.
    pub body_bytes: usize,
    /// The SHA-256 of the body.
    pub body_sha256: Vec<u8>,
    /// The status of the answer; `None` while the call is under way, or if no status was sent.
    pub status: Option<StatusCode>,
    /// Whether another call of the same endpoint, and of the same user if there is one, ran at the same time.
    pub overlapped: bool,
}

impl Call {
    /// Describes a request that has arrived.
    pub(super) fn of(request: &Request<Bytes>, at: Moment) -> Self {
        let field = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        Self {
            at,
            endpoint: Endpoint::of(request),
            method: request.method().clone(),
            path: request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned(),
            user_id: user_in_path(request.uri().path()),
            client_id: field("authorization").as_deref().and_then(client_in),
            custom_domain: field("auth0-custom-domain"),
            auth0_client: field("auth0-client"),
            user_agent: field("user-agent"),
            body_bytes: request.body().len(),
            body_sha256: digest(&SHA256, request.body()).as_ref().to_vec(),
            status: None,
            overlapped: false,
        }
    }
}

/// The application that a bearer token was issued to.
fn client_in(authorization: &str) -> Option<String> {
    let (_, token) = authorization.split_once(' ')?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("azp")?.as_str()?.to_owned())
}

#[derive(Default)]
pub(super) struct Calls {
    log: VecDeque<Entry>,
    begun: u64,
    most: HashMap<Endpoint, usize>,
    most_for: HashMap<String, usize>,
}

struct Entry {
    number: u64,
    underway: bool,
    call: Call,
}

impl Calls {
    /// Records the arrival of a call. Returns its number for [`Calls::end`].
    pub fn begin(&mut self, call: Call) -> u64 {
        self.begun += 1;
        self.log.push_back(Entry { number: self.begun, underway: true, call });
        self.note_overlaps();
        while self.log.len() > KEPT {
            self.log.pop_front();
        }
        self.begun
    }

    /// Compares the newest call with the others that are under way.
    fn note_overlaps(&mut self) {
        let Some(Entry { call: newest, .. }) = self.log.back() else { return };
        let (endpoint, user) = (newest.endpoint, newest.user_id.clone());
        let same_endpoint = |entry: &&mut Entry| entry.underway && entry.call.endpoint == endpoint;

        let all = self.log.iter_mut().filter(same_endpoint).count();
        let most = self.most.entry(endpoint).or_default();
        *most = (*most).max(all);

        let mut alike: Vec<_> =
            self.log.iter_mut().filter(same_endpoint).filter(|entry| entry.call.user_id == user).collect();
        if alike.len() > 1 {
            alike.iter_mut().for_each(|entry| entry.call.overlapped = true);
        }
        if let Some(user) = user {
            let most = self.most_for.entry(user).or_default();
            *most = (*most).max(alike.len());
        }
    }

    /// Records the end of a call.
    pub fn end(&mut self, number: u64, status: Option<StatusCode>) {
        if let Some(entry) = self.log.iter_mut().rev().find(|entry| entry.number == number) {
            entry.underway = false;
            entry.call.status = status;
        }
    }

    pub fn begun(&self) -> u64 {
        self.begun
    }

    pub fn list(&self) -> Vec<Call> {
        self.log.iter().map(|entry| entry.call.clone()).collect()
    }

    pub fn forget(&mut self) {
        self.log.retain(|entry| entry.underway);
        self.most.clear();
        self.most_for.clear();
    }

    pub fn max_concurrent(&self, endpoint: Endpoint) -> usize {
        self.most.get(&endpoint).copied().unwrap_or(0)
    }

    pub fn max_concurrent_for(&self, user_id: &str) -> usize {
        self.most_for.get(user_id).copied().unwrap_or(0)
    }
}
