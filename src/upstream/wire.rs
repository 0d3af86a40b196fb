//! The wire format of Auth0: paths of requests, parsing of answers. No I/O and no clock.
//!
//! Parsing is lenient where Auth0's own answers vary (ids that are numbers or text, lifetimes that are absent, numbers
//! or text, errors without JSON). It is strict where leniency could serve the wrong token: an answer about another user
//! is invalid, and only Auth0's own error code means that there is no such user.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use smallvec::SmallVec;

use crate::domain::error::{EMPTY, Failure, NOT_A_GRANT, NOT_JSON, Refusal, UNSENDABLE};
use crate::domain::freshness::{Deadline, Moment, Timestamp};
use crate::domain::identity::{ExpiryBasis, Identity, IdpToken, Profile, earliest};
use crate::domain::source::{Source, SourceOrders};
use crate::domain::user::UserId;
use crate::json::lenient::{Bar, Few, Flag, Lifetime, Number, Text};
use crate::json::{Object, unreadable};
use crate::management::{Grant, IDP_TOKENS_SCOPE};
use crate::secret::{Secret, SecretStr, TagKey};
use crate::transport::response::{Answer, Timing};

use super::rate_limit_headers::Limit;
use super::token_claims;

/// Identifies the daemon in the tenant's logs, as `User-Agent`.
pub(super) const AGENT: &str = concat!("cloakroom/", env!("CARGO_PKG_VERSION"));

/// The fields of a user that are requested: no personal data that a lookup does not need.
pub const USER_FIELDS: &str = "user_id,identities,last_login,blocked";

/// The lifetime of a Management token if neither the answer nor the token states one. If it is shorter in fact, Auth0
/// refuses the token and the daemon obtains another.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(600);

/// The upper bound of a Management token's lifetime, 30 days, which is Auth0's own limit.
const LONGEST_LIFETIME: Duration = Duration::from_secs(2_592_000);

/// The most scopes that are kept, so that a list of hundreds of thousands is not. The Management API has about a
/// hundred.
const MOST_SCOPES: usize = 1024;

/// The most identities of a user, so that a profile with hundreds of thousands is neither stored nor searched in every
/// lookup. Users link far fewer, because a person has to log in to each account.
const MOST_IDENTITIES: usize = 256;

/// The cause in the failure of a profile with more identities than [`MOST_IDENTITIES`], empty ones included.
const TOO_MANY_IDENTITIES: &str = "a user with more than 256 identities";

/// The most bytes of a profile: half of the smallest cache (`cache.max_bytes`). A profile that does not fit into the
/// cache would be requested with every lookup, and one user's entry must not displace a thousand others.
const MOST_KEPT: usize = 512 << 10;

/// The cause in the failure of a profile that would take more than [`MOST_KEPT`].
const TOO_LARGE: &str = "a user whose identities take more than 512 KiB";

/// The outcome of a request for a user.
#[derive(Debug)]
pub enum UserAnswer {
    /// The user, and the earliest time on the elapsed clock at which the last login can have been. `None` means that
    /// there is no such user, or that Auth0 does not state the login.
    User(Option<Profile>, Option<Duration>),
    /// Auth0 refuses the Management token, for this reason. A new one may be accepted.
    BearerRefused(Refusal),
}

/// Path and query of a request for `user`.
pub fn user_path(user: &UserId) -> String {
    format!(
        "/api/v2/users/{}?fields={}&include_fields=true",
        user.to_path_segment(),
        USER_FIELDS.replace(',', "%2C")
    )
}

impl Answer {
    /// The failure of an answer whose status is not one that the request expects.
    pub(super) fn unexpected_status(&self) -> Failure {
        let status = self.status.as_u16();
        match self.status {
            redirect if redirect.is_redirection() => {
                Failure::Malformed { what: "a redirect, which is never followed; check tenant.domain" }
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
                if !self.error().is_from_management_api(self.status) =>
            {
                Failure::NotFromAuth0 { status }
            }
            _ => Failure::Status { status },
        }
    }

    /// Parses the body of a 200. A body that cannot be parsed was probably cut off or came from an edge, so that
    /// failure may pass.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let what = if self.body.is_empty() { EMPTY } else { NOT_JSON };
        unreadable::object(&self.body).ok_or(Failure::Malformed { what })
    }

