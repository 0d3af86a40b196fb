//! Dispatches each admitted request to its route, and ends its answer.
//!
//! What `admission.rs` decides comes first, then the body is read, and only then the parameters are parsed.
//!
//! Cache hits are synchronous. Only requests that must wait allocate a future; otherwise every hit would copy the 1.6
//! KB future of a miss (16,432 instructions per hit with a future, 15,942 without).

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::cache::{Forgetting, IdentitiesQuery, Miss, Peeked, Query};
use crate::domain::freshness::Moment;
use crate::domain::policy::{self, Allowed, Operation};
use crate::domain::user::{Selector, UserId};
use crate::secret::Secret;
use crate::user_token::UserTokens;

use super::admission::{self, admit};
use super::audit::{AuditRecord, AuditedError, Completed};
use super::error::ApiError;
use super::handlers::{self, until_shutdown};
use super::params::{TokenQuery, bearer, fingerprint, nothing, purge_query, token_query, user};
use super::peer::Peer;
use super::request_id::RequestId;
use super::request_limits::{HeaderScan, read};
use super::response::{self, AnswerBody, KeepAlive, Reply};
use super::route::{Matched, Route};
use super::state::Services;
use super::trace;

/// The answer to a request.
pub enum Answering<'a> {
    /// The answer, as for most requests.
    Now(Response<AnswerBody>),
    /// A future of the answer, which waits for Auth0, a reload, a body or a provider.
    Later(Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send + 'a>>),
}

impl Answering<'_> {
    /// The response, once its head is complete.
    pub async fn response(self) -> Response<AnswerBody> {
        match self {
            Self::Now(response) => response,
            Self::Later(response) => response.await,
        }
    }
}

/// Answers one request of `peer`.
pub fn answer<'a>(services: &'a Services, peer: Arc<Peer>, request: Request<Incoming>) -> Answering<'a> {
    let begun = services.clock.now();
    let request_id = services.next_request_id();
    let (mut head, body) = request.into_parts();
    let scan = HeaderScan::of(&mut head.headers);
    let exchange = Exchange { services, peer, request_id, head, begun };
    let has_body = !body.is_end_stream();
    if has_body && exchange.peer.is_identified() {
        return Answering::Later(Box::pin(exchange.answer_with_body(scan, body)));
    }
    let (route, mut record) = (exchange.route(), AuditRecord::default());
    let admitted = admit(&exchange.peer, &exchange.head, &scan, route);
    let outcome = match admitted.and_then(|route| exchange.dispatch(route, &[], begun, &mut record)) {
        Ok(Dispatched::Reply(reply)) => Ok(reply),
        Err(refused) => Err(refused),
        Ok(Dispatched::Wait(waiting)) => {
            // The record contains the user already.
            let route = route.map(|matched| Matched { user: "", ..matched });
            return Answering::Later(Box::pin(async move {
                let outcome = exchange.wait(waiting, &mut record).await;
                let is_kept = scan.goes_on(&exchange.head);
                exchange.end(route, outcome, record, is_kept)
            }));
        }
    };
    // With an unread body, hyper may have to close the connection.
    let is_kept = !has_body && scan.goes_on(&exchange.head);
    Answering::Now(exchange.end(route, outcome, record, is_kept))
}

/// A request that is being answered.
struct Exchange<'a> {
    services: &'a Services,
    peer: Arc<Peer>,
    request_id: RequestId,
    head: Parts,
    begun: Moment,
}

/// The dispatcher's result for a request.
enum Dispatched {
    /// The reply, without waiting.
    Reply(Reply),
    /// The reply needs a wait.
    Wait(Waiting),
}

/// What a request waits for, with everything that its answer needs afterwards.
enum Waiting {
    Token(Miss<Query>, Option<String>),
    Identities(Miss<IdentitiesQuery>, Selector),
    MyToken(MyUser, TokenQuery),
    MyIdentities(MyUser),
    ManagementToken,
    Reload,
    Forget(Forgetting),
}

/// A user token, and what verifies it.
struct MyUser {
    token: Secret,
    verifier: Arc<UserTokens>,
}

