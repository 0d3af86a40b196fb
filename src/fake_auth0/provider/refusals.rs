//! Refusals in each provider's dialect: the code, the status, and the form of the body.
//!
//! Codes and texts are those of the providers' documentation, or were recorded by their clients.

use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::domain::freshness::Moment;
use crate::fake_auth0::reply;

use super::dialect::Dialect;

/// A provider's reason to refuse a redemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The refresh token is unknown, expired, revoked, or was redeemed before. As a fault it is what GitLab has answered
    /// for a valid token while a replica of its database was behind (gitlab.com, "OAuth /oauth/token refresh grant returns
    /// transient invalid_grant 400 due to DB replica lag").
    InvalidGrant,
    /// The client's id or secret is wrong, or sent in a way that the provider does not accept.
    InvalidClient,
    /// The client may not redeem refresh tokens.
    UnauthorizedClient,
    /// The requested scope is unknown, or exceeds what the user granted.
    InvalidScope,
    /// A parameter is missing.
    InvalidRequest,
    /// The grant type is not `refresh_token`.
    UnsupportedGrantType,
    /// Entra: the user or an administrator has to consent again, with that code as `error`.
    ConsentRequired,
    /// Entra: the user or an administrator has to consent again, as `suberror` of an `invalid_grant`. Recorded from
    /// endpoint v2.
    ConsentSuberror,
    /// Entra: the user has to do something, such as a second factor, with that code as `error`.
    InteractionRequired,
    /// Entra: the user has to do something, as `suberror` `basic_action` of an `invalid_grant`.
    BasicAction,
    /// Google Workspace: the session length that an administrator set is over, so the user has to authenticate again.
    /// An `invalid_grant` with `error_subtype` `rapt_required`.
    RaptRequired,
    /// Google Workspace: the proof of an earlier authentication is over. An `invalid_grant` with `error_subtype`
    /// `invalid_rapt`.
    InvalidRapt,
    /// The provider cannot answer now, in the form that is special to it.
    Unavailable,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::InvalidGrant,
        Self::InvalidClient,
        Self::UnauthorizedClient,
        Self::InvalidScope,
        Self::InvalidRequest,
        Self::UnsupportedGrantType,
        Self::ConsentRequired,
        Self::ConsentSuberror,
        Self::InteractionRequired,
        Self::BasicAction,
        Self::RaptRequired,
        Self::InvalidRapt,
        Self::Unavailable,
    ];
}

/// Status, code and description.
type Known = (u16, &'static str, &'static str);