    pub(super) fn error(&self) -> ErrorBody {
        // An edge may answer in HTML or without a body. Then the status is all that is known.
        unreadable::object(&self.body).unwrap_or_default()
    }
}

/// Reads the answer to a grant request.
pub fn parse_grant(answer: &Answer, audience: &Arc<str>, timing: Timing) -> Result<Grant, Failure> {
    let status = answer.status.as_u16();
    match answer.status {
        StatusCode::OK => parse_granted(answer, timing.sent),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let error = answer.error();
            match error.is_from_oauth_server() {
                true => Err(Failure::Denied(grant_refusal(status, &error, audience))),
                false => Err(answer.unexpected_status()),
            }
        }
        _ => Err(answer.unexpected_status()),
    }
}

fn grant_refusal(status: u16, error: &ErrorBody, audience: &Arc<str>) -> Refusal {
    let description = error.description();
    match error.oauth_code() {
        "unauthorized_client" => Refusal::GrantType,
        "invalid_client" => Refusal::Credentials { status },
        _ if status == 401 => Refusal::Credentials { status },
        "access_denied" if description.contains("Service not enabled") => {
            Refusal::Audience { audience: Arc::clone(audience) }
        }
        "access_denied"
            if description.contains("not authorized to access") || description.contains("client-grant") =>
        {
            Refusal::NoClientGrant { audience: Arc::clone(audience) }
        }
        _ => Refusal::Grant { status },
    }
}

fn parse_granted(answer: &Answer, sent: Moment) -> Result<Grant, Failure> {
    let granted: Granted = answer.parse()?;
    let token = granted.access_token.into_given().filter(|token| !token.is_empty());
    let token = token.ok_or(Failure::Malformed { what: NOT_A_GRANT })?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Malformed { what: UNSENDABLE });
    }
    let claims = token_claims::read(&token).unwrap_or_default();
    // Measured by the clock that wrote the date, so that a wrong local clock does not make every new token look
    // expired.
    let by_their_clock = answer.date().unwrap_or(sent.wall);
    let span = match granted.expires_in.lifetime() {
        Some(Lifetime::Date(date)) => Some(date.since(by_their_clock)),
        // Auth0 itself states the lifetime of this token, so zero means zero here.
        _ => granted.expires_in.seconds(),
    };
    let stated = span.map(|span| Deadline::after(sent, span.min(LONGEST_LIFETIME)));
    let own = claims.exp.map(|exp| Deadline::after(sent, exp.since(by_their_clock)));
    let expires = match (stated, own) {
        (Some(stated), Some(own)) => stated.earlier(own),
        (Some(only), None) | (None, Some(only)) => only.earlier(Deadline::after(sent, LONGEST_LIFETIME)),
        (None, None) => Deadline::after(sent, UNSTATED_LIFETIME),
    };
    let stated_scope = granted.scope.into_given();
    // Either of the two counts: the token is what the Management API reads, and the answer may state more.
    let scopes = || [&stated_scope, &claims.scopes].into_iter().flatten();
    let shows_idp_tokens = scopes()
        .next()
        .is_some()
        .then(|| scopes().any(|scopes| scopes.split_whitespace().any(|scope| scope == IDP_TOKENS_SCOPE)));
    let scope = stated_scope.or(claims.scopes);
    let scopes = scope.map(|scope| scope.split_whitespace().take(MOST_SCOPES).map(str::to_owned).collect());
    let scarce = answer.quotas().into_iter().filter(Limit::is_little).map(|quota| quota.reset).max();
    let (token, scarce_for) = (Secret::new(token), scarce.unwrap_or_default());
    Ok(Grant { token, sent, expires, scopes, shows_idp_tokens, scarce_for })
}

