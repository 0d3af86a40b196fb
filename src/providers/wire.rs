//! The wire format of token endpoints: requests as bytes, answers as [`Redemption`]s. No I/O and no clock.
//!
//! Providers differ in where they put a refusal: beside status 200, in an object, under another name. All these places
//! are read, and [`Provider::meaning_of`](crate::domain::provider::Provider::meaning_of) says what they mean.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request};

use crate::config::Refresh;
use crate::domain::error::Failure;
use crate::domain::provider::{Meaning, ProviderAuth, RefusalParts};
use crate::domain::source::{Processed, Redemption, SourceFailure};
use crate::secret::Secret;
use crate::transport::response::{Answer, Timing};

use super::answer_body::AnswerBody;

/// Identifies the daemon to providers, as `User-Agent`.
const AGENT: &str = concat!("cloakroom/", env!("CARGO_PKG_VERSION"));

const FORM: &str = "application/x-www-form-urlencoded";

/// A request that redeems `refresh_token` (RFC 6749 §6) with `secret`; `None` if it cannot be built.
pub fn request(refresh: &Refresh, secret: &Secret, refresh_token: &Secret) -> Option<Request<Full<Bytes>>> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("refresh_token", refresh_token.expose());
    if let Some(scope) = &refresh.scope {
        form.append_pair("scope", scope);
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(refresh.token_endpoint.url())
        .header(CONTENT_TYPE, FORM)
        // Without this, GitHub answers with a form.
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, AGENT);
    match refresh.client_auth {
        ProviderAuth::Post => {
            form.append_pair("client_id", &refresh.client_id);
            form.append_pair("client_secret", secret.expose());
        }
        ProviderAuth::Basic => {
            // A header that was sent stays in the connection's buffer until the next one or until the connection is
            // closed.
            request =
                request.header(AUTHORIZATION, basic(&refresh.client_id, secret)?).header(CONNECTION, "close");
        }
    }
    request.body(Full::from(form.finish())).ok()
}

/// HTTP Basic, with both halves form-encoded first (RFC 6749 §2.3.1).
fn basic(id: &str, secret: &Secret) -> Option<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encoded(id), encoded(secret.expose())));
    let text = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
    let mut value = HeaderValue::from_str(text.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What an answer of the provider of `refresh` means.
pub fn redemption(refresh: &Refresh, answer: &Answer, timing: Timing) -> Redemption {
    let host = refresh.token_endpoint.host();
    let body = AnswerBody::read(&answer.body).unwrap_or_default();
    if !answer.status.is_success() || body.is_refusal() {
        return refusal(refresh, answer, &body, timing);
    }
    match body.issued(answer.date().unwrap_or(timing.sent.wall)) {
        Ok((token, refresh_token)) => Redemption::Issued { token, refresh_token },
        // The provider may have issued a token nevertheless, and invalidated the refresh token.
        Err(what) => {
            let what = if answer.body.is_empty() { "an empty body" } else { what };
            failed_with(SourceFailure::Malformed { host: Arc::clone(host), what }, Processed::Unknown)
        }
    }
}

/// What it means that a request to `host` got no answer. `has_connected` says whether there was a connection to send the
/// request through, if that is known.
pub fn failed(host: &Arc<str>, failure: &Failure, has_connected: Option<bool>) -> Redemption {
    // A server may refuse the daemon after it has read the request.
    let is_broken = matches!(failure, Failure::Untrusted { .. }) && has_connected == Some(true);
    let broken = Failure::Broken { host: Arc::clone(host) };
    let failure = if is_broken { &broken } else { failure };
    let is_unsent = has_connected == Some(false) || precedes_a_request(failure);
    failed_with(SourceFailure::of(host, failure), if is_unsent { Processed::No } else { Processed::Unknown })
}

/// Whether no request was sent where this is the failure.
fn precedes_a_request(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::UnknownHost { .. }
            | Failure::LinkLocalResolver { .. }
            | Failure::Refused { .. }
            | Failure::ConnectTimeout { .. }
            | Failure::Unreachable { .. }
            | Failure::Untrusted { .. }
            | Failure::Proxy { .. }
            | Failure::NoDescriptors { .. }
    )
}

/// What it means that there was no answer in time.
pub fn timed_out(host: &Arc<str>, has_connected: Option<bool>) -> Redemption {
    let processed = if has_connected == Some(false) { Processed::No } else { Processed::Unknown };
    failed_with(SourceFailure::TimedOut { host: Arc::clone(host) }, processed)
}

fn failed_with(failure: SourceFailure, processed: Processed) -> Redemption {
    Redemption::Failed { failure, retry_after: Duration::ZERO, processed }
}

fn refusal(refresh: &Refresh, answer: &Answer, body: &AnswerBody, timing: Timing) -> Redemption {
    let host = Arc::clone(refresh.token_endpoint.host());
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        let what = "a redirect, which is never followed; check token_endpoint";
        return failed_with(SourceFailure::Malformed { host, what }, Processed::No);
    }
    let (code, numbers) = (body.code(), body.numbers());
    let parts = RefusalParts {
        status,
        code: &code,
        subcode: body.subcode(),
        descriptions: body.descriptions(),
        numbers: &numbers,
    };
    match refresh.provider.meaning_of(&parts) {
        Meaning::Over(reason) => Redemption::Over(reason),
        Meaning::Misconfigured(fault) => Redemption::Misconfigured(fault),
        Meaning::Throttled => Redemption::Failed {
            failure: SourceFailure::Throttled { host },
            retry_after: answer.retry_after(timing).unwrap_or_default(),
            processed: Processed::No,
        },
        Meaning::Passing(processed) => Redemption::Failed {
            failure: match answer.status.is_success() {
                true => SourceFailure::Malformed { host, what: "an error that is not known" },
                false => SourceFailure::Status { host, status },
            },
            retry_after: answer.retry_after(timing).unwrap_or_default(),
            processed,
        },
    }
}
