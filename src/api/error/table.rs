//! Every error of the interface: its code and status, what it means, and what to do about it.
//!
//! Answers, the client commands' exit codes, `openapi.json` and `docs/reference/errors.md` are made from this table.

use hyper::StatusCode as S;

use crate::api::route::Route;
use crate::api::route::RouteGroup::{
    All, AllButProbes, Lookups, Only, ProviderCalls, Proxied, Restricted, TokenAnswers, TokenLookups,
    WithUserToken,
};

use super::rows::errors;
use super::spec::ErrorSpec;

/// Waits of the daemon's own making are stated as at most this; see `ask_again_after`.
const UPSTREAM_WAIT: &str =
    "when Auth0 can be asked again: at most 30 s, or the time that Auth0 named, at most 60 s";

errors! {
    InvalidRequest {
        name: "invalid_request",
        status: S::BAD_REQUEST,
        title: "The request is malformed",
        meaning: "The user id, a query parameter, the body or the request itself is malformed. `parameter` names the part.",
        remedy: "Correct that part; `detail` says how.",
        answered_by: &[All],
        members: &["parameter"],
        exit: 2,
    }
    AmbiguousPath {
        name: "ambiguous_path",
        status: S::BAD_REQUEST,
        title: "Two servers could read the path differently",
        meaning: "The path of a call has a dot segment, an empty segment, a backslash, a control character or a broken \
                  escape, in any spelling, or more than 4 KiB. It is refused and not corrected, because what is judged is \
                  what is sent.",
        remedy: "Send the path that is meant, each segment encoded once; `detail` names what is wrong.",
        answered_by: &[Proxied],
        exit: 2,
        is_denial: true,
    }
    MethodOverride {
        name: "method_override",
        status: S::BAD_REQUEST,
        title: "The call names another method",
        meaning: "A header such as `X-HTTP-Method-Override` or a query parameter such as `_method` asks the provider for \
                  another method than that of the request, which is the one that rules judge.",
        remedy: "Send the request with the method that is meant.",
        answered_by: &[Proxied],
        exit: 2,
        is_denial: true,
    }
    CredentialInQuery {
        name: "credential_in_query",
        status: S::BAD_REQUEST,
        title: "The query carries a credential",
        meaning: "The query has a parameter such as `access_token` or `api_key`, which some providers prefer to the token \
                  that the daemon adds.",
        remedy: "Leave it out: the daemon adds the token.",
        answered_by: &[Proxied],
        exit: 2,
        is_denial: true,
    }
    InvalidUserToken {
        name: "invalid_user_token",
        status: S::UNAUTHORIZED,
        title: "The user token is not accepted",
        meaning: "`/v1/me`: the user token in `Authorization` is missing or not accepted.",
        remedy: "Send the token of a current session of the user; `detail` says what is wrong with this one.",
        answered_by: &[WithUserToken],
        header: Some("WWW-Authenticate"),
        is_denial: true,
    }
    Forbidden {
        name: "forbidden",
        status: S::FORBIDDEN,
        title: "The operation is not permitted",
        meaning: "No rule of the listener permits this operation to this client. `detail` names the client's uid and the \
                  rule that would.",
        remedy: "Add that rule, or connect as another user.",
        answered_by: &[Restricted],
        exit: 5,
        is_denial: true,
    }
    RequestHeaderRequired {
        name: "request_header_required",
        status: S::FORBIDDEN,
        title: "The request header is missing",
        meaning: "The header `Cloakroom-Request: true` is missing, or has another value.",
        remedy: "Send it.",
        answered_by: &[AllButProbes],
        exit: 5,
        is_denial: true,
    }
    ForwardedRequest {
        name: "forwarded_request",
        status: S::FORBIDDEN,
        title: "Forwarded requests are refused",
        meaning: "The request has a header that proxies or browsers add: `Forwarded`, `X-Forwarded-…`, `Origin` or \
                  `Referer`.",
        remedy: "Connect to the socket directly.",
        answered_by: &[All],
        exit: 5,
        is_denial: true,
    }
    UserBlocked {
        name: "user_blocked",
        status: S::FORBIDDEN,
        title: "The user is blocked in Auth0",
        meaning: "Auth0 states that the user is blocked.",
        remedy: "Unblock the user in Auth0, if that is intended.",
        answered_by: &[TokenLookups],
        exit: 5,
    }
    UserNotFound {
        name: "user_not_found",
        status: S::NOT_FOUND,
        title: "Auth0 has no such user",
        meaning: "Auth0 has no user with this id.",
        remedy: "Check the id. After account linking, only the primary account's id exists.",
        answered_by: &[Lookups],
        exit: 3,
    }
    IdentityNotFound {
        name: "identity_not_found",
        status: S::NOT_FOUND,
        title: "The user has no such identity",
        meaning: "The user has no identity that fits the selectors. `connections` lists the user's connections.",
        remedy: "Select one of those.",
        answered_by: &[TokenLookups],
        members: &["connections"],
        exit: 3,
    }
    NoToken {
        name: "no_token",
        status: S::NOT_FOUND,
        title: "The identity carries no token",
        meaning: "Auth0 holds no access token for the identity. `detail` names likely causes.",
        remedy: "Fix the connection, or give the application the missing scope.",
        answered_by: &[TokenLookups],
        exit: 3,
    }
    RouteNotFound {
        name: "route_not_found",
        status: S::NOT_FOUND,
        title: "The route does not exist",
        meaning: "The route does not exist, or the configuration has not turned it on.",
        remedy: "Read `detail`; `GET /openapi.json` describes every route.",
        answered_by: &[WithUserToken, Proxied],
    }
    MethodNotAllowed {
        name: "method_not_allowed",
        status: S::METHOD_NOT_ALLOWED,
        title: "The route does not take this method",
        meaning: "The route takes other methods, which the header `Allow` lists.",
        remedy: "Use one of those.",
        answered_by: &[All],
        header: Some("Allow"),
    }
    RequestTimeout {
        name: "request_timeout",
        status: S::REQUEST_TIMEOUT,
        title: "The request did not arrive in time",
        meaning: "The header section or the body did not arrive within 5 s, or no further part of a call's body within \
                  `proxy.idle_timeout`, or 30 s on `/api/v2`.",
        remedy: "Send the request as a whole.",
        answered_by: &[All],
        exit: 69,
    }
    AmbiguousIdentity {
        name: "ambiguous_identity",
        status: S::CONFLICT,
        title: "Several identities carry a token",
        meaning: "Several identities fit and carry a token. `identities` lists them, `connections` their connections.",
        remedy: "Select one with `connection`, `provider` or `identity_user_id`.",
        answered_by: &[TokenLookups],
        members: &["connections", "identities"],
        exit: 2,
    }
    LoginRequired {
        name: "login_required",
        status: S::GONE,
        title: "The user must log in again",
        meaning: "No source of the connection has a token that is valid, and only the user can change that. `reason` is one \
                  of `expired`: the token that Auth0 holds has expired; `reported`: the provider refused it, \
                  as a report or a call has shown; `refresh_refused`: the provider does not accept the refresh token; \
                  `refresh_lost`: the refresh token was redeemed, and its successor was lost; \
                  `reauthentication_required`: the provider wants the user to authenticate again; `consent_required`: it \
                  wants the user's consent. `expired_at` states the expiry, if `reason` is `expired`.",
        remedy: "Send the user through a login with that connection. Asking again does not help before.",
        answered_by: &[TokenLookups],
        retry_after: Some("when the sources are asked for the user again"),
        members: &["reason", "expired_at"],
        exit: 4,
    }
    ConnectRequired {
        name: "connect_required",
        status: S::GONE,
        title: "The user must connect the account",
        meaning: "Token Vault has no account of the user for the connection, or no refresh token of it.",
        remedy: "Send the user through the connect flow of that connection. Asking again does not help before.",
        answered_by: &[TokenLookups],
        retry_after: Some("when Token Vault is asked for the user again"),
        exit: 4,
    }
    InsufficientScope {
        name: "insufficient_scope",
        status: S::CONFLICT,
        title: "The token lacks a scope",
        meaning: "The scopes of the token are known, and one that the request names in `scope` is not among them. `missing` \
                  lists what is missing, `scopes` what is granted.",
        remedy: "Send the user through a login that asks for more: `request` has the parameters for `/authorize` that ask \
                 for what is granted and what is missing together.",
        answered_by: &[TokenAnswers],
        members: &["missing", "scopes", "request"],
        exit: 4,
    }
    BodyTooLarge {
        name: "body_too_large",
        status: S::PAYLOAD_TOO_LARGE,
        title: "The body is too large",
        meaning: "The body has more than 64 KiB, or that of a call more than its limit. The daemon closes the connection.",
        remedy: "Send a smaller body; most routes take none.",
        answered_by: &[All],
    }
    InvalidConfiguration {
        name: "invalid_configuration",
        status: S::UNPROCESSABLE_ENTITY,
        title: "The configuration is wrong",
        meaning: "`POST /v1/reload`: the new configuration is wrong, and the old one stays in force. `problems` lists \
                  everything that is wrong.",
        remedy: "Fix all of it, and reload again.",
        answered_by: &[Only(Route::Reload)],
        members: &["problems"],
        exit: 78,
    }
    MinTtlUnsatisfiable {
        name: "min_ttl_unsatisfiable",
        status: S::UNPROCESSABLE_ENTITY,
        title: "The token expires too soon",
        meaning: "The token is valid, but for less than `min_ttl`, and Auth0 has no newer one. `expires_in` states for how \
                  many seconds.",
        remedy: "Ask for less, or send the user through a login with that connection.",
        answered_by: &[TokenAnswers],
        retry_after: Some("when Auth0 is asked for the user again"),
        members: &["expires_in"],
    }
    RateLimited {
        name: "rate_limited",
        status: S::TOO_MANY_REQUESTS,
        title: "The rate limit is reached",
        meaning: "The `rate` of the rule that permits the request is used up, or the budget for Auth0 has no room for \
                  `fresh=true` or for a report. On `/api/v2`: Auth0 has answered 429, and nothing is sent until its \
                  limit resets, as `X-RateLimit-Reset` states.",
        remedy: "Wait, or ask without `fresh=true`.",
        answered_by: &[Lookups, Only(Route::Report), Only(Route::ManagementToken), Only(Route::ManagementApi)],
        retry_after: Some("when there is room for one more request"),
        exit: 69,
        is_denial: true,
    }
    HeadersTooLarge {
        name: "headers_too_large",
        status: S::REQUEST_HEADER_FIELDS_TOO_LARGE,
        title: "The header section is too large",
        meaning: "The header section has more than 64 fields, or more than 16 KiB with the request line.",
        remedy: "Send fewer or shorter headers.",
        answered_by: &[All],
    }
    UpgradeUnsupported {
        name: "upgrade_unsupported",
        status: S::NOT_IMPLEMENTED,
        title: "Upgrades are not supported",
        meaning: "The call asks for another protocol, such as WebSocket.",
        remedy: "Use the provider's API over HTTP, or ask for the token and call the provider directly.",
        answered_by: &[Proxied],
    }
    ProviderUnsupported {
        name: "provider_unsupported",
        status: S::NOT_IMPLEMENTED,
        title: "The provider's tokens are not bearer tokens",
        meaning: "The user's token is of OAuth 1, or has characters that no header carries. Calls with it need a signature \
                  that the daemon cannot make.",
        remedy: "Ask for the token and sign the call in the service.",
        answered_by: &[ProviderCalls],
    }
    UpstreamError {
        name: "upstream_error",
        status: S::BAD_GATEWAY,
        title: "Invalid response from Auth0",
        meaning: "Auth0's response cannot be used: an unexpected status, a body in another form than documented, or a \
                  refusal.",
        remedy: "Read `detail`; retry later.",
        answered_by: &[Lookups, Only(Route::ManagementApi)],
        retry_after: Some(UPSTREAM_WAIT),
        exit: 69,
    }
    SourceMisconfigured {
        name: "source_misconfigured",
        status: S::BAD_GATEWAY,
        title: "A source of tokens is not set up correctly",
        meaning: "The identity provider or Token Vault refuses the connection's client, its grant or its scope. That says \
                  nothing about the user. `permanent` is true.",
        remedy: "An operator fixes what `detail` names, and reloads.",
        answered_by: &[TokenLookups],
        members: &["permanent"],
        exit: 78,
    }
    ProviderUnavailable {
        name: "provider_unavailable",
        status: S::SERVICE_UNAVAILABLE,
        title: "The provider is not available",
        meaning: "A call of a provider's API did not reach it. Or what Auth0 holds has expired, and the identity provider or \
                  Token Vault cannot be asked for another token.",
        remedy: "Retry later. `detail` names the cause.",
        answered_by: &[TokenLookups],
        retry_after: Some("when the source can be asked again"),
        exit: 69,
    }
    ProviderTimeout {
        name: "provider_timeout",
        status: S::GATEWAY_TIMEOUT,
        title: "The provider did not answer in time",
        meaning: "A provider did not answer a call within `proxy.head_timeout`, or did not read its body for \
                  `proxy.idle_timeout`. Or what Auth0 holds has expired, and the identity provider or Token Vault did not \
                  answer within its timeout.",
        remedy: "Retry later.",
        answered_by: &[TokenLookups],
        retry_after: Some("when the source can be asked again"),
        exit: 69,
    }
    StateUnavailable {
        name: "state_unavailable",
        status: S::SERVICE_UNAVAILABLE,
        title: "The state file cannot be written",
        meaning: "The file of `[state]` cannot be written. A refresh token that rotates is not redeemed then, because its \
                  successor could not be kept.",
        remedy: "An operator makes room or repairs the disk; the log names the cause.",
        answered_by: &[TokenLookups, Only(Route::User), Only(Route::Users)],
        retry_after: Some("when the file is tried again"),
        exit: 69,
    }
    UpstreamUnavailable {
        name: "upstream_unavailable",
        status: S::SERVICE_UNAVAILABLE,
        title: "Auth0 is not available",
        meaning: "Auth0 cannot be reached, or fails.",
        remedy: "Retry later. `detail` names the cause.",
        answered_by: &[Lookups, Only(Route::ManagementApi)],
        retry_after: Some(UPSTREAM_WAIT),
        exit: 69,
    }
    UpstreamRateLimited {
        name: "upstream_rate_limited",
        status: S::SERVICE_UNAVAILABLE,
        title: "The tenant's rate limit is reached",
        meaning: "Auth0 answers 429: the tenant's rate limit is reached.",
        remedy: "Retry later.",
        answered_by: &[Lookups],
        retry_after: Some(UPSTREAM_WAIT),
        exit: 69,
    }
    ManagementTokenUnavailable {
        name: "management_token_unavailable",
        status: S::SERVICE_UNAVAILABLE,
        title: "The daemon has no Management token",
        meaning: "The daemon has not obtained a Management token, without which it cannot ask Auth0 for users.",
        remedy: "Retry later. If `permanent` is true, an operator has to fix what `detail` names.",
        answered_by: &[Lookups, Only(Route::ManagementToken), Only(Route::ManagementApi)],
        retry_after: Some(UPSTREAM_WAIT),
        members: &["permanent"],
        exit: 69,
    }
    ManagementApiClosed {
        name: "management_api_closed",
        status: S::SERVICE_UNAVAILABLE,
        title: "Calls of the Management API are closed",
        meaning: "The token of `[management_api]` has the scope `read:user_idp_tokens`, or its scopes cannot be seen. With \
                  it, answers would show every user's tokens at identity providers.",
        remedy: "An operator takes the permission away from that application at Auth0.",
        answered_by: &[Only(Route::ManagementApi)],
        exit: 78,
    }
    Overloaded {
        name: "overloaded",
        status: S::SERVICE_UNAVAILABLE,
        title: "A limit of the daemon is reached",
        meaning: "The client's uid has as many connections open, as many lookups under way to Auth0, or as many calls under \
                  way as it may have, or `[upstream]` permits no further request to Auth0 in time.",
        remedy: "Retry later. Use one connection for many requests.",
        answered_by: &[All],
        retry_after: Some("when there may be room"),
        exit: 69,
    }
    Draining {
        name: "draining",
        status: S::SERVICE_UNAVAILABLE,
        title: "The daemon is shutting down",
        meaning: "The deadline of the daemon's shutdown came before the answer.",
        remedy: "Retry: the daemon's successor answers.",
        answered_by: &[Lookups, Only(Route::ManagementToken), Only(Route::ManagementApi)],
        retry_after: Some("1 s"),
        exit: 69,
    }
    UpstreamTimeout {
        name: "upstream_timeout",
        status: S::GATEWAY_TIMEOUT,
        title: "Auth0 did not answer in time",
        meaning: "Auth0 did not answer within `tenant.request_timeout`, or a call of the Management API within 30 s.",
        remedy: "Retry later.",
        answered_by: &[Lookups, Only(Route::ManagementApi)],
        retry_after: Some(UPSTREAM_WAIT),
        exit: 69,
    }
}
