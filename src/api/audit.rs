//! What the audit log is told of a request: gathered on its way, written once its answer is decided.

use std::sync::Arc;

use hyper::Uri;
use hyper::header::HeaderMap;
use tokio::net::UnixStream;

use crate::cache::CacheState;
use crate::domain::freshness::Moment;
use crate::domain::identity::{Identity, IdpToken};
use crate::domain::policy::Operation;
use crate::domain::user::UserId;
use crate::secret::Tag;
use crate::telemetry::audit::{Event, Name};

use super::error::ApiError;
use super::params::connection;
use super::peer::Peer;
use super::request_id::RequestId;
use super::route::{Route, RouteSpec};
use super::state::Services;
use super::trace;

/// Where a connection comes from, as far as nobody but the audit log may know: no right depends on a pid.
#[derive(Clone, Debug)]
pub struct Origin {
    listener: Arc<str>,
    pid: Option<u32>,
}

impl Origin {
    /// Asks the kernel for the process at the other end of `stream`, which `listener` has accepted.
    pub fn new(listener: Arc<str>, stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        // 0 stands for a process of another pid namespace.
        Self { listener, pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0) }
    }
}

/// What has become known of a request. Handlers note what only they know.
pub struct AuditRecord {
    begun: Moment,
    /// The user, where the path does not name them.
    pub user: Option<UserId>,
    /// What came of a request that was answered, if that is more than the answer.
    pub outcome: Option<&'static str>,
    /// The token that was handed out, or reported.
    pub fingerprint: Option<Tag>,
    cache: Option<CacheState>,
    connection: Option<Name>,
}

/// Why a request was not answered.
pub struct Refusal {
    outcome: &'static str,
    code: &'static str,
}

impl Refusal {
    /// In the words of the metrics, as far as these know the like.
    pub fn of(refused: &ApiError) -> Self {
        let outcome = match refused {
            ApiError::Lookup(why) if why.is_fact() => "negative",
            ApiError::Lookup(_) | ApiError::Draining => "error",
            _ => "refused",
        };
        Self { outcome, code: refused.code() }
    }
}

/// What is known of a request when it is over.
pub struct Completed<'a> {
    pub route: Option<&'static RouteSpec>,
    pub uri: &'a Uri,
    pub refusal: Option<Refusal>,
    pub status: u16,
    pub request_id: &'a RequestId,
    pub headers: &'a HeaderMap,
}

impl AuditRecord {
    /// A request has come.
    pub fn begin(begun: Moment) -> Self {
        Self { begun, user: None, outcome: None, fingerprint: None, cache: None, connection: None }
    }

    /// A lookup is answered: from where, and with which token, if with one.
    pub fn served(
        &mut self,
        services: &Services,
        state: CacheState,
        token: Option<(&Identity, IdpToken<'_>)>,
    ) {
        self.cache = Some(state);
        if let Some((identity, token)) = token
            && services.audit.takes(state != CacheState::Hit)
        {
            self.connection = Some(Name::new(identity.connection()));
            self.fingerprint = Some(token.fingerprint);
        }
    }

    /// The answer is decided. A hit costs no more than the question whether it is to be written.
    pub fn end(self, services: &Services, peer: &Peer, over: Completed<'_>) {
        let operation = over.route.and_then(|route| route.operation);
        if over.refusal.is_none() && operation.is_none() {
            // Probes, metrics and the interface's description tell nothing about anybody.
            return;
        }
        let (refusal, caller) = (over.refusal.as_ref(), peer.rights.caller());
        let event = |at| {
            let named = || UserId::from_path_segment(Route::find(over.uri.path())?.user).ok();
            let asked = || connection(over.uri.query()?).map(|name| Name::new(&name));
            Event {
                at,
                listener: Arc::clone(&peer.origin.listener),
                caller: Some(caller),
                pid: peer.origin.pid,
                operation,
                user: self.user.or_else(named),
                connection: self.connection.or_else(asked),
                outcome: refusal.map_or(self.outcome.unwrap_or("answered"), |why| why.outcome),
                status: over.status,
                code: refusal.map(|why| why.code),
                cache: self.cache.map(CacheState::as_str),
                fingerprint: self.fingerprint,
                request_id: over.request_id.to_string(),
                trace: trace::of(over.headers),
                took: services.clock.since(self.begun),
                count: 1,
                until: None,
            }
        };
        match refusal {
            Some(why) => {
                let now = services.clock.now();
                services.audit.refused(caller.uid, why.code, now, || event(now));
            }
            None => {
                let is_notable = operation.is_some_and(|is| is_notable(is, self.cache));
                services.audit.write(is_notable, || event(services.clock.now()));
            }
        }
    }
}

/// Whether a request that was answered is more than routine. A stale answer is: for that token nobody knows whether
/// Auth0 would still give it away.
fn is_notable(operation: Operation, cache: Option<CacheState>) -> bool {
    match operation {
        Operation::Token | Operation::Identities | Operation::Me => cache != Some(CacheState::Hit),
        Operation::Report | Operation::Purge | Operation::Reload | Operation::ManagementToken => true,
        Operation::Status => false,
    }
}
