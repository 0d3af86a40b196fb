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
use serde::Deserialize;

use crate::config::Refresh;
use crate::domain::error::Failure;
use crate::domain::provider::{Meaning, ProviderAuth, RefusalParts};
use crate::domain::scope;
use crate::domain::source::{IssuedToken, Processed, Redemption, SourceFailure};
use crate::json::Object;
use crate::json::lenient::{Few, Lifetime, Number, Text};
use crate::json::unreadable;
use crate::secret::Secret;
use crate::transport::response::{Answer, Timing};

/// Identifies the daemon to providers, as `User-Agent`.
const AGENT: &str = concat!("cloakroom/", env!("CARGO_PKG_VERSION"));

const FORM: &str = "application/x-www-form-urlencoded";

/// The most scopes and error numbers that are read of a list.
const MOST_LISTED: usize = 256;

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
    let body = read(answer).unwrap_or_default();
    if !answer.status.is_success() || body.is_refusal() {
        return refusal(refresh, answer, &body, timing);
    }
    match body.issued() {
        Ok((token, refresh_token)) => Redemption::Issued { token, refresh_token },
        // The provider may have issued a token nevertheless, and invalidated the refresh token.
        Err(what) => {
            let what = if answer.body.is_empty() { "an empty body" } else { what };
            failed_with(SourceFailure::Malformed { host: Arc::clone(host), what }, Processed::Unknown)
        }
    }
}

/// What it means that a request to `host` got no answer.
pub fn failed(host: &Arc<str>, failure: &Failure) -> Redemption {
    let host = Arc::clone(host);
    let unreachable = |cause| SourceFailure::Unreachable { host: Arc::clone(&host), cause };
    let (failure, processed) = match failure {
        Failure::UnknownHost { .. } | Failure::LinkLocalResolver { .. } => {
            (unreachable("its name cannot be resolved"), Processed::No)
        }
        Failure::Refused { .. } => (unreachable("it refuses connections"), Processed::No),
        Failure::ConnectTimeout { .. } => {
            (unreachable("no connection within providers.connect_timeout"), Processed::No)
        }
        Failure::Unreachable { .. } => (unreachable("there is no way to it"), Processed::No),
        Failure::Untrusted { .. } => (
            unreachable("its certificate is not trusted; providers.ca_file can name an authority"),
            Processed::No,
        ),
        Failure::Proxy { .. } => {
            (unreachable("the proxy makes no connection; check providers.proxy"), Processed::No)
        }
        Failure::NoDescriptors { .. } => {
            (unreachable("this process has no file descriptor left"), Processed::No)
        }
        Failure::TimedOut { .. } => (SourceFailure::TimedOut { host }, Processed::Unknown),
        Failure::Malformed { what } => (SourceFailure::Malformed { host, what }, Processed::Unknown),
        _ => (unreachable("the connection broke before the answer was complete"), Processed::Unknown),
    };
    failed_with(failure, processed)
}

/// What it means that there was no answer in time.
pub fn timed_out(host: &Arc<str>) -> Redemption {
    failed_with(SourceFailure::TimedOut { host: Arc::clone(host) }, Processed::Unknown)
}

fn failed_with(failure: SourceFailure, processed: Processed) -> Redemption {
    Redemption::Failed { failure, retry_after: Duration::ZERO, processed }
}

fn refusal(refresh: &Refresh, answer: &Answer, body: &Body, timing: Timing) -> Redemption {
    let host = Arc::clone(refresh.token_endpoint.host());
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        let what = "a redirect, which is never followed; check token_endpoint";
        return failed_with(SourceFailure::Malformed { host, what }, Processed::No);
    }
    let code = body.code();
    let numbers: Vec<u64> = body.error_codes.first.iter().filter_map(Number::whole).collect();
    let parts = RefusalParts {
        status,
        code: &code,
        subcode: body.subcode(),
        descriptions: [body.error_description.as_str(), body.reason.as_str()],
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
            failure: SourceFailure::Status { host, status },
            retry_after: answer.retry_after(timing).unwrap_or_default(),
            processed,
        },
    }
}

