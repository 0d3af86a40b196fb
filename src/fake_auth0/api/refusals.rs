//! Refusals in each provider's form: statuses, header fields and bodies for a dead token, a missing scope, a limit or a
//! policy.
//!
//! Shapes, codes and fields are those of the providers' documentation, or of answers that their clients recorded; texts
//! without a meaning to a program are in other words.

mod more;
mod row;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode, header};

use super::body::Outgoing;

use row::{JSON, Refusal};

/// Every kind of refusal, as in `/refuse/KIND`. Each begins with the name of a dialect.
pub const KINDS: &[&str] = &kinds();

const COUNT: usize = FIRST.len() + more::REFUSALS.len();

const fn kinds() -> [&'static str; COUNT] {
    let mut kinds = [""; COUNT];
    let mut at = 0;
    while at < COUNT {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse it")]
        {
            kinds[at] = if at < FIRST.len() { FIRST[at].kind } else { more::REFUSALS[at - FIRST.len()].kind };
        }
        at += 1;
    }
    kinds
}

const FIRST: &[Refusal] = &[
    Refusal {
        kind: "standard-dead",
        status: 401,
        fields: &[
            JSON,
            ("www-authenticate", r#"Bearer realm="api", error="invalid_token", error_description="expired""#),
        ],
        body: r#"{"error":"invalid_token"}"#,
    },
    Refusal { kind: "standard-dead-bare", status: 401, fields: &[], body: "" },
    Refusal {
        kind: "standard-scope",
        status: 403,
        fields: &[
            JSON,
            (
                "www-authenticate",
                r#"Bearer realm="api", error="insufficient_scope", scope="items.read items.write""#,
            ),
        ],
        body: r#"{"error":"insufficient_scope"}"#,
    },
    Refusal {
        kind: "standard-rate",
        status: 429,
        fields: &[JSON, ("retry-after", "7")],
        body: r#"{"error":"slow_down"}"#,
    },
    Refusal { kind: "standard-policy", status: 403, fields: &[JSON], body: r#"{"error":"access_denied"}"# },
    Refusal {
        kind: "google-dead",
        status: 401,
        fields: &[
            JSON,
            ("www-authenticate", r#"Bearer realm="https://accounts.google.com/", error="invalid_token""#),
        ],
        body: r#"{"error":{"code":401,"message":"The credentials are not valid.","errors":[{"message":"Not valid",
"domain":"global","reason":"authError","location":"Authorization","locationType":"header"}],
"status":"UNAUTHENTICATED"}}"#,
    },
    Refusal {
        kind: "google-dead-unquoted",
        status: 401,
        fields: &[
            JSON,
            (
                "www-authenticate",
                r#"Bearer realm="https://accounts.google.com/AuthSubRequest", error=invalid_token"#,
            ),
        ],
        body: r#"{"error":{"code":401,"errors":[{"domain":"global","reason":"authError"}]}}"#,
    },
    Refusal { kind: "google-scope", status: 403, fields: &[JSON, GOOGLE_SCOPE], body: GOOGLE_INSUFFICIENT },
    Refusal { kind: "google-scope-body", status: 403, fields: &[JSON], body: GOOGLE_INSUFFICIENT },
    Refusal {
        kind: "google-scope-header",
        status: 403,
        fields: &[("content-type", "text/plain"), GOOGLE_SCOPE],
        body: "Insufficient",
    },
    Refusal {
        kind: "google-scope-unquoted",
        status: 403,
        fields: &[
            JSON,
            (
                "www-authenticate",
                "Bearer realm=\"https://accounts.google.com/AuthSubRequest\", error=insufficient_scope, \
                 scope=\"https://www.googleapis.com/auth/analytics\"",
            ),
        ],
        body: r#"{"error":{"code":403,"errors":[{"domain":"global","reason":"insufficientPermissions"}]}}"#,
    },
    Refusal {
        kind: "google-policy",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"code":403,"message":"The API is off for this project.","errors":[{"message":"Off",
"domain":"usageLimits","reason":"accessNotConfigured"}],"status":"PERMISSION_DENIED","details":[{
"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED","domain":"googleapis.com"}]}}"#,
    },
    Refusal {
        kind: "google-policy-domain",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"code":403,"message":"The domain's administrators do not allow it.","errors":[{
"domain":"global","reason":"domainPolicy"}],"status":"PERMISSION_DENIED"}}"#,
    },
    Refusal {
        kind: "google-rate",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"code":403,"message":"Too fast for this user.","errors":[{"message":"Too fast",
"domain":"usageLimits","reason":"userRateLimitExceeded"}],"status":"PERMISSION_DENIED"}}"#,
    },
    Refusal {
        kind: "google-rate-429",
        status: 429,
        fields: &[JSON, ("retry-after", "9")],
        body: r#"{"error":{"code":429,"message":"The quota is used up.","errors":[{"domain":"global",
"reason":"rateLimitExceeded"}],"status":"RESOURCE_EXHAUSTED"}}"#,
    },
    Refusal {
        kind: "microsoft-dead",
        status: 401,
        fields: &[JSON, ("www-authenticate", MICROSOFT_BEARER)],
        body: r#"{"error":{"code":"InvalidAuthenticationToken","message":"The token's lifetime is over.",
"innerError":{"date":"2026-01-01T00:00:00","request-id":"00000000-0000-4000-8000-000000000000"}}}"#,
    },
    Refusal {
        kind: "microsoft-claims",
        status: 401,
        fields: &[
            JSON,
            (
                "www-authenticate",
                "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                 client_id=\"00000003-0000-0000-c000-000000000000\", error=\"insufficient_claims\", \
                 claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwgInZhbHVlIjoiMTYwNDEwNjY1MSJ9fX0=\", \
                 errorDescription=\"A challenge: InteractionRequired\"",
            ),
        ],
        body: r#"{"error":{"code":"InvalidAuthenticationToken","message":"A claims challenge, TokenIssuedBefore.",
"innerError":{"date":"2026-01-01T00:00:00","request-id":"00000000-0000-4000-8000-000000000000"}}}"#,
    },
    Refusal {
        kind: "microsoft-scope",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"code":"Authorization_RequestDenied","message":"Not enough privileges.",
"innerError":{"date":"2026-01-01T00:00:00","request-id":"00000000-0000-4000-8000-000000000000"}}}"#,
    },
    Refusal {
        kind: "microsoft-scope-mail",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"code":"ErrorAccessDenied","message":"The access is denied."}}"#,
    },
    Refusal {
        kind: "microsoft-scope-files",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"code":"accessDenied","message":"No permission for the action."}}"#,
    },
    Refusal {
        kind: "microsoft-policy",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"code":"notAllowed","message":"The system does not allow the action."}}"#,
    },
    Refusal {
        kind: "microsoft-rate",
        status: 429,
        fields: &[JSON, ("retry-after", "11")],
        body: r#"{"error":{"code":"TooManyRequests","message":"Slower.","innerError":{"code":"429"}}}"#,
    },
];

