//! Refusals of GitHub, Slack, Salesforce, LinkedIn, Facebook, Bitbucket, Dropbox, Box and Spotify.

use super::row::{JSON, Refusal};

const SPOTIFY_DEAD: &str =
    r#"Bearer realm="spotify", error="invalid_token", error_description="The access token expired""#;

const BOX_SCOPE: &str = "Bearer realm=\"Service\", error=\"insufficient_scope\", \
                         error_description=\"The token has too few privileges.\"";

pub(super) const REFUSALS: &[Refusal] = &[
    Refusal {
        kind: "github-dead",
        status: 401,
        fields: &[JSON],
        body: r#"{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}"#,
    },
    Refusal {
        kind: "github-scope",
        status: 404,
        fields: &[JSON, ("x-oauth-scopes", "gist, read:user"), ("x-accepted-oauth-scopes", "repo")],
        body: r#"{"message":"Not Found","documentation_url":"https://docs.github.com/rest","status":"404"}"#,
    },
    Refusal {
        kind: "github-scope-403",
        status: 403,
        fields: &[JSON, ("x-oauth-scopes", "gist"), ("x-accepted-oauth-scopes", "admin:org, write:org")],
        body: r#"{"message":"You must have the right scope.","status":"403"}"#,
    },
    Refusal {
        kind: "github-not-found",
        status: 404,
        fields: &[JSON, ("x-oauth-scopes", "repo, user"), ("x-accepted-oauth-scopes", "repo")],
        body: r#"{"message":"Not Found","documentation_url":"https://docs.github.com/rest","status":"404"}"#,
    },
    Refusal {
        kind: "github-app",
        status: 403,
        fields: &[JSON, ("x-accepted-github-permissions", "contents=read,issues=write; administration=read")],
        body: r#"{"message":"Resource not accessible by integration","status":"403"}"#,
    },
    Refusal {
        kind: "github-rate",
        status: 403,
        fields: &[
            JSON,
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "{reset}"),
        ],
        body: r#"{"message":"API rate limit exceeded for user ID 42.","status":"403"}"#,
    },
    Refusal {
        kind: "github-rate-secondary",
        status: 403,
        fields: &[JSON, ("retry-after", "60"), ("x-ratelimit-remaining", "4000")],
        body: r#"{"message":"You have exceeded a secondary rate limit.","status":"403"}"#,
    },
    Refusal {
        kind: "github-policy",
        status: 403,
        fields: &[
            JSON,
            ("x-github-sso", "required; url=https://github.com/orgs/demo/sso?authorization_request=A1"),
        ],
        body: r#"{"message":"Resource protected by organization SAML enforcement.","status":"403"}"#,
    },
    Refusal {
        kind: "slack-dead",
        status: 200,
        fields: &[JSON],
        body: r#"{"ok":false,"error":"token_revoked"}"#,
    },
    Refusal {
        kind: "slack-dead-expired",
        status: 200,
        fields: &[JSON],
        body: r#"{"ok":false,"error":"token_expired"}"#,
    },
    Refusal {
        kind: "slack-dead-invalid",
        status: 200,
        fields: &[JSON],
        body: r#"{"ok":false,"error":"invalid_auth"}"#,
    },
    Refusal {
        kind: "slack-scope",
        status: 200,
        fields: &[
            JSON,
            ("x-oauth-scopes", "identify,channels:read"),
            ("x-accepted-oauth-scopes", "channels:history"),
        ],
        body: r#"{"ok":false,"error":"missing_scope","needed":"channels:history","provided":"identify,channels:read"}"#,
    },
    Refusal {
        kind: "slack-rate",
        status: 429,
        fields: &[JSON, ("retry-after", "30")],
        body: r#"{"ok":false,"error":"ratelimited"}"#,
    },
    Refusal {
        kind: "slack-policy",
        status: 200,
        fields: &[JSON],
        body: r#"{"ok":false,"error":"restricted_action"}"#,
    },
    Refusal {
        kind: "salesforce-dead",
        status: 401,
        fields: &[JSON, ("www-authenticate", "Token")],
        body: r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#,
    },
    Refusal {
        kind: "salesforce-policy",
        status: 401,
        fields: &[JSON],
        body: r#"[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]"#,
    },
    Refusal {
        kind: "salesforce-scope",
        status: 403,
        fields: &[JSON],
        body: r#"[{"message":"Not permitted for this user","errorCode":"INSUFFICIENT_ACCESS"}]"#,
    },
    Refusal {
        kind: "salesforce-rate",
        status: 403,
        fields: &[JSON],
        body: r#"[{"message":"The limit of requests is exceeded","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#,
    },
    Refusal {
        kind: "linkedin-dead",
        status: 401,
        fields: &[JSON],
        body: r#"{"serviceErrorCode":65601,"code":"REVOKED_ACCESS_TOKEN","message":"It is revoked","status":401}"#,
    },
    Refusal {
        kind: "linkedin-dead-expired",
        status: 401,
        fields: &[JSON],
        body: r#"{"serviceErrorCode":65602,"code":"EXPIRED_ACCESS_TOKEN","message":"Over","status":401}"#,
    },
    Refusal {
        kind: "linkedin-dead-invalid",
        status: 401,
        fields: &[JSON],
        body: r#"{"serviceErrorCode":65600,"code":"INVALID_ACCESS_TOKEN","message":"Unknown","status":401}"#,
    },
    Refusal {
        kind: "linkedin-scope",
        status: 403,
        fields: &[JSON],
        body: concat!(
            r#"{"serviceErrorCode":100,"code":"ACCESS_DENIED","#,
            r#""message":"Not enough permissions to access: me.GET.NO_VERSION","status":403}"#
        ),
    },
    Refusal {
        kind: "linkedin-policy",
        status: 403,
        fields: &[JSON],
        body: r#"{"serviceErrorCode":2028,"code":"FORBIDDEN","message":"Not for this member","status":403}"#,
    },
    Refusal {
        kind: "linkedin-rate",
        status: 429,
        fields: &[JSON],
        body: r#"{"serviceErrorCode":101,"code":"TOO_MANY_REQUESTS","message":"The day's limit","status":429}"#,
    },
    Refusal {
        kind: "facebook-dead",
        status: 400,
        fields: &[
            JSON,
            ("www-authenticate", r#"OAuth "Facebook Platform" "invalid_token" "The session is over.""#),
        ],
        body: concat!(
            r#"{"error":{"message":"The session is over.","type":"OAuthException","code":190,"#,
            r#""error_subcode":463,"fbtrace_id":"AbCdEfGhIjK"}}"#
        ),
    },
    Refusal {
        kind: "facebook-other",
        status: 400,
        fields: &[JSON],
        body: r#"{"error":{"message":"(#100) A parameter","type":"OAuthException","code":100,"fbtrace_id":"A"}}"#,
    },
    Refusal {
        kind: "facebook-scope",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"message":"(#200) A permission","type":"OAuthException","code":200,"fbtrace_id":"A"}}"#,
    },
    Refusal {
        kind: "facebook-scope-10",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"message":"(#10) A permission","type":"OAuthException","code":10,"fbtrace_id":"A"}}"#,
    },
    Refusal {
        kind: "facebook-rate",
        status: 403,
        fields: &[JSON, ("x-app-usage", r#"{"call_count":100,"total_cputime":25,"total_time":25}"#)],
        body: r#"{"error":{"message":"(#4) The app's limit","type":"OAuthException","code":4,"fbtrace_id":"A"}}"#,
    },
    Refusal {
        kind: "bitbucket-dead",
        status: 401,
        fields: &[JSON],
        body: concat!(
            r#"{"type":"error","error":{"message":"#,
            r#""Token is invalid, expired, or not supported for this endpoint."}}"#
        ),
    },
    Refusal {
        kind: "bitbucket-scope",
        status: 403,
        fields: &[JSON],
        body: concat!(
            r#"{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","#,
            r#""detail":{"required":["account"],"granted":["team","repository"]}}}"#
        ),
    },
    Refusal {
        kind: "bitbucket-policy",
        status: 403,
        fields: &[JSON],
        body: r#"{"type":"error","error":{"message":"Forbidden"}}"#,
    },
    Refusal {
        kind: "bitbucket-rate",
        status: 429,
        fields: &[JSON],
        body: r#"{"type":"error","error":{"message":"The limit of this resource is exceeded"}}"#,
    },
    Refusal {
        kind: "dropbox-dead",
        status: 401,
        fields: &[JSON, ("www-authenticate", r#"Bearer realm="Dropbox-API""#)],
        body: r#"{"error_summary": "expired_access_token/..", "error": {".tag": "expired_access_token"}}"#,
    },
    Refusal {
        kind: "dropbox-dead-invalid",
        status: 401,
        fields: &[JSON, ("www-authenticate", r#"Bearer realm="Dropbox-API""#)],
        body: r#"{"error_summary": "invalid_access_token/.", "error": {".tag": "invalid_access_token"}}"#,
    },
    Refusal {
        kind: "dropbox-scope",
        status: 401,
        fields: &[JSON, ("www-authenticate", r#"Bearer realm="Dropbox-API""#)],
        body: concat!(
            r#"{"error_summary": "missing_scope/...", "error": {".tag": "missing_scope", "#,
            r#""required_scope": "files.content.write"}}"#
        ),
    },
    Refusal {
        kind: "dropbox-policy",
        status: 403,
        fields: &[JSON],
        body: r#"{"error_summary": "invalid_account_type/..", "error": {".tag": "invalid_account_type"}}"#,
    },
    Refusal {
        kind: "dropbox-rate",
        status: 429,
        fields: &[JSON, ("retry-after", "15")],
        body: concat!(
            r#"{"error_summary": "too_many_requests/..", "error": {"reason": {".tag": "too_many_requests"}, "#,
            r#""retry_after": 15}}"#
        ),
    },
    Refusal {
        kind: "box-dead",
        status: 401,
        fields: &[(
            "www-authenticate",
            r#"Bearer realm="Service", error="invalid_token", error_description="The token is not valid.""#,
        )],
        body: "",
    },
    Refusal { kind: "box-scope", status: 403, fields: &[("www-authenticate", BOX_SCOPE)], body: "" },
    Refusal {
        kind: "box-policy",
        status: 403,
        fields: &[JSON],
        body: r#"{"type":"error","status":403,"code":"access_denied_insufficient_permissions","message":"Denied"}"#,
    },
    Refusal {
        kind: "box-rate",
        status: 429,
        fields: &[JSON, ("retry-after", "20")],
        body: r#"{"type":"error","status":429,"code":"rate_limit_exceeded","message":"Slower"}"#,
    },
    Refusal {
        kind: "spotify-dead",
        status: 401,
        fields: &[JSON, ("www-authenticate", SPOTIFY_DEAD)],
        body: r#"{"error":{"status":401,"message":"The access token expired"}}"#,
    },
    Refusal {
        kind: "spotify-scope",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"status":403,"message":"Insufficient client scope"}}"#,
    },
    Refusal {
        kind: "spotify-policy",
        status: 403,
        fields: &[JSON],
        body: r#"{"error":{"status":403,"message":"Premium is required","reason":"PREMIUM_REQUIRED"}}"#,
    },
    Refusal {
        kind: "spotify-rate",
        status: 429,
        fields: &[JSON, ("retry-after", "13")],
        body: r#"{"error":{"status":429,"message":"API rate limit exceeded"}}"#,
    },
];
