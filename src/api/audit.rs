//! The audit record of a request: filled in while the request is handled, and written when its answer is decided.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;

use crate::cache::CacheState;
use crate::domain::freshness::Moment;
use crate::domain::identity::{Identity, IdpToken};
use crate::domain::policy::Operation;
use crate::domain::source::Source;
use crate::domain::user::UserId;
use crate::secret::Tag;
use crate::telemetry::audit::{CallEvent, Event, Name, TraceId};

use super::error::ApiError;
use super::params::connection;
use super::peer::Peer;
use super::request_id::RequestId;
use super::route::Matched;
use super::state::Services;
use super::trace;

/// What has become known of a request. Handlers record what only they know.
#[derive(Default)]
pub struct AuditRecord {
    /// The user, where the path names none or has been dropped before the request waits.
    pub user: Option<UserId>,
    /// The outcome of a request that was answered, where that is more than `answered`.
    pub outcome: Option<&'static str>,
    /// The fingerprint of the token that was served or reported.
    pub fingerprint: Option<Tag>,
    /// The connection of the token that was served, or that a call names.
    pub connection: Option<Name>,
    /// What is known of a call that is not sent on, or has no answer.
    pub call: Option<Box<CallEvent>>,
    cache: Option<CacheState>,
    source: Option<Source>,
}

/// The error that a request was answered with.
pub struct AuditedError {
    outcome: &'static str,
    code: &'static str,
}

impl AuditedError {
    /// The error, named as in `cloakroom_lookups_total` where that has a name for it.
    pub fn of(error: &ApiError) -> Self {
        let outcome = match error {
            ApiError::Lookup(why) if why.is_fact() => "negative",
            ApiError::InsufficientScope(_) => "negative",
            ApiError::Lookup(_) | ApiError::NotForgotten(_) | ApiError::Draining => "error",
            _ => "refused",
        };
        Self { outcome, code: error.code() }
    }
}

/// A call whose answer has ended, or whose client left before it had one.
pub struct ProxiedEnd {
    pub operation: Option<Operation>,
    /// The answer's status; `None` without an answer.
    pub status: Option<u16>,
    pub call: CallEvent,
    pub request_id: RequestId,
    pub trace: Option<TraceId>,
    pub took: Duration,
}

/// A request whose answer is decided.
pub struct Completed<'a> {
    pub route: Option<Matched<'a>>,
    pub head: &'a Parts,
    pub error: Option<AuditedError>,
    pub status: u16,
    pub request_id: &'a RequestId,
    pub begun: Moment,
}

impl AuditRecord {
    /// Records where a lookup's answer came from, and the token that it holds, if any.
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
            self.sent_with(state, identity, &token);
        }
    }

    /// A record of a request about this user and connection; an empty one is none.
    pub fn about(user: Option<UserId>, connection: &str) -> Self {
        let connection = (!connection.is_empty()).then(|| Name::new(connection));
        Self { user, connection, ..Self::default() }
    }

    /// Records the token that was served, or that a call was sent on with.
    pub fn sent_with(&mut self, state: CacheState, identity: &Identity, token: &IdpToken<'_>) {
        self.cache = Some(state);
        self.connection = Some(Name::new(identity.connection()));
        self.fingerprint = Some(token.fingerprint);
        self.source = Some(token.source);
    }

    /// Writes the line, if the audit log takes this event. A hit without a line costs two comparisons.
    pub fn end(self, services: &Services, peer: &Peer, completed: &Completed<'_>) {
        let Completed { route, head, error, status, request_id, begun } = completed;
        let operation = route.and_then(|matched| matched.spec.operation);
        // Probes, metrics and the API's description reveal nothing, and over TCP the kernel identifies no client.
        let Some(origin) = peer.origin.as_ref().filter(|_| error.is_some() || operation.is_some()) else {
            return;
        };
        let caller = peer.rights.caller();
        let event = |at| {
            let named = || UserId::from_path_segment(route.as_ref()?.user).ok();
            let asked = || connection(head.uri.query()?).map(|name| Name::new(&name));
            Event {
                at,
                listener: Arc::clone(&origin.listener),
                caller: Some(caller),
                pid: origin.pid,
                operation,
                user: self.user.or_else(named),
                connection: self.connection.or_else(asked),
                outcome: error.as_ref().map_or(self.outcome.unwrap_or("answered"), |error| error.outcome),
                status: Some(*status),
                code: error.as_ref().map(|error| error.code),
                cache: self.cache.map(CacheState::as_str),
                source: self.source.map(Source::as_str),
                fingerprint: self.fingerprint,
                request_id: request_id.to_string(),
                trace: trace::of(&head.headers),
                call: self.call.map(|mut call| {
                    call.end = error.as_ref().map_or(call.end, |error| error.code);
                    call
                }),
                took: services.clock.since(*begun),
                count: 1,
                until: None,
            }
        };
        match error {
            Some(error) => {
                let now = services.clock.now();
                services.audit.refused(caller.uid, error.code, now, || event(now));
            }
            None => {
                let is_notable = operation.is_some_and(|is| is_notable(is, self.cache));
                services.audit.write(is_notable, || event(services.clock.now()));
            }
        }
    }

    /// Writes the line of a call that has ended.
    pub fn end_proxied(self, services: &Services, peer: &Peer, ended: ProxiedEnd) {
        let Some(origin) = peer.origin.as_ref() else { return };
        let ProxiedEnd { operation, status, call, request_id, trace, took } = ended;
        services.audit.write(true, || Event {
            at: services.clock.now(),
            listener: Arc::clone(&origin.listener),
            caller: Some(peer.rights.caller()),
            pid: origin.pid,
            operation,
            user: self.user,
            connection: self.connection,
            outcome: status.map_or("left", |_| "answered"),
            status,
            code: None,
            cache: self.cache.map(CacheState::as_str),
            source: self.source.map(Source::as_str),
            fingerprint: self.fingerprint,
            request_id: request_id.to_string(),
            trace,
            call: Some(Box::new(call)),
            took,
            count: 1,
            until: None,
        });
    }
}

/// Whether a request that was answered is more than routine. A stale answer is, because Auth0 may no longer hold that
/// token.
fn is_notable(operation: Operation, cache: Option<CacheState>) -> bool {
    match operation {
        Operation::Token | Operation::Identities | Operation::Me => cache != Some(CacheState::Hit),
        Operation::Report | Operation::Purge | Operation::Reload | Operation::ManagementToken => true,
        // These are of answers of the daemon's own. A call that was sent on has its line when it ends.
        Operation::Proxy | Operation::MeProxy | Operation::ManagementApi => true,
        Operation::Status => false,
    }
}