/// Reads the answer to a request for `user`. `tags` gives tokens their fingerprints. Refresh tokens are read for
/// connections whose `orders` name another source than what Auth0 stores; without such a connection, none is.
pub fn parse_user(
    answer: &Answer,
    user: &UserId,
    timing: Timing,
    tags: &TagKey,
    orders: &SourceOrders,
) -> Result<UserAnswer, Failure> {
    let status = answer.status.as_u16();
    if answer.status == StatusCode::OK {
        let (profile, logged_in) = match orders.issue() {
            true => parse_profile::<Text>(answer, user, timing, tags, orders)?,
            false => parse_profile::<Unread>(answer, user, timing, tags, orders)?,
        };
        return Ok(UserAnswer::User(Some(profile), logged_in));
    }
    let error = answer.error();
    match (answer.status, error.code.as_str()) {
        (StatusCode::NOT_FOUND, "inexistent_user") => Ok(UserAnswer::User(None, None)),
        // Auth0 says that this is not a valid id. So no user has it.
        (StatusCode::BAD_REQUEST, "invalid_uri") if error.message.as_str().contains("property id") => {
            Ok(UserAnswer::User(None, None))
        }
        // Any other refusal comes from a host on the way to Auth0 and says nothing about the token.
        _ if !error.is_from_management_api(answer.status) => Err(answer.unexpected_status()),
        (StatusCode::BAD_REQUEST, "Bearer") | (StatusCode::UNAUTHORIZED, _) => {
            Ok(UserAnswer::BearerRefused(Refusal::Bearer { status }))
        }
        (StatusCode::FORBIDDEN, "insufficient_scope") => Ok(UserAnswer::BearerRefused(Refusal::Scope)),
        _ => Err(answer.unexpected_status()),
    }
}

fn parse_profile<R: RefreshToken>(
    answer: &Answer,
    user: &UserId,
    timing: Timing,
    tags: &TagKey,
    orders: &SourceOrders,
) -> Result<(Profile, Option<Duration>), Failure> {
    let malformed = |what| Failure::Malformed { what };
    let wire: WireUser<R> = answer.parse()?;
    if wire.user_id.given() != Some(user.as_str()) {
        return Err(malformed("another user than the one that was asked for"));
    }
    if wire.identities.has_more {
        return Err(malformed(TOO_MANY_IDENTITIES));
    }
    let last_login = wire.last_login.given().and_then(Timestamp::parse);
    let sources = ExpirySources { sent: timing.sent, behind: answer.clock_behind(timing), last_login };
    let identities = wire.identities.first.into_iter().flatten();
    let mut identities: SmallVec<_> = identities
        .map(|Object(wire)| {
            let identity = identity(&wire, &sources, tags);
            let order = orders.of(identity.connection());
            let refresh_token = wire.refresh_token.into_secret();
            identity.with_sources(order, refresh_token.filter(|_| order.contains(Source::Refresh)))
        })
        .collect();
    // Token Vault may have a token of a connection through which the user has never logged in.
    let is_listed = |name: &str, all: &[Identity]| all.iter().any(|identity| identity.connection() == name);
    for (connection, order) in orders.iter().filter(|(_, order)| order.contains(Source::Vault)) {
        if !is_listed(connection, &identities) {
            identities.push(Identity::unlisted(connection, order));
        }
    }
    // The cache holds hundreds of thousands of them.
    identities.shrink_to_fit();
    let profile = Profile { blocked: wire.blocked.0, identities };
    if profile.apart() > MOST_KEPT {
        return Err(malformed(TOO_LARGE));
    }
    let logged_in = last_login.and_then(|login| answer.not_before(login, timing));
    Ok((profile, logged_in))
}

/// What an answer states about the expiry of all its tokens.
struct ExpirySources {
    sent: Moment,
    behind: Duration,
    last_login: Option<Timestamp>,
}

impl ExpirySources {
    /// The expiry by a token's own `exp` and its provider's `expires_in`.
    fn expiry(&self, own: Option<Timestamp>, lifetime: Option<Lifetime>) -> (Option<Deadline>, ExpiryBasis) {
        let at = |date| Deadline::at(date, self.sent, self.behind);
        let stated = lifetime.map(|lifetime| match (lifetime, self.last_login) {
            (Lifetime::Date(date), _) => (at(date), ExpiryBasis::Login),
            (Lifetime::Span(span), Some(login)) => (at(login.after(span)), ExpiryBasis::Login),
            // The token was issued before the request. No date is stated, so the local clocks count.
            (Lifetime::Span(span), None) => (Deadline::after(self.sent, span), ExpiryBasis::FirstSeen),
        });
        earliest([own.map(|exp| (at(exp), ExpiryBasis::Jwt)), stated])
    }
}