const GOOGLE_SCOPE: (&str, &str) = (
    "www-authenticate",
    "Bearer realm=\"https://accounts.google.com/\", error=\"insufficient_scope\", \
     scope=\"https://www.googleapis.com/auth/calendar https://www.googleapis.com/auth/calendar.readonly\"",
);

const GOOGLE_INSUFFICIENT: &str = r#"{"error":{"code":403,"message":"The scopes of the token are not sufficient.",
"errors":[{"message":"Not permitted","domain":"global","reason":"insufficientPermissions"}],
"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
"reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT","domain":"googleapis.com",
"metadata":{"service":"calendar-json.googleapis.com","method":"calendar.v3.CalendarList.List"}}]}}"#;

const MICROSOFT_BEARER: &str = "Bearer realm=\"\", \
                                authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                                client_id=\"00000003-0000-0000-c000-000000000000\"";

/// Makes the refusal of this kind, if there is one, as of `now`, a UNIX time in seconds.
pub(super) fn response(now: i64, kind: &str) -> Option<Response<Outgoing>> {
    let refusal = FIRST.iter().chain(more::REFUSALS).find(|refusal| refusal.kind == kind)?;
    let reset = now + 60;
    let mut response = Response::new(Outgoing::whole(refusal.body));
    *response.status_mut() = StatusCode::from_u16(refusal.status).ok()?;
    for (name, value) in refusal.fields {
        let value = HeaderValue::from_str(&value.replace("{reset}", &reset.to_string())).ok()?;
        response.headers_mut().append(HeaderName::from_static(name), value);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, refusal.body.len().into());
    Some(response)
}