/// The refusal, and the code in it.
pub(super) fn refusal(dialect: Dialect, refused: Refused, now: Moment) -> (Response<Bytes>, &'static str) {
    if refused == Refused::Unavailable
        && let Some((response, code)) = unavailable(dialect)
    {
        return (response, code);
    }
    let known @ (status, code, description) = special(dialect, refused).unwrap_or_else(|| common(refused));
    let body = match dialect {
        Dialect::Microsoft => entra(known, refused, now),
        Dialect::Slack => json!({ "ok": false, "error": code }),
        Dialect::Hubspot => {
            json!({ "status": code, "message": description, "correlationId": "00000000-0000-4000-8000-000000000000" })
        }
        Dialect::Zoom => json!({ "reason": description, "error": code }),
        Dialect::Xero | Dialect::QuickBooks => json!({ "error": code }),
        Dialect::Github => json!({
            "error": code,
            "error_description": description,
            "error_uri": "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/",
        }),
        Dialect::Google => google(known, refused),
        _ => json!({ "error": code, "error_description": description }),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (reply::json(status, &body), code)
}

/// What RFC 6749 §5.2 says, where a provider has nothing of its own.
fn common(refused: Refused) -> Known {
    match refused {
        Refused::InvalidGrant => (400, "invalid_grant", "The refresh token is invalid, expired or revoked"),
        Refused::InvalidClient => (401, "invalid_client", "Client authentication failed"),
        Refused::UnauthorizedClient => {
            (400, "unauthorized_client", "The client is not authorized to use this grant type")
        }
        Refused::InvalidScope => (400, "invalid_scope", "The requested scope is invalid"),
        Refused::InvalidRequest => (400, "invalid_request", "A required parameter is missing"),
        Refused::UnsupportedGrantType => (400, "unsupported_grant_type", "The grant type is not supported"),
        Refused::ConsentRequired => (400, "consent_required", "The user has to consent"),
        Refused::ConsentSuberror => (400, "invalid_grant", "The user has to consent"),
        Refused::InteractionRequired => (400, "interaction_required", "The user has to interact"),
        Refused::BasicAction => (400, "invalid_grant", "The user has to interact"),
        Refused::RaptRequired => (400, "invalid_grant", "reauth related error (rapt_required)"),
        Refused::InvalidRapt => (400, "invalid_grant", "reauth related error (invalid_rapt)"),
        Refused::Unavailable => (503, "temporarily_unavailable", "Try again later"),
    }
}

/// What one provider says in its own way.
fn special(dialect: Dialect, refused: Refused) -> Option<Known> {
    use Refused::{
        InvalidClient, InvalidGrant, InvalidRequest, InvalidScope, UnauthorizedClient, Unavailable,
        UnsupportedGrantType,
    };
    Some(match (dialect, refused) {
        (Dialect::Google, InvalidGrant) => (400, "invalid_grant", "Token has been expired or revoked."),
        (Dialect::Google, InvalidClient) => (401, "invalid_client", "The OAuth client was not found."),
        (Dialect::Google, UnauthorizedClient) => (401, "unauthorized_client", "Unauthorized"),
        // Clients of Google retry this code: google-auth-library-python, `google/oauth2/_client.py`.
        (Dialect::Google, Unavailable) => (500, "internal_failure", "Backend Error"),

        // GitHub answers every error of its own with 200.
        (Dialect::Github, InvalidGrant) => {
            (200, "bad_refresh_token", "The refresh token passed is incorrect or expired.")
        }
        (Dialect::Github, InvalidClient) => {
            (200, "incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
        }
        (Dialect::Github, UnsupportedGrantType) => {
            (200, "unsupported_grant_type", "The grant_type must be refresh_token.")
        }

        // Doorkeeper's texts, which GitLab uses.
        (Dialect::Gitlab, InvalidGrant) => (
            400,
            "invalid_grant",
            "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in \
             the authorization request, or was issued to another client.",
        ),
        (Dialect::Gitlab, InvalidClient) => (
            401,
            "invalid_client",
            "Client authentication failed due to unknown client, no client authentication included, or unsupported \
             authentication method.",
        ),

        (Dialect::Bitbucket, InvalidGrant) => (400, "invalid_grant", "Invalid refresh_token"),
        // Recorded before refresh tokens rotated there.
        (Dialect::Bitbucket, InvalidRequest) => (400, "invalid_request", "Invalid refresh_token"),
        (Dialect::Bitbucket, InvalidClient) => {
            (400, "unauthorized_client", "Invalid OAuth client credentials")
        }

        // Slack answers every error of its own with 200.
        (Dialect::Slack, InvalidGrant) => (200, "invalid_refresh_token", ""),
        (Dialect::Slack, InvalidClient) => (200, "bad_client_secret", ""),
        (Dialect::Slack, UnauthorizedClient) => (200, "token_rotation_not_enabled", ""),
        (Dialect::Slack, UnsupportedGrantType) => (200, "invalid_grant_type", ""),
        (Dialect::Slack, InvalidRequest) => (200, "invalid_arguments", ""),
        (Dialect::Slack, InvalidScope) => (200, "invalid_scope", ""),
        (Dialect::Slack, Unavailable) => (200, "internal_error", ""),

        (Dialect::Salesforce, InvalidGrant) => (400, "invalid_grant", "expired access/refresh token"),
        (Dialect::Salesforce, InvalidClient) => (400, "invalid_client", "invalid client credentials"),
        (Dialect::Salesforce, Unavailable) => (400, "unknown_error", "retry your request"),

        (Dialect::LinkedIn, InvalidGrant) => (
            400,
            "invalid_grant",
            "The provided authorization grant or refresh token is invalid, expired or revoked",
        ),
        (Dialect::Dropbox, InvalidGrant) => (400, "invalid_grant", "refresh token is invalid or revoked"),
        (Dialect::Dropbox, InvalidClient) => (400, "invalid_client", "Invalid client_id or client_secret"),

        (Dialect::Box, InvalidGrant) => (400, "invalid_grant", "Refresh token has expired"),
        (Dialect::Box, InvalidClient) => (400, "invalid_client", "The client credentials are invalid"),

        // 400 since 2022, 401 before.
        (Dialect::Zoom, InvalidGrant) => (400, "invalid_grant", "Invalid Token!"),
        (Dialect::Zoom, InvalidClient) => (401, "invalid_client", "Invalid client_id or client_secret"),

        (Dialect::Spotify, InvalidGrant) => (400, "invalid_grant", "Refresh token revoked"),
        (Dialect::Spotify, InvalidClient) => (400, "invalid_client", "Invalid client secret"),

        (Dialect::Okta, InvalidGrant) => (400, "invalid_grant", "The refresh token is invalid or expired."),
        (Dialect::Okta, InvalidClient) => {
            (401, "invalid_client", "The client secret supplied for a confidential client is invalid.")
        }

        (Dialect::Atlassian, InvalidGrant) => (403, "invalid_grant", "Unknown or invalid refresh token."),
        (Dialect::Atlassian, InvalidClient) => (401, "access_denied", "Unauthorized"),

        (Dialect::Hubspot, InvalidGrant) => (400, "BAD_REFRESH_TOKEN", "missing or invalid refresh token"),
        (Dialect::Hubspot, InvalidClient) => (400, "BAD_CLIENT_SECRET", "client secret does not match"),
        (Dialect::Hubspot, UnsupportedGrantType) => (400, "BAD_GRANT_TYPE", "missing or unknown grant type"),
        (Dialect::Hubspot, InvalidRequest) => (400, "BAD_REFRESH_TOKEN", "missing or invalid refresh token"),

        // IdentityServer, on which Xero's endpoint is built, refuses clients with 400.
        (Dialect::Xero, InvalidClient) => (400, "invalid_client", ""),
        _ => return None,
    })
}

fn google((_, code, description): Known, refused: Refused) -> Value {
    let subtype = match refused {
        Refused::RaptRequired => "rapt_required",
        Refused::InvalidRapt => "invalid_rapt",
        _ => return json!({ "error": code, "error_description": description }),
    };
    json!({
        "error": code,
        "error_description": description,
        "error_uri": "https://support.google.com/a/answer/9368756",
        "error_subtype": subtype,
    })
}

/// An error of Entra: learn.microsoft.com, "Microsoft Entra authentication and authorization error codes".
fn entra((_, code, _): Known, refused: Refused, now: Moment) -> Value {
    let (number, text) = match refused {
        Refused::InvalidGrant => (700_082, "The refresh token has expired due to inactivity."),
        Refused::InvalidClient => (7_000_215, "Invalid client secret provided."),
        Refused::UnauthorizedClient => (700_016, "Application was not found in the directory."),
        Refused::InvalidScope => (70_011, "The provided value for the input parameter 'scope' is not valid."),
        Refused::InvalidRequest => (900_144, "The request body must contain the following parameter."),
        Refused::UnsupportedGrantType => (70_003, "The app requested an unsupported grant type."),
        Refused::ConsentRequired | Refused::ConsentSuberror => {
            (65_001, "The user or administrator has not consented to use the application.")
        }
        Refused::InteractionRequired | Refused::BasicAction => {
            (50_076, "The user must use multi-factor authentication to access the resource.")
        }
        Refused::RaptRequired | Refused::InvalidRapt => (50_173, "The provided grant has been revoked."),
        Refused::Unavailable => (90_033, "A transient error has occurred. Please try again."),
    };
    let at = now.wall.to_string().replace('T', " ");
    let mut body = json!({
        "error": code,
        "error_description": format!(
            "AADSTS{number}: {text}\r\nTrace ID: 00000000-0000-4000-8000-000000000001\r\n\
             Correlation ID: 00000000-0000-4000-8000-000000000002\r\nTimestamp: {at}"
        ),
        "error_codes": [number],
        "timestamp": at,
        "trace_id": "00000000-0000-4000-8000-000000000001",
        "correlation_id": "00000000-0000-4000-8000-000000000002",
    });
    let suberror = match refused {
        Refused::ConsentSuberror => Some("consent_required"),
        Refused::BasicAction => Some("basic_action"),
        _ => None,
    };
    if let (Some(suberror), Some(body)) = (suberror, body.as_object_mut()) {
        body.insert("suberror".into(), suberror.into());
    }
    body
}

/// The answers of providers that are down or limit rates, where they have no code of OAuth.
fn unavailable(dialect: Dialect) -> Option<(Response<Bytes>, &'static str)> {
    let (status, retry_after, body) = match dialect {
        Dialect::Github | Dialect::Bitbucket => return Some((page(502), "502")),
        Dialect::Gitlab => {
            // docs.gitlab.com, "Rate limits": the body is this text.
            let mut response =
                reply::with_type(StatusCode::TOO_MANY_REQUESTS, "text/plain; charset=utf-8", "Retry later\n");
            reply::set(&mut response, "retry-after", "60");
            return Some((response, "429"));
        }
        // dropbox.com/developers, "Error handling": `error` is an object.
        Dialect::Dropbox => (
            429,
            Some("300"),
            json!({
                "error_summary": "too_many_requests/.",
                "error": { "reason": { ".tag": "too_many_requests" }, "retry_after": 300 },
            }),
        ),
        // developer.box.com, "Client error".
        Dialect::Box => (
            503,
            None,
            json!({ "type": "error", "status": 503, "code": "unavailable", "message": "Unavailable" }),
        ),
        Dialect::Zoom => (
            429,
            None,
            json!({ "code": 429, "message": "You have reached the maximum per-second rate limit for this API." }),
        ),
        // developer.okta.com, "Rate limits": no `Retry-After`, but the time at which the window ends.
        Dialect::Okta => (
            429,
            None,
            json!({
                "errorCode": "E0000047",
                "errorSummary": "API call exceeded rate limit due to too many requests.",
                "errorLink": "E0000047", "errorId": "demo", "errorCauses": [],
            }),
        ),
        Dialect::Atlassian => (503, None, json!({ "code": 503, "message": "Service Unavailable" })),
        Dialect::Hubspot => (
            429,
            None,
            json!({
                "status": "error", "message": "You have reached your secondly limit.", "errorType": "RATE_LIMIT",
                "correlationId": "00000000-0000-4000-8000-000000000000", "policyName": "SECONDLY",
            }),
        ),
        Dialect::Xero | Dialect::QuickBooks => return Some((page(503), "503")),
        _ => return None,
    };
    let code = if status == 429 { "429" } else { "503" };
    let mut response = reply::json(StatusCode::from_u16(status).unwrap_or_default(), &body);
    if let Some(seconds) = retry_after {
        reply::set(&mut response, "retry-after", seconds);
    }
    Some((response, code))
}

/// An error page, or a web page with status 200.
pub(super) fn page(status: u16) -> Response<Bytes> {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = code.canonical_reason().unwrap_or("Error");
    let page = format!("<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>");
    reply::with_type(code, "text/html; charset=utf-8", page)
}