fn identity<R>(wire: &WireIdentity<R>, sources: &ExpirySources, tags: &TagKey) -> Identity {
    fn some(text: &Text) -> Option<&str> {
        text.given().filter(|text| !text.is_empty())
    }
    // Without this, a token whose second half cannot be read would look like one without a second half.
    let (first, second) = (&wire.access_token, &wire.access_token_secret);
    let is_unreadable = first.is_unreadable() || (some(first).is_some() && second.is_unreadable());
    let own = some(first).and_then(token_claims::read).unwrap_or_default();
    let token = some(first).filter(|_| !is_unreadable).map(|text| {
        let (expires, basis) = sources.expiry(own.exp, wire.expires_in.lifetime());
        IdpToken {
            fingerprint: tags.tag("token", text),
            access_token: SecretStr::new(text),
            access_token_secret: some(second).map(SecretStr::new),
            expires,
            basis,
            source: Source::Identities,
            scopes: own.scopes.as_deref(),
        }
    });
    let [connection, provider, user_id] = [&wire.connection, &wire.provider, &wire.user_id].map(Text::as_str);
    let identity = Identity::new(connection, provider, user_id, wire.is_social.0, token);
    if is_unreadable { identity.with_unreadable_token() } else { identity }
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    access_token: Text,
    #[serde(default)]
    expires_in: Number,
    #[serde(default)]
    scope: Text,
}

/// An error of either endpoint, with the fields of both. Compared with known texts, never shown.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    error: Text,
    error_description: Text,
    message: Text,
    #[serde(rename = "errorCode")]
    code: Text,
    #[serde(rename = "statusCode")]
    status: Text,
}

impl ErrorBody {
    /// An OAuth server's code; empty if there is none.
    pub(super) fn oauth_code(&self) -> &str {
        self.error.as_str()
    }

    /// An OAuth server's description; empty if there is none.
    pub(super) fn description(&self) -> &str {
        self.error_description.as_str()
    }

    /// Whether the Management API wrote the error: its errors repeat the answer's status and name it. Gateways and
    /// portals answer in HTML, or in JSON of other forms.
    fn is_from_management_api(&self, status: StatusCode) -> bool {
        self.status.as_str() == status.as_str() && !self.error.as_str().is_empty()
    }

    /// Whether an OAuth server wrote the error: its errors are codes such as `access_denied` (RFC 6749 §5.2). An
    /// unknown code is a refusal too, because Auth0 has more codes than the RFC. A phrase such as `Forbidden` is not a
    /// code.
    pub(super) fn is_from_oauth_server(&self) -> bool {
        let code = self.error.as_str();
        !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    }
}

#[derive(Deserialize)]
struct WireUser<R> {
    #[serde(default)]
    user_id: Text,
    #[serde(default)]
    last_login: Text,
    #[serde(default)]
    blocked: Bar,
    #[serde(default = "Few::default", bound(deserialize = "R: Default + Deserialize<'de>"))]
    identities: Few<Option<Object<WireIdentity<R>>>, MOST_IDENTITIES>,
}

/// An identity on the wire. `profileData` is left out on purpose: a field that is not read cannot leak.
#[derive(Deserialize)]
struct WireIdentity<R> {
    #[serde(default)]
    connection: Text,
    #[serde(default)]
    provider: Text,
    #[serde(default)]
    user_id: Text,
    #[serde(default, rename = "isSocial")]
    is_social: Flag,
    #[serde(default)]
    access_token: Text,
    #[serde(default)]
    access_token_secret: Text,
    #[serde(default)]
    expires_in: Number,
    #[serde(default, bound(deserialize = "R: Default + Deserialize<'de>"))]
    refresh_token: R,
}

/// The field `refresh_token` of an identity, which is read only where a connection needs it.
trait RefreshToken: Default + DeserializeOwned {
    fn into_secret(self) -> Option<Secret>;
}

/// A field that is skipped.
#[derive(Default)]
struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl RefreshToken for Unread {
    fn into_secret(self) -> Option<Secret> {
        None
    }
}

impl RefreshToken for Text {
    fn into_secret(self) -> Option<Secret> {
        self.into_given().filter(|text| !text.is_empty()).map(Secret::new)
    }
}

#[cfg(test)]
mod tests;