impl Exchange<'_> {
    /// The route, if there is one. Over TCP only probes and metrics exist.
    fn route(&self) -> Option<Matched<'_>> {
        let is_there = |matched: &Matched<'_>| matched.spec.is_probe || self.peer.is_identified();
        Route::find(self.head.uri.path()).filter(is_there)
    }

    /// The answer to a request, or what it waits for. Each route adds to `record` what only its code knows.
    fn dispatch(
        &self,
        Matched { spec, user: segment }: Matched<'_>,
        body: &[u8],
        now: Moment,
        record: &mut AuditRecord,
    ) -> Result<Dispatched, ApiError> {
        let (services, flow) = (self.services, self.peer.flow());
        let query = self.head.uri.query().unwrap_or_default();
        // Over TCP queries are ignored: monitors add some of their own.
        if spec.doc.query.is_empty() && self.peer.is_identified() {
            nothing(query)?;
        }
        let reply = match spec.route {
            Route::Token => {
                let (user, query) = (user(segment)?, token_query(query)?);
                let TokenQuery { mut selector, options, scope } = query;
                selector.within = self
                    .authorize(Operation::Token, Some(&user), selector.connection.as_deref())?
                    .connections;
                match services.cache.peek(Query { user, selector, options }, flow, now) {
                    Peeked::Ready(answer) => handlers::token(services, &answer?, scope.as_deref(), record)?,
                    Peeked::Miss(miss) => {
                        record.user = Some(miss.user().clone());
                        return Ok(Dispatched::Wait(Waiting::Token(miss, scope)));
                    }
                }
            }
            Route::Identities => {
                let user = user(segment)?;
                let shown = self.shown(Operation::Identities, &user)?;
                match services.cache.peek(IdentitiesQuery { user }, flow, now) {
                    Peeked::Ready(answer) => handlers::identities(services, &answer?, &shown, record),
                    Peeked::Miss(miss) => {
                        record.user = Some(miss.user().clone());
                        return Ok(Dispatched::Wait(Waiting::Identities(miss, shown)));
                    }
                }
            }
            Route::MyToken => {
                let query = token_query(query)?;
                return Ok(Dispatched::Wait(Waiting::MyToken(self.my_user()?, query)));
            }
            Route::MyIdentities => return Ok(Dispatched::Wait(Waiting::MyIdentities(self.my_user()?))),
            Route::Report => {
                let (user, fingerprint) = (user(segment)?, fingerprint(body)?);
                let shown = self.shown(Operation::Report, &user)?;
                handlers::report(services, flow, &user, fingerprint, &shown, record)?
            }
            Route::User => {
                let (user, credentials) = (user(segment)?, purge_query(query)?);
                self.authorize(Operation::Purge, Some(&user), None)?;
                services.cache.purge(&user);
                if credentials {
                    return Ok(Dispatched::Wait(Waiting::Forget(services.cache.forget(&user))));
                }
                response::done()
            }
            Route::Users => {
                let credentials = purge_query(query)?;
                self.authorize(Operation::Purge, None, None)?;
                services.cache.purge_all();
                if credentials {
                    return Ok(Dispatched::Wait(Waiting::Forget(services.cache.forget_all())));
                }
                response::done()
            }
            Route::ManagementToken => {
                self.authorize(Operation::ManagementToken, None, None)?;
                return Ok(Dispatched::Wait(Waiting::ManagementToken));
            }
            Route::Reload => {
                self.authorize(Operation::Reload, None, None)?;
                return Ok(Dispatched::Wait(Waiting::Reload));
            }
            Route::Status => response::ok(&services.status()),
            Route::OpenApi => response::document(include_str!("openapi.json")),
            Route::Metrics => handlers::metrics(services, &self.head.headers),
            Route::Live => response::probe(Ok(Cow::Borrowed("live"))),
            Route::Started => response::probe(services.started()),
            Route::Ready => response::probe(services.ready()),
        };
        Ok(Dispatched::Reply(reply))
    }

    /// The answer of a request that waits.
    async fn wait(&self, waiting: Waiting, record: &mut AuditRecord) -> Result<Reply, ApiError> {
        let (services, flow) = (self.services, self.peer.flow());
        match waiting {
            Waiting::Token(miss, scope) => {
                let served = until_shutdown(services, services.cache.fetch(miss)).await?;
                handlers::token(services, &served, scope.as_deref(), record)
            }
            Waiting::Identities(miss, shown) => {
                let served = until_shutdown(services, services.cache.fetch(miss)).await?;
                Ok(handlers::identities(services, &served, &shown, record))
            }
            Waiting::MyToken(my, TokenQuery { mut selector, options, scope }) => {
                let user = self.verify(my, record).await?;
                selector.within =
                    self.authorize(Operation::Me, Some(&user), selector.connection.as_deref())?.connections;
                let lookup = services.cache.look_up(Query { user, selector, options }, flow);
                let served = until_shutdown(services, lookup).await?;
                handlers::token(services, &served, scope.as_deref(), record)
            }
            Waiting::MyIdentities(my) => {
                let user = self.verify(my, record).await?;
                let shown = self.shown(Operation::Me, &user)?;
                let lookup = services.cache.look_up(IdentitiesQuery { user }, flow);
                let served = until_shutdown(services, lookup).await?;
                Ok(handlers::identities(services, &served, &shown, record))
            }
            Waiting::ManagementToken => handlers::management_token(services).await,
            Waiting::Reload => handlers::reload(services).await,
            Waiting::Forget(forgetting) => {
                forgetting.await.map_err(ApiError::NotForgotten)?;
                Ok(response::done())
            }
        }
    }

    /// Answers a request with a body. The body is read also where the route takes none, so that the connection can
    /// persist.
    async fn answer_with_body(self, scan: HeaderScan, body: Incoming) -> Response<AnswerBody> {
        let (route, mut record) = (self.route(), AuditRecord::default());
        let mut is_kept = false;
        let outcome = async {
            let route = admit(&self.peer, &self.head, &scan, route)?;
            let body = read(body).await?;
            is_kept = scan.goes_on(&self.head);
            match self.dispatch(route, &body, self.services.clock.now(), &mut record)? {
                Dispatched::Reply(reply) => Ok(reply),
                Dispatched::Wait(waiting) => self.wait(waiting, &mut record).await,
            }
        }
        .await;
        self.end(route, outcome, record, is_kept)
    }

    /// The response with this outcome. Counts and logs the request.
    fn end(
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
            refused.reply(request_id.as_str(), head.uri.path())
        });
        let status = reply.status();
        services.request_counters.answered(spec, status);
        tracing::trace!(route = name, uid, status, %request_id, "Request answered");
        record.end(services, peer, &Completed { route, head, error, status, request_id, begun: *begun });
        let keep_alive = match (is_kept, peer.is_identified()) {
            (false, _) => KeepAlive::None,
            (true, true) => KeepAlive::OnSocket,
            (true, false) => KeepAlive::OverTcp,
        };
        reply.into_response(request_id.header(), keep_alive)
    }

    /// What the client may do to this user through this connection now, decided before any lookup.
    fn authorize(
        &self,
        operation: Operation,
        user: Option<&UserId>,
        connection: Option<&str>,
    ) -> Result<Allowed, ApiError> {
        let request = policy::Request { operation, user, connection, call: None };
        admission::authorize(&self.peer, &self.services.clock, request)
    }

    /// The identities of `user` that the client may see, if it may do `operation`.
    fn shown(&self, operation: Operation, user: &UserId) -> Result<Selector, ApiError> {
        let within = self.authorize(operation, Some(user), None)?.connections;
        Ok(Selector { within, ..Selector::default() })
    }

    /// The user token of the request, which counts as a lookup whether or not it is valid.
    fn my_user(&self) -> Result<MyUser, ApiError> {
        admission::count(&self.peer, &self.services.clock, &self.peer.rights.rates(Operation::Me))?;
        let verifier = self.services.user_tokens().ok_or(ApiError::MeIsOff)?;
        let token = bearer(&self.head.headers).map_err(ApiError::UserToken)?;
        Ok(MyUser { token, verifier })
    }

    /// Verifies a user token, and returns the user whom it names.
    async fn verify(&self, my: MyUser, record: &mut AuditRecord) -> Result<UserId, ApiError> {
        let verified = my.verifier.verify(&my.token, self.peer.flow());
        let user = until_shutdown(self.services, verified).await?;
        record.user = Some(user.clone());
        Ok(user)
    }
}
