//! One request: who sent it, what it may do, and how its answer is counted, logged and written.

use std::sync::Arc;

use hyper::Response;
use hyper::http::request::Parts;

use crate::domain::freshness::Moment;
use crate::domain::policy::call::Call;
use crate::domain::policy::{self, Allowed, Operation};
use crate::domain::user::{Selector, UserId};
use crate::secret::Secret;
use crate::user_token::UserTokens;

use super::admission;
use super::audit::{AuditRecord, AuditedError, Completed};
use super::error::ApiError;
use super::handlers::until_shutdown;
use super::params::bearer;
use super::peer::Peer;
use super::request_id::RequestId;
use super::response::{AnswerBody, KeepAlive, Reply};
use super::route::{Matched, Route};
use super::state::Services;
use super::trace;

/// A request that is being answered.
pub(super) struct Exchange<'a> {
    pub services: &'a Arc<Services>,
    pub peer: Arc<Peer>,
    pub request_id: RequestId,
    pub head: Parts,
    pub begun: Moment,
}

/// A user token, and what verifies it.
pub(super) struct MyUser {
    token: Secret,
    verifier: Arc<UserTokens>,
}

impl Exchange<'_> {
    /// The route, if there is one. Over TCP only probes and metrics exist.
    pub fn route(&self) -> Option<Matched<'_>> {
        let is_there = |matched: &Matched<'_>| matched.spec.is_probe || self.peer.is_identified();
        Route::find(self.head.uri.path()).filter(is_there)
    }

    /// The response with this outcome. Counts and logs the request.
    pub fn end(
        &self,
        route: Option<Matched<'_>>,
        outcome: Result<Reply, ApiError>,
        record: AuditRecord,
        is_kept: bool,
    ) -> Response<AnswerBody> {
        let Self { services, peer, request_id, head, begun } = self;
        let spec = route.map(|matched| matched.spec);
        let name = spec.map_or("none", |spec| spec.name);
        let uid = peer.is_identified().then(|| peer.rights.caller().uid);
        let error = outcome.as_ref().err().map(AuditedError::of);
        let reply = outcome.unwrap_or_else(|refused| {
            services.request_counters.refused(&refused);
            let trace_id = trace::shown(trace::of(&head.headers));
            tracing::debug!(route = name, uid, code = refused.code(), %request_id, trace_id, "Request refused");
            // Also where the configuration has turned the route off.
            let asked = route.or_else(|| Route::find(head.uri.path()));
            match asked.is_some_and(|matched| matched.spec.route == Route::ManagementApi) {
                true => refused.auth0_reply(head.uri.path()),
                false => refused.reply(request_id.as_str(), head.uri.path()),
            }
        });
        let status = reply.status();
        services.request_counters.answered(spec, status);
        tracing::trace!(route = name, uid, status, %request_id, "Request answered");
        record.end(services, peer, &Completed { route, head, error, status, request_id, begun: *begun });
        reply.into_response(request_id.header(), self.keep_alive(is_kept))
    }

    /// What the answer says of the connection, which persists if `is_kept`.
    pub fn keep_alive(&self, is_kept: bool) -> KeepAlive {
        match (is_kept, self.peer.is_identified()) {
            (false, _) => KeepAlive::None,
            (true, true) => KeepAlive::OnSocket,
            (true, false) => KeepAlive::OverTcp,
        }
    }

    /// What the client may do to this user through this connection now, decided before any lookup.
    pub fn authorize(
        &self,
        operation: Operation,
        user: Option<&UserId>,
        connection: Option<&str>,
    ) -> Result<Allowed, ApiError> {
        let request = policy::Request { operation, user, connection, call: None };
        admission::authorize(&self.peer, &self.services.clock, request)
    }

    /// Whether the client may make `call` now, for this user if it is one of a provider's API.
    pub fn authorize_call(
        &self,
        operation: Operation,
        user: Option<&UserId>,
        connection: Option<&str>,
        call: Call<'_>,
    ) -> Result<Allowed, ApiError> {
        let request = policy::Request { operation, user, connection, call: Some(call) };
        admission::authorize(&self.peer, &self.services.clock, request)
    }

    /// The identities of `user` that the client may see, if it may do `operation`.
    pub fn shown(&self, operation: Operation, user: &UserId) -> Result<Selector, ApiError> {
        let within = self.authorize(operation, Some(user), None)?.connections;
        Ok(Selector { within, ..Selector::default() })
    }

    /// The user token of the request, which counts as a lookup whether or not it is valid.
    pub fn my_user(&self, operation: Operation) -> Result<MyUser, ApiError> {
        admission::count(&self.peer, &self.services.clock, &self.peer.rights.rates(operation))?;
        let verifier = self.services.user_tokens().ok_or(ApiError::MeIsOff)?;
        let token = bearer(&self.head.headers).map_err(ApiError::UserToken)?;
        Ok(MyUser { token, verifier })
    }

    /// Verifies a user token, and returns the user whom it names.
    pub async fn verify(&self, my: MyUser, record: &mut AuditRecord) -> Result<UserId, ApiError> {
        let verified = my.verifier.verify(&my.token, self.peer.flow());
        let user = until_shutdown(self.services, verified).await?;
        record.user = Some(user.clone());
        Ok(user)
    }
}
