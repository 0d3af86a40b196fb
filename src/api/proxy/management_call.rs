//! A call of the Management API, with the token of the client in `[management_api]`, which reads no users' tokens.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response, Uri};

use crate::api::audit::AuditRecord;
use crate::api::error::ApiError;
use crate::api::exchange::Exchange;
use crate::api::handlers::until_shutdown;
use crate::api::response::AnswerBody;
use crate::api::route::Matched;
use crate::api::state::Services;
use crate::domain::policy::Operation;
use crate::domain::policy::call::Call;
use crate::domain::target::Target;
use crate::domain::user::UserId;
use crate::domain::user_writes::{forgotten_by, user_of};
use crate::domain::verdict::Dialect;
use crate::management::ManagementToken;
use crate::management::calls::{Called, ManagementCallFailure};
use crate::telemetry::audit::CallEvent;
use crate::transport::streaming::StreamBody;

use super::address::{MANAGEMENT_API, management_tail};
use super::answer::{Credential, Judged, respond};
use super::awaited_answer::{self, AwaitedAnswer};
use super::download::AnswerLimits;
use super::framing::{self, BodyFraming};
use super::head_wait::{self, CallTimes, NoAnswer};
use super::headers::{self, UserAgent};
use super::links::{self, Links, Mount};
use super::upload::{BodyTooLarge, Upload};

/// What calls are limited to. An import of users has at most 500 KB
/// (<https://auth0.com/docs/manage-users/user-migration/bulk-user-imports>), and exports are downloaded elsewhere.
const REQUEST_BYTES: u64 = 1024 * 1024;
const RESPONSE_BYTES: u64 = 64 * 1024 * 1024;
const TIMES: CallTimes = CallTimes { head: Duration::from_secs(30), idle: Duration::from_secs(30) };

const TOO_LARGE: ApiError = ApiError::RequestTooLarge { limit: REQUEST_BYTES, is_fixed: true };

/// The name of the API in audit lines and metrics.
const NAME: &str = "management_api";

/// The answer to a call, or why there is none.
pub async fn answer(
    exchange: &Exchange<'_>,
    route: Matched<'_>,
    body: Incoming,
    is_kept: bool,
    record: &mut AuditRecord,
) -> Result<Response<AnswerBody>, ApiError> {
    let head = &exchange.head;
    let framing = framing::check(head, body.size_hint().exact()).map_err(ApiError::Framing)?;
    let tail = management_tail(&head.uri).ok_or(ApiError::NoRoute)?;
    let target = Target::judge(tail).map_err(ApiError::Target)?;
    record.call =
        Some(Box::new(CallEvent { method: awaited_answer::shown(&head.method), ..of_management_api() }));
    let call = Call { method: head.method.as_str(), name: None, target: &target };
    let allowed = exchange.authorize_call(Operation::ManagementApi, None, None, call)?;
    let (upload, body) = Upload::of(body, framing, REQUEST_BYTES).map_err(|BodyTooLarge| TOO_LARGE)?;
    let permit = exchange.peer.begin_stream().map_err(|_| ApiError::NoStream)?;
    let event =
        CallEvent { method: head.method.as_str().into(), pattern: allowed.call, ..of_management_api() };
    record.user = user_of(target.path());
    let awaited = AwaitedAnswer::new(exchange, route.spec, event, upload.clone(), record.user.clone());
    let call = ManagementCall { exchange, tail, framing, upload };
    let users = forgotten_by(head.method.as_str(), target.path());
    let mut written = WrittenUsers { services: exchange.services, users };
    let Made { judged, token, is_repeated } = match call.make(body).await {
        Ok(made) => made,
        Err(error) => {
            if is_unsent(&error) {
                written.users.clear();
            }
            record.call = Some(Box::new(awaited.failed(error.code())));
            return Err(error);
        }
    };
    if (300..500).contains(&judged.status()) {
        written.users.clear();
    }
    let parts = awaited.answered(&judged, is_repeated, std::mem::take(record), permit);
    let mount = Mount { authority: &exchange.services.tenant, prefix: MANAGEMENT_API, name: "" };
    let links = Links {
        host: links::caller_host(&head.headers),
        base: MANAGEMENT_API,
        current: mount,
        target: target.as_str(),
        mounts: &[],
        is_accepted: |target| Target::judge(target).is_ok(),
    };
    let credential = Credential { token: token.token().expose().as_bytes(), connection: None };
    let limits = AnswerLimits { bytes: RESPONSE_BYTES, idle_timeout: TIMES.idle };
    Ok(respond(judged, parts, &links, credential, limits, exchange.keep_alive(is_kept)))
}

