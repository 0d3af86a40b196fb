//! A call of a provider's API: which token it carries, what its answer means, and the one repetition that a refused token
//! allows.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};
use hyper::{Request, Response, Uri};

use crate::api::audit::AuditRecord;
use crate::api::error::ApiError;
use crate::api::exchange::Exchange;
use crate::api::handlers::until_shutdown;
use crate::api::params;
use crate::api::response::AnswerBody;
use crate::api::route::{Matched, Route};
use crate::cache::{LookupOptions, Query, Served};
use crate::config::ProxiedApi;
use crate::domain::error::{Failure, LookupError};
use crate::domain::policy::Operation;
use crate::domain::policy::call::Call;
use crate::domain::priority::Flow;
use crate::domain::source::{SourceError, SourceFailure, SourceProblem};
use crate::domain::target::Target;
use crate::domain::user::Selector;
use crate::domain::verdict::Dialect;
use crate::secret::{SecretStr, Tag};
use crate::telemetry::audit::{CallEvent, Name};
use crate::transport::bearer;
use crate::transport::streaming::{StreamBody, StreamingTransport};

use super::address::CallAddress;
use super::answer::{Credential, Judged, respond};
use super::apis::ProxiedApis;
use super::awaited_answer::{self, AwaitedAnswer};
use super::download::AnswerLimits;
use super::framing::{self, BodyFraming};
use super::head_wait::{self, CallTimes, NoAnswer};
use super::headers::{self, UserAgent};
use super::links::{self, Links, Mount};
use super::record::RecordParts;
use super::upload::{BodyTooLarge, Upload};

/// Selects one of several accounts of the connection, as `?identity_user_id=` does for a lookup: the query belongs to the
/// provider.
const IDENTITY_USER_ID: HeaderName = HeaderName::from_static("cloakroom-identity-user-id");

/// LinkedIn may refuse a token right after the login that it was issued at. There, a token that came from Auth0 within this
/// time is not dropped.
const SETTLING_TIME: Duration = Duration::from_secs(60);

/// What a caller should wait after a provider could not be reached.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A call that a rule permits.
struct ProviderCall<'a> {
    exchange: &'a Exchange<'a>,
    route: Matched<'a>,
    framing: BodyFraming,
    apis: Arc<ProxiedApis>,
    api: Arc<ProxiedApi>,
    transport: Arc<dyn StreamingTransport>,
    address: CallAddress<'a>,
    query: Query,
    upload: Upload,
}

/// What making a call has led to.
struct Made {
    attempt: Attempt,
    is_repeated: bool,
}

/// The answer to one attempt.
struct Attempt {
    judged: Judged,
    served: Served,
}

/// A token that the provider does not accept any more.
struct Refused {
    /// The account that the token is of, as in [`DropBrakes::may_drop`](super::brakes::DropBrakes::may_drop).
    account: u64,
    fingerprint: Tag,
    /// Whether the refused call may be made once more.
    is_repeatable: bool,
}

/// The answer to a call of `route`, or why there is none. `record` is completed with what becomes known before that.
pub async fn answer(
    exchange: &Exchange<'_>,
    route: Matched<'_>,
    body: Incoming,
    is_kept: bool,
    record: &mut AuditRecord,
) -> Result<Response<AnswerBody>, ApiError> {
    let head = &exchange.head;
    let framing = framing::check(head, body.size_hint().exact()).map_err(ApiError::Framing)?;
    let address = CallAddress::of(&head.uri, route.rest).ok_or(ApiError::NoRoute)?;
    record.connection = Some(Name::new(&address.connection));
    let apis = exchange.services.proxied_apis();
    let found = apis.find(&address.connection, address.name);
    let event = |api: &ProxiedApi, method| CallEvent {
        connection: Arc::clone(&api.connection),
        api: Arc::clone(&api.name),
        method,
        ..CallEvent::default()
    };
    let method = || awaited_answer::shown(&head.method);
    record.call = found.as_ref().map(|(api, _)| Box::new(event(api, method())));
    let target = address.target().map_err(ApiError::Target)?;
    let (operation, user) = match route.spec.route {
        Route::MyProxy => {
            (Operation::MeProxy, exchange.verify(exchange.my_user(Operation::MeProxy)?, record).await?)
        }
        _ => (Operation::Proxy, params::user(route.user)?),
    };
    let call = Call { method: head.method.as_str(), name: Some(address.name), target: &target };
    let allowed = exchange.authorize_call(operation, Some(&user), Some(&address.connection), call)?;
    let Some((api, transport)) = found else {
        return Err(ApiError::Forbidden(exchange.peer.rights.refusal(operation)));
    };
    let (upload, body) =
        Upload::of(body, framing, api.request_bytes).map_err(|BodyTooLarge| too_large(&api))?;
    let permit = exchange.peer.begin_stream().map_err(|_| ApiError::NoStream)?;
    let selector = Selector {
        connection: Some(address.connection.clone().into_owned()),
        identity_user_id: identity_user_id(&head.headers)?,
        within: allowed.connections,
        provider: None,
    };
    let query = Query { user, selector, options: LookupOptions::default() };
    record.user = Some(query.user.clone());
    let event = CallEvent { pattern: allowed.call, ..event(&api, head.method.as_str().into()) };
    let awaited = AwaitedAnswer::new(exchange, route.spec, event, upload.clone(), record.user.clone());
    let call = ProviderCall { exchange, route, framing, apis, api, transport, address, query, upload };
    match call.make(body).await {
        Ok(Made { attempt: Attempt { judged, served }, is_repeated }) => {
            let (identity, token) = served.token();
            record.sent_with(served.state, identity, &token);
            let parts = awaited.answered(&judged, is_repeated, std::mem::take(record), permit);
            Ok(call.hand_on(judged, parts, token.access_token, is_kept))
        }
        Err(error) => {
            record.call = Some(Box::new(awaited.failed(error.code())));
            Err(error)
        }
    }
}

