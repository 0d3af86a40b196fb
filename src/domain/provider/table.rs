//! The built-in providers. Each row names the pages that it follows.

use std::time::Duration;

use crate::domain::source::{OverReason, Processed, Rotation, SourceFault};

use super::row::{Endpoint, Provider, ProviderAuth};
use super::sign::{Meaning, Sign};

use Meaning::{Misconfigured, Over, Passing, Throttled};
use Sign::{Code, Described, Number, Subcode};

const NO_GRACE: Duration = Duration::ZERO;

/// RFC 6749 §5.2.
const INVALID_GRANT: &[Sign] = &[Code("invalid_grant")];

/// Every provider, in the order in which references name them.
pub static PROVIDERS: &[Provider] = &[
    // https://developers.google.com/identity/protocols/oauth2/web-server#offline (the answer has no refresh token;
    // `invalid_grant` for tokens that were revoked or have expired). `invalid_rapt` and `rapt_required`: Google
    // Workspace wants the user to authenticate again,
    // https://support.google.com/a/answer/9368756 and google-auth-library's `reauth related error`.
    Provider {
        name: "google",
        token_endpoint: Endpoint::At("https://oauth2.googleapis.com/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::None,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[
            (Subcode("invalid_rapt"), Over(OverReason::ReauthenticationRequired)),
            (Subcode("rapt_required"), Over(OverReason::ReauthenticationRequired)),
            (Described("invalid_grant", "invalid_rapt"), Over(OverReason::ReauthenticationRequired)),
            (Described("invalid_grant", "rapt_required"), Over(OverReason::ReauthenticationRequired)),
            (Code("deleted_client"), Misconfigured(SourceFault::ProviderClient)),
            (Code("disabled_client"), Misconfigured(SourceFault::ProviderClient)),
        ],
    },
    // https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow#refresh-the-access-token and
    // .../refresh-tokens ("doesn't revoke old refresh tokens"). `suberror` as MSAL classifies it, `error_codes` as
    // .../reference-error-codes lists them. With `invalid_grant` some of them are about a policy or a consent.
    Provider {
        name: "microsoft",
        token_endpoint: Endpoint::Like("https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::KeepOld,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[
            (Subcode("consent_required"), Over(OverReason::ConsentRequired)),
            (Subcode("basic_action"), Over(OverReason::ReauthenticationRequired)),
            (Subcode("additional_action"), Over(OverReason::ReauthenticationRequired)),
            (Subcode("message_only"), Over(OverReason::ReauthenticationRequired)),
            (Subcode("user_password_expired"), Over(OverReason::ReauthenticationRequired)),
            (Number(65001), Over(OverReason::ConsentRequired)),
            (Number(65004), Over(OverReason::ConsentRequired)),
            (Number(90094), Over(OverReason::ConsentRequired)),
            // An expired password, here and on premises.
            (Number(50055), Over(OverReason::ReauthenticationRequired)),
            (Number(50144), Over(OverReason::ReauthenticationRequired)),
            // A second factor, or a challenge of another service.
            (Number(50072), Over(OverReason::ReauthenticationRequired)),
            (Number(50074), Over(OverReason::ReauthenticationRequired)),
            (Number(50076), Over(OverReason::ReauthenticationRequired)),
            (Number(50078), Over(OverReason::ReauthenticationRequired)),
            (Number(50079), Over(OverReason::ReauthenticationRequired)),
            (Number(50158), Over(OverReason::ReauthenticationRequired)),
            // Conditional access.
            (Number(53000), Over(OverReason::ReauthenticationRequired)),
            (Number(53001), Over(OverReason::ReauthenticationRequired)),
            (Number(53002), Over(OverReason::ReauthenticationRequired)),
            (Number(53003), Over(OverReason::ReauthenticationRequired)),
            (Number(53004), Over(OverReason::ReauthenticationRequired)),
            // Transient errors of the directory behind it.
            (Number(90024), Passing(Processed::No)),
            (Number(90033), Passing(Processed::No)),
        ],
    },
    // GitHub Apps with expiring tokens. Errors come with status 200.
    // https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens
    Provider {
        name: "github",
        token_endpoint: Endpoint::At("https://github.com/login/oauth/access_token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: &[Code("bad_refresh_token")],
        signs: &[(Code("incorrect_client_credentials"), Misconfigured(SourceFault::ProviderClient))],
    },
    // https://docs.gitlab.com/api/oauth2/
    Provider {
        name: "gitlab",
        token_endpoint: Endpoint::At("https://gitlab.com/oauth/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[],
    },
    // Refresh tokens rotate since May 2026, https://community.developer.atlassian.com/t/99003. The older form of a
    // refusal is https://community.atlassian.com/t5/Bitbucket-questions/How-do-I-refresh-a-token/qaq-p/1545002.
    Provider {
        name: "bitbucket",
        token_endpoint: Endpoint::At("https://bitbucket.org/site/oauth2/access_token"),
        client_auth: ProviderAuth::Basic,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: &[
            Code("invalid_grant"),
            Described("invalid_request", "invalid refresh_token"),
            Described("invalid_request", "invalid refresh token"),
        ],
        // "Invalid OAuth client credentials", which RFC 6749 calls `invalid_client`.
        signs: &[(
            Described("unauthorized_client", "client credentials"),
            Misconfigured(SourceFault::ProviderClient),
        )],
    },
    // With token rotation, https://docs.slack.dev/authentication/using-token-rotation. Errors come with status 200, as
    // https://docs.slack.dev/reference/methods/oauth.v2.access lists them. After `internal_error` and `fatal_error`
    // "it's possible some aspect of the operation succeeded".
    Provider {
        name: "slack",
        token_endpoint: Endpoint::At("https://slack.com/api/oauth.v2.access"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: &[Code("invalid_refresh_token")],
        signs: &[
            (Code("invalid_client_id"), Misconfigured(SourceFault::ProviderClient)),
            (Code("bad_client_secret"), Misconfigured(SourceFault::ProviderClient)),
            (Code("invalid_grant_type"), Misconfigured(SourceFault::ProviderGrant)),
            (Code("ratelimited"), Throttled),
            (Code("internal_error"), Passing(Processed::Unknown)),
            (Code("fatal_error"), Passing(Processed::Unknown)),
            (Code("request_timeout"), Passing(Processed::Unknown)),
        ],
    },
    // https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_refresh_token_flow.htm and
    // .../remoteaccess_oauth_flow_errors.htm. `rotation` is "single" for an app with refresh token rotation.
    Provider {
        name: "salesforce",
        token_endpoint: Endpoint::At("https://login.salesforce.com/services/oauth2/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::None,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[
            // The login hours or addresses of the organization, or of the user's profile, exclude this machine.
            (Described("invalid_grant", "ip restricted"), Misconfigured(SourceFault::ProviderGrant)),
            (Described("invalid_grant", "login hours"), Passing(Processed::No)),
            (Code("invalid_client_id"), Misconfigured(SourceFault::ProviderClient)),
            (Code("invalid_app_access"), Misconfigured(SourceFault::ProviderGrant)),
            (Code("inactive_user"), Over(OverReason::RefreshRefused)),
            (Code("unknown_error"), Passing(Processed::Unknown)),
        ],
    },
    // https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens: 365 days from the
    // consent, which a refresh does not extend.
    Provider {
        name: "linkedin",
        token_endpoint: Endpoint::At("https://www.linkedin.com/oauth/v2/accessToken"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::None,
        grace: NO_GRACE,
        refused: &[
            Code("invalid_grant"),
            // "The provided authorization grant or refresh token is invalid, expired or revoked."
            Described("invalid_request", "expired or revoked"),
            Described("invalid_request", "refresh token is invalid"),
        ],
        signs: &[],
    },
    // https://developers.dropbox.com/oauth-guide#using-refresh-tokens
    Provider {
        name: "dropbox",
        token_endpoint: Endpoint::At("https://api.dropboxapi.com/oauth2/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::None,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[],
    },
    // https://developer.box.com/guides/authentication/tokens/refresh
    Provider {
        name: "box",
        token_endpoint: Endpoint::At("https://api.box.com/oauth2/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[],
    },
    // https://developers.zoom.us/docs/integrations/oauth/ ("the latest refresh token must always be used") and
    // https://developers.zoom.us/docs/integrations/oauth-error-messages/. `{"reason":"Invalid Token!","error":
    // "invalid_request"}` is in https://devforum.zoom.us, several times.
    Provider {
        name: "zoom",
        token_endpoint: Endpoint::At("https://zoom.us/oauth/token"),
        client_auth: ProviderAuth::Basic,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: &[Code("invalid_grant"), Described("invalid_request", "invalid token!")],
        signs: &[],
    },
    // https://developer.spotify.com/documentation/web-api/tutorials/refreshing-tokens and
    // https://developer.spotify.com/blog/2026-06-18-refresh-token-expiration: six months from the consent.
    Provider {
        name: "spotify",
        token_endpoint: Endpoint::At("https://accounts.spotify.com/api/token"),
        client_auth: ProviderAuth::Basic,
        rotation: Rotation::None,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[],
    },
    // https://developer.okta.com/docs/guides/refresh-tokens/main/#refresh-token-rotation: an application either rotates,
    // with a grace of 0 to 60 seconds, 30 by default, or has persistent tokens. The reuse of a token after the grace
    // revokes all tokens of the grant, so rotation is assumed.
    Provider {
        name: "okta",
        token_endpoint: Endpoint::Like("https://TENANT.okta.com/oauth2/v1/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::Single,
        grace: Duration::from_secs(30),
        refused: INVALID_GRANT,
        signs: &[],
    },
    // https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/#how-do-i-get-a-new-access-token--if-my-access-token-expires-or-is-revoked
    // and https://community.developer.atlassian.com/t/83103: ten minutes of reuse. `invalid_grant` has status 403.
    Provider {
        name: "atlassian",
        token_endpoint: Endpoint::At("https://auth.atlassian.com/oauth/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::Single,
        grace: Duration::from_secs(600),
        refused: INVALID_GRANT,
        // "Unauthorized" with 401, as Auth0 answers a wrong client secret, whose server this was.
        signs: &[(Described("access_denied", "unauthorized"), Misconfigured(SourceFault::ProviderClient))],
    },
    // https://developers.hubspot.com/docs/api-reference/auth-oauth-v1/guide and
    // https://nango.dev/blog/hubspot-oauth-bad-refresh-token: the code is in `status`.
    Provider {
        name: "hubspot",
        token_endpoint: Endpoint::At("https://api.hubapi.com/oauth/v1/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::None,
        grace: NO_GRACE,
        refused: &[Code("BAD_REFRESH_TOKEN"), Code("invalid_grant")],
        signs: &[
            (Code("BAD_CLIENT_ID"), Misconfigured(SourceFault::ProviderClient)),
            (Code("BAD_CLIENT_SECRET"), Misconfigured(SourceFault::ProviderClient)),
            (Code("BAD_GRANT_TYPE"), Misconfigured(SourceFault::ProviderGrant)),
        ],
    },
    // https://developer.xero.com/documentation/guides/oauth2/token-types and https://developer.xero.com/faq/oauth2:
    // thirty minutes of reuse.
    Provider {
        name: "xero",
        token_endpoint: Endpoint::At("https://identity.xero.com/connect/token"),
        client_auth: ProviderAuth::Basic,
        rotation: Rotation::Single,
        grace: Duration::from_secs(1_800),
        refused: INVALID_GRANT,
        signs: &[],
    },
    // https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/faq: the refresh
    // token's value changes about once a day, after which the older one is refused.
    Provider {
        name: "quickbooks",
        token_endpoint: Endpoint::At("https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"),
        client_auth: ProviderAuth::Basic,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: INVALID_GRANT,
        signs: &[],
    },
    // Any other provider that follows RFC 6749. What it does with a redeemed refresh token is not known, and some revoke
    // every token of a grant when one is redeemed twice (RFC 9700 §4.14.2), so rotation is assumed. An expired token at
    // Facebook is an object with code 190, https://developers.facebook.com/docs/facebook-login/guides/access-tokens/debugging.
    Provider {
        name: "oauth2",
        token_endpoint: Endpoint::Like("https://HOST/oauth/token"),
        client_auth: ProviderAuth::Post,
        rotation: Rotation::Single,
        grace: NO_GRACE,
        refused: &[Code("invalid_grant"), Code("OAuthException/190")],
        signs: &[],
    },
];