/// The users whom a call may have changed. Their entries are forgotten on drop: also if the client leaves, or if no
/// answer says whether Auth0 has acted.
struct WrittenUsers<'a> {
    services: &'a Services,
    users: Vec<UserId>,
}

impl Drop for WrittenUsers<'_> {
    fn drop(&mut self) {
        self.users.iter().for_each(|user| self.services.cache.purge(user));
    }
}

/// Whether the call has certainly not reached Auth0.
fn is_unsent(error: &ApiError) -> bool {
    matches!(error, ApiError::ManagementCall(failure) if !matches!(failure, ManagementCallFailure::Failed(_)))
}

/// What making a call has led to.
struct Made {
    judged: Judged,
    token: Arc<ManagementToken>,
    is_repeated: bool,
}

/// A call that a rule permits.
struct ManagementCall<'a> {
    exchange: &'a Exchange<'a>,
    tail: &'a str,
    framing: BodyFraming,
    upload: Upload,
}

impl ManagementCall<'_> {
    /// Makes the call, and once more if Auth0 refused the token itself.
    async fn make(&self, body: StreamBody) -> Result<Made, ApiError> {
        let Called { answer, token, token_was_refused } = self.attempt(body).await?;
        let judged = Judged::of(answer, Dialect::Auth0).await;
        if token_was_refused
            && judged.permits_retry(&self.exchange.head.method)
            && let Some(body) = self.upload.again()
        {
            // Auth0 may act on it without an answer, so the first answer is not handed on in its place.
            let Called { answer, token, .. } = self.attempt(body).await?;
            return Ok(Made { judged: Judged::of(answer, Dialect::Auth0).await, token, is_repeated: true });
        }
        Ok(Made { judged, token, is_repeated: false })
    }

    async fn attempt(&self, body: StreamBody) -> Result<Called, ApiError> {
        let services = self.exchange.services;
        let mut request = Request::new(body);
        *request.uri_mut() = Uri::try_from(self.tail).map_err(|_| ApiError::NoRoute)?;
        *request.method_mut() = self.exchange.head.method.clone();
        *request.headers_mut() = headers::request(&self.exchange.head.headers, UserAgent::CallerAndDaemon);
        self.framing.write(request.headers_mut());
        self.upload.restart();
        let calling = services.management_api.call(self.exchange.peer.flow(), request);
        let outcome = head_wait::head(calling, &self.upload, TIMES);
        until_shutdown(services, async { outcome.await.map_err(no_answer) }).await
    }
}

fn of_management_api() -> CallEvent {
    CallEvent { api: NAME.into(), ..CallEvent::default() }
}

fn no_answer(why: NoAnswer<ManagementCallFailure>) -> ApiError {
    match why {
        NoAnswer::TooLarge => TOO_LARGE,
        NoAnswer::ClientLate => ApiError::BodyStalled { limit: TIMES.idle, is_fixed: true },
        NoAnswer::ClientBroke => ApiError::BodyBroken,
        NoAnswer::ProviderLate => ApiError::ManagementApiLate,
        NoAnswer::Failed(failure) => ApiError::ManagementCall(failure),
    }
}