/// The body as JSON, or as a form.
fn read(answer: &Answer) -> Option<Body> {
    let is_form = answer.text(CONTENT_TYPE).is_some_and(|kind| kind.trim_start().starts_with(FORM));
    if !is_form {
        return unreadable::object(&answer.body);
    }
    let mut body = Body::default();
    for (name, value) in form_urlencoded::parse(&answer.body) {
        let given = Text::Given(value.to_string());
        match &*name {
            "access_token" => body.access_token = given,
            "refresh_token" => body.refresh_token = given,
            "expires_in" => body.expires_in = Number::of(&value),
            "scope" => body.scope = Scopes::One(given),
            "error" => body.error = ErrorCode::Code(given),
            "error_description" => body.error_description = given,
            _ => {}
        }
    }
    Some(body)
}

/// Every member that a token endpoint's answer is known to have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    access_token: Text,
    refresh_token: Text,
    expires_in: Number,
    scope: Scopes,
    /// Bitbucket's name for `scope`.
    scopes: Scopes,
    /// Slack: whether there is no error.
    ok: Option<bool>,
    /// Slack: the user's token, in the answer that has a bot's as well.
    authed_user: Option<Object<AuthedUser>>,
    error: ErrorCode,
    error_description: Text,
    /// Google.
    error_subtype: Text,
    /// Entra.
    suberror: Text,
    /// Entra.
    error_codes: Few<Number, MOST_LISTED>,
    /// HubSpot: the code, where there is no `error`.
    status: Text,
    /// Zoom.
    reason: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthedUser {
    access_token: Text,
    refresh_token: Text,
    expires_in: Number,
    scope: Scopes,
}

/// An error's code, or an object with it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorCode {
    /// Facebook's: a type and a number. Dropbox's for 429 has neither.
    Object(Object<ErrorObject>),
    Code(Text),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    #[serde(rename = "type")]
    kind: Text,
    code: Text,
}

/// Scopes as one text, or as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    List(Few<Text, MOST_LISTED>),
    One(Text),
}

impl Default for ErrorCode {
    fn default() -> Self {
        Self::Code(Text::Absent)
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self::One(Text::Absent)
    }
}

impl Scopes {
    fn normalized(&self) -> Option<String> {
        match self {
            Self::One(text) => scope::normalized(text.given()),
            Self::List(list) => scope::normalized(list.first.iter().filter_map(Text::given)),
        }
    }
}

impl Body {
    /// Whether it says that no token was issued, whatever the status.
    fn is_refusal(&self) -> bool {
        self.ok == Some(false) || !self.code().is_empty() && self.access_token.as_str().is_empty()
    }

    /// The error code; empty if there is none.
    fn code(&self) -> String {
        match &self.error {
            ErrorCode::Object(Object(ErrorObject { kind, code })) => {
                format!("{}/{}", kind.as_str(), code.as_str())
            }
            ErrorCode::Code(code) if !code.as_str().is_empty() => code.as_str().to_owned(),
            ErrorCode::Code(_) => self.status.as_str().to_owned(),
        }
    }

    fn subcode(&self) -> &str {
        if self.error_subtype.as_str().is_empty() {
            self.suberror.as_str()
        } else {
            self.error_subtype.as_str()
        }
    }

    /// The token and the refresh token, or why there is none.
    fn issued(self) -> Result<(IssuedToken, Option<Secret>), &'static str> {
        let scopes = self.scope.normalized().or_else(|| self.scopes.normalized());
        let own = (self.access_token, self.refresh_token, self.expires_in, scopes);
        let (access_token, refresh_token, expires_in, scopes) = match self.authed_user {
            Some(Object(user)) if own.0.as_str().is_empty() => {
                let scopes = user.scope.normalized();
                (user.access_token, user.refresh_token, user.expires_in, scopes)
            }
            _ => own,
        };
        let access_token = access_token.into_given().filter(|token| !token.is_empty());
        let access_token = access_token.map(Secret::new).ok_or("no access token")?;
        if !is_sendable(&access_token) {
            return Err("an access token that cannot be sent in a header");
        }
        let refresh_token = refresh_token.into_given().filter(|token| !token.is_empty()).map(Secret::new);
        let expires_in = match expires_in.lifetime() {
            Some(Lifetime::Span(span)) => Some(span),
            // A date is none of the forms that the specification has (RFC 6749 §5.1).
            Some(Lifetime::Date(_)) | None => None,
        };
        Ok((IssuedToken { access_token, expires_in, scopes }, refresh_token))
    }
}

fn is_sendable(token: &Secret) -> bool {
    token.expose().bytes().all(|byte| byte.is_ascii_graphic())
}
