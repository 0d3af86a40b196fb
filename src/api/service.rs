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
use hyper::{Request, Response};

use crate::cache::{Forgetting, IdentitiesQuery, Miss, Peeked, Query};
use crate::domain::freshness::Moment;
use crate::domain::policy::Operation;
use crate::domain::user::Selector;

use super::admission::admit;
use super::audit::AuditRecord;
use super::error::ApiError;
use super::exchange::{Exchange, MyUser};
use super::handlers::{self, until_shutdown};
use super::params::{TokenQuery, fingerprint, nothing, purge_query, token_query, user};
use super::peer::Peer;
use super::proxy;
use super::request_limits::{HeaderScan, read};
use super::response::{self, AnswerBody, Reply};
use super::route::{Matched, Route};
use super::state::Services;

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
pub fn answer<'a>(services: &'a Arc<Services>, peer: Arc<Peer>, request: Request<Incoming>) -> Answering<'a> {
    let begun = services.clock.now();
    let request_id = services.next_request_id();
    let (mut head, body) = request.into_parts();
    let scan = HeaderScan::of(&mut head.headers);
    let exchange = Exchange { services, peer, request_id, head, begun };
    let has_body = !body.is_end_stream();
    let (route, mut record) = (exchange.route(), AuditRecord::default());
    if route.is_some_and(|route| route.spec.is_proxied()) {
        return Answering::Later(Box::pin(exchange.send_on(scan, body)));
    }
    if has_body && exchange.peer.is_identified() {
        return Answering::Later(Box::pin(exchange.answer_with_body(scan, body)));
    }
    let admitted = admit(&exchange.peer, &exchange.head, &scan, route);
    let outcome = match admitted.and_then(|route| exchange.dispatch(route, &[], begun, &mut record)) {
        Ok(Dispatched::Reply(reply)) => Ok(reply),
        Err(refused) => Err(refused),
        Ok(Dispatched::Wait(waiting)) => {
            // The record contains the user already.
            let route = route.map(|Matched { spec, .. }| Matched { spec, user: "", rest: "" });
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

impl Exchange<'_> {
    /// The answer to a request, or what it waits for. Each route adds to `record` what only its code knows.
    fn dispatch(
        &self,
        Matched { spec, user: segment, .. }: Matched<'_>,
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
                return Ok(Dispatched::Wait(Waiting::MyToken(self.my_user(Operation::Me)?, query)));
            }
            Route::MyIdentities => {
                return Ok(Dispatched::Wait(Waiting::MyIdentities(self.my_user(Operation::Me)?)));
            }
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
            Route::Proxy | Route::MyProxy | Route::ManagementApi => return Err(ApiError::NoRoute),
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

    /// Sends the request on to another server, with a token that the client does not hold.
    async fn send_on(self, scan: HeaderScan, body: Incoming) -> Response<AnswerBody> {
        // Without the table of the configuration there is no such route.
        let is_offered = |route: &Matched<'_>| self.services.offers(route.spec);
        let (asked, mut record) = (self.route(), AuditRecord::default());
        let route = asked.filter(is_offered);
        let is_kept = body.is_end_stream() && scan.goes_on(&self.head);
        let outcome = match admit(&self.peer, &self.head, &scan, route) {
            Ok(route) => proxy::answer(&self, route, body, is_kept, &mut record).await,
            Err(ApiError::NoRoute) => Err(proxy::turned_off(asked)),
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok(answer) => answer,
            Err(error) => {
                let is_kept = is_kept && !error.ends_connection();
                self.end(route, Err(error), record, is_kept)
            }
        }
    }
}