impl ProviderCall<'_> {
    /// Makes the call, and makes it once more if a refused token allows that.
    async fn make(&self, body: StreamBody) -> Result<Made, ApiError> {
        let services = self.exchange.services;
        let served =
            until_shutdown(services, services.cache.look_up(self.query.clone(), self.flow())).await?;
        let first = self.attempt(served, body).await?;
        let Some(refused) = self.condemned(&first) else {
            return Ok(Made { attempt: first, is_repeated: false });
        };
        Ok(match self.repeated(refused).await? {
            Some(second) => Made { attempt: second, is_repeated: true },
            None => Made { attempt: first, is_repeated: false },
        })
    }

    /// The answer to the client.
    fn hand_on(
        &self,
        judged: Judged,
        parts: RecordParts,
        token: SecretStr<'_>,
        is_kept: bool,
    ) -> Response<AnswerBody> {
        let base = self.base();
        let mounts: Vec<_> = self.apis.of_connection(&self.api.connection).map(|api| mount(api)).collect();
        let links = Links {
            host: links::caller_host(&self.exchange.head.headers),
            base: &base,
            current: mount(&self.api),
            target: self.address.tail,
            mounts: &mounts,
            is_accepted: |target| Target::judge(target).is_ok(),
        };
        let limits = AnswerLimits { bytes: self.api.response_bytes, idle_timeout: self.api.idle_timeout };
        let credential =
            Credential { token: token.expose().as_bytes(), connection: Some(&self.api.connection) };
        respond(judged, parts, &links, credential, limits, self.exchange.keep_alive(is_kept))
    }

    /// The path of the proxy before the name of an API, as the client sent it.
    fn base(&self) -> String {
        let connection = self.address.connection_segment;
        match self.route.spec.route {
            Route::MyProxy => format!("/v1/me/proxy/{connection}"),
            _ => format!("/v1/users/{}/proxy/{connection}", self.route.user),
        }
    }

    fn flow(&self) -> Flow {
        self.exchange.peer.flow()
    }

    /// Sends the request with the token in `served`, and judges the answer.
    async fn attempt(&self, served: Served, body: StreamBody) -> Result<Attempt, ApiError> {
        let request = self.request(&served, body)?;
        let times = CallTimes { head: self.api.head_timeout, idle: self.api.idle_timeout };
        self.upload.restart();
        let opening = self.transport.open(request);
        let response = head_wait::head(opening, &self.upload, times);
        let response = until_shutdown(self.exchange.services, async {
            response.await.map_err(|why| self.no_answer(why))
        })
        .await?;
        Ok(Attempt { judged: Judged::of(response, self.api.dialect).await, served })
    }

    /// The answer to the same request with another token than the one that was `refused`, if there is another and the
    /// request can be sent once more. The refused token is dropped either way, unless the brakes keep it.
    ///
    /// # Errors
    /// The second attempt has no answer. The provider may have acted on it, so the first answer, that it has not, must
    /// not be handed on.
    async fn repeated(&self, refused: Refused) -> Result<Option<Attempt>, ApiError> {
        let (services, user) = (self.exchange.services, &self.query.user);
        let Refused { account, fingerprint, is_repeatable } = refused;
        let brakes = &services.drop_brakes;
        if brakes.may_drop(user, account, fingerprint, services.clock.now()) {
            self.drop_token(fingerprint);
        }
        if !is_repeatable {
            return Ok(None);
        }
        let other = services.cache.look_up(self.query.clone(), self.flow());
        let other = until_shutdown(services, other).await.ok();
        let Some(other) = other.filter(|other| other.token().1.fingerprint != fingerprint) else {
            return Ok(None);
        };
        let Some(body) = self.upload.again() else { return Ok(None) };
        let second = self.attempt(other, body).await?;
        let refused = self.condemned(&second).map(|refused| refused.fingerprint);
        let refused = refused.filter(|other| brakes.may_drop_replacement(user, account, fingerprint, *other));
        if let Some(replacement) = refused {
            self.drop_token(replacement);
        }
        Ok(Some(second))
    }

    /// Reports the token as refused. A budget that has no room leaves it as it is.
    fn drop_token(&self, fingerprint: Tag) {
        let Query { user, selector, .. } = &self.query;
        let reported = self.exchange.services.cache.report(self.flow(), user, fingerprint, selector);
        if reported.is_err() {
            tracing::debug!("A refused token is kept, because the budget for Auth0 has no room");
        }
    }

    /// The token of an attempt whose answer shows that the token is of no use any more.
    fn condemned(&self, Attempt { judged, served }: &Attempt) -> Option<Refused> {
        let is_settling = || served.fetched().age(self.exchange.services.clock.now()) < SETTLING_TIME;
        judged.verdict.as_ref().filter(|verdict| verdict.condemns_token())?;
        let is_spared = self.api.dialect == Dialect::LinkedIn && is_settling();
        let (identity, token) = served.token();
        (!is_spared).then(|| Refused {
            account: identity.account(),
            fingerprint: token.fingerprint,
            is_repeatable: self.upload.is_held() && judged.permits_retry(&self.exchange.head.method),
        })
    }

    fn request(&self, served: &Served, body: StreamBody) -> Result<Request<StreamBody>, ApiError> {
        let (_, token) = served.token();
        if token.access_token_secret.is_some() {
            return Err(ApiError::ProviderUnsupported);
        }
        let uri = format!("https://{}{}{}", self.api.authority, self.api.prefix, self.address.tail);
        let mut request = Request::new(body);
        *request.uri_mut() = Uri::try_from(uri).map_err(|_| ApiError::NoRoute)?;
        *request.method_mut() = self.exchange.head.method.clone();
        *request.headers_mut() = headers::request(&self.exchange.head.headers, UserAgent::Caller);
        self.framing.write(request.headers_mut());
        let authorization = bearer::header(token.access_token).ok_or(ApiError::ProviderUnsupported)?;
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Ok(request)
    }

    fn no_answer(&self, why: NoAnswer<Failure>) -> ApiError {
        let host = Arc::clone(&self.api.authority);
        let failure = match why {
            NoAnswer::TooLarge => return too_large(&self.api),
            NoAnswer::ClientLate => {
                return ApiError::BodyStalled { limit: self.api.idle_timeout, is_fixed: false };
            }
            NoAnswer::ClientBroke => return ApiError::BodyBroken,
            NoAnswer::ProviderLate => SourceFailure::TimedOut { host },
            NoAnswer::Failed(failure) => SourceFailure::of(&host, &failure),
        };
        let problem = SourceProblem::Unavailable { failure, retry_after: RETRY_AFTER };
        LookupError::Source(SourceError { connection: Arc::clone(&self.api.connection), problem }).into()
    }
}

fn too_large(api: &ProxiedApi) -> ApiError {
    ApiError::RequestTooLarge { limit: api.request_bytes, is_fixed: false }
}

/// How links to an API are found.
fn mount(api: &ProxiedApi) -> Mount<'_> {
    Mount { authority: &api.authority, prefix: &api.prefix, name: &api.name }
}

/// The account that the request selects, if it does.
fn identity_user_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDENTITY_USER_ID) else { return Ok(None) };
    match value.to_str() {
        Ok(id) if !id.is_empty() => Ok(Some(id.to_owned())),
        _ => Err(ApiError::InvalidRequest {
            parameter: IDENTITY_USER_ID.as_str().into(),
            detail: "send the account's id at its provider, as /v1/users/{user_id}/identities lists it"
                .into(),
        }),
    }
}
