//! A call whose answer has not come: what is counted and recorded if none comes, because the client leaves or because
//! the call fails.

use std::sync::Arc;

use hyper::Method;

use crate::api::audit::{AuditRecord, ProxiedEnd};
use crate::api::exchange::Exchange;
use crate::api::route::RouteSpec;
use crate::api::streams::StreamPermit;
use crate::api::trace;
use crate::domain::user::UserId;
use crate::domain::verdict::Verdict;
use crate::telemetry::audit::CallEvent;

use super::answer::Judged;
use super::record::RecordParts;
use super::upload::Upload;

/// Methods that an audit line names although no rule does. Any other one is text of the client's choosing.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// The method of a call that no rule has permitted, as a line shows it.
pub fn shown(method: &Method) -> String {
    METHODS.iter().find(|known| *known == method).map_or("other", Method::as_str).into()
}

/// A permitted call that waits for its answer. Dropped on the way, it counts as one whose client has left, and has a line
/// that says so: what was sent by then may have taken effect at the provider.
pub struct AwaitedAnswer<'a> {
    exchange: &'a Exchange<'a>,
    spec: &'static RouteSpec,
    call: Option<CallEvent>,
    upload: Upload,
    user: Option<UserId>,
}

impl<'a> AwaitedAnswer<'a> {
    /// The wait for the answer to `call`, whose body is watched by `upload`.
    pub fn new(
        exchange: &'a Exchange<'a>,
        spec: &'static RouteSpec,
        call: CallEvent,
        upload: Upload,
        user: Option<UserId>,
    ) -> Self {
        Self { exchange, spec, call: Some(call), upload, user }
    }

    /// Ends the wait with an answer, which is counted when its body has ended. `permit` is held until then.
    pub fn answered(
        mut self,
        judged: &Judged,
        is_repeated: bool,
        audit: AuditRecord,
        permit: StreamPermit,
    ) -> RecordParts {
        let Exchange { services, peer, request_id, head, begun } = self.exchange;
        RecordParts {
            services: Arc::clone(services),
            peer: Arc::clone(peer),
            spec: self.spec,
            audit,
            call: CallEvent {
                verdict: judged.verdict.as_ref().map(Verdict::as_str),
                is_repeated,
                head: Some(services.clock.since(*begun)),
                ..self.call.take().unwrap_or_default()
            },
            status: judged.status(),
            request_id: *request_id,
            trace: trace::of(&head.headers),
            begun: *begun,
            upload: self.upload.clone(),
            permit,
        }
    }

    /// Counts the call as one that failed with the error of this code, and returns what the line says of it.
    pub fn failed(mut self, code: &'static str) -> CallEvent {
        self.end(code).unwrap_or_default()
    }

    fn end(&mut self, end: &'static str) -> Option<CallEvent> {
        let call = CallEvent { sent: self.upload.sent(), end, ..self.call.take()? };
        self.exchange.services.counters.calls.ended(&call, None);
        Some(call)
    }
}

impl Drop for AwaitedAnswer<'_> {
    fn drop(&mut self) {
        let Some(call) = self.end("left") else { return };
        let Exchange { services, peer, request_id, head, begun } = self.exchange;
        let audit = AuditRecord::about(self.user.clone(), &call.connection);
        let ended = ProxiedEnd {
            operation: self.spec.operation,
            status: None,
            call,
            request_id: *request_id,
            trace: trace::of(&head.headers),
            took: services.clock.since(*begun),
        };
        audit.end_proxied(services, peer, ended);
    }
}
