//! The dialects of simulated providers: the token endpoint, how clients authenticate, and how tokens rotate.

use std::time::Duration;

use crate::domain::source::Rotation;
use crate::fake_auth0::options::ClientAuth;

use super::rules::{OldAccessToken, TokenRules};

/// The identity provider that a simulated one imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Google (developers.google.com/identity, "Using OAuth 2.0 for Web Server Applications").
    Google,
    /// Microsoft Entra ID and Microsoft accounts, endpoint v2 (learn.microsoft.com, "Refresh tokens in the Microsoft
    /// identity platform").
    Microsoft,
    /// A GitHub App with expiring tokens (docs.github.com, "Refreshing user access tokens").
    Github,
    /// GitLab (docs.gitlab.com, "OAuth 2.0 identity provider API").
    Gitlab,
    /// Bitbucket Cloud (developer.atlassian.com, "Use OAuth on Bitbucket Cloud").
    Bitbucket,
    /// Slack with token rotation (docs.slack.dev, "Using token rotation").
    Slack,
    /// Salesforce (help.salesforce.com, "OAuth 2.0 Refresh Token Flow").
    Salesforce,
    /// LinkedIn (learn.microsoft.com/linkedin, "Refresh Tokens with OAuth 2.0").
    LinkedIn,
    /// Dropbox (dropbox.com/developers, "OAuth Guide").
    Dropbox,
    /// Box (developer.box.com, "Refresh a Token").
    Box,
    /// Zoom (developers.zoom.us, "OAuth 2.0").
    Zoom,
    /// Spotify (developer.spotify.com, "Refreshing tokens").
    Spotify,
    /// Okta with rotation (developer.okta.com, "Refresh access tokens and rotate refresh tokens").
    Okta,
    /// Atlassian Cloud (developer.atlassian.com, "OAuth 2.0 (3LO) apps").
    Atlassian,
    /// HubSpot, endpoint v1 (developers.hubspot.com, "OAuth tokens").
    Hubspot,
    /// Xero (developer.xero.com, "The standard authorization code flow").
    Xero,
    /// QuickBooks Online (developer.intuit.com, "Set up OAuth 2.0").
    QuickBooks,
    /// A server that keeps to RFC 6749, with single-use refresh tokens and the detection of reuse that RFC 9700 §4.14.2
    /// recommends.
    OAuth2,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 18] = [
        Self::Google,
        Self::Microsoft,
        Self::Github,
        Self::Gitlab,
        Self::Bitbucket,
        Self::Slack,
        Self::Salesforce,
        Self::LinkedIn,
        Self::Dropbox,
        Self::Box,
        Self::Zoom,
        Self::Spotify,
        Self::Okta,
        Self::Atlassian,
        Self::Hubspot,
        Self::Xero,
        Self::QuickBooks,
        Self::OAuth2,
    ];

    /// The provider's name in the daemon's configuration.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The host of the real provider's token endpoint, under which tests in memory reach the simulated one.
    pub const fn host(self) -> &'static str {
        self.row().host
    }

    /// The path of the token endpoint.
    pub const fn path(self) -> &'static str {
        self.row().path
    }

    pub(super) const fn client_auth(self) -> ClientAuth {
        self.row().auth
    }

    /// How the provider's tokens live and rotate unless a client's settings say otherwise.
    pub const fn rules(self) -> TokenRules {
        let (rotation, seconds) = self.row().tokens;
        let plain = TokenRules {
            rotation,
            grace: Duration::ZERO,
            reuse_ends_family: false,
            repeats_unchanged: false,
            replaced_after: Duration::ZERO,
            old_access_token: OldAccessToken::Lives,
            lifetime: if seconds == 0 { None } else { Some(Duration::from_secs(seconds)) },
        };
        match self {
            // "Once a refresh token is used, that refresh token and the old user access token will no longer work."
            Self::Github | Self::Gitlab => {
                TokenRules { old_access_token: OldAccessToken::EndsAtRotation, ..plain }
            }
            Self::LinkedIn | Self::Hubspot => TokenRules { repeats_unchanged: true, ..plain },
            Self::Okta => TokenRules { grace: Duration::from_secs(30), reuse_ends_family: true, ..plain },
            Self::Atlassian => TokenRules {
                grace: Duration::from_secs(600),
                old_access_token: OldAccessToken::EndsAfterGrace,
                ..plain
            },
            Self::Xero => TokenRules { grace: Duration::from_secs(1_800), ..plain },
            // The value changes about once a day, and the previous one expires a day later.
            Self::QuickBooks => TokenRules {
                grace: Duration::from_secs(86_400),
                replaced_after: Duration::from_secs(86_400),
                repeats_unchanged: true,
                ..plain
            },
            Self::OAuth2 => TokenRules { reuse_ends_family: true, ..plain },
            _ => plain,
        }
    }

    /// What access tokens and refresh tokens begin with.
    pub(super) const fn prefixes(self) -> (&'static str, &'static str) {
        self.row().prefixes
    }

    /// The scopes that a user grants unless a test says otherwise.
    pub(super) const fn scopes(self) -> &'static [&'static str] {
        self.row().scopes
    }

    /// Whether access tokens are JWTs.
    pub(super) const fn issues_jwts(self) -> bool {
        matches!(self, Self::Microsoft | Self::Atlassian | Self::Xero)
    }

    const fn row(self) -> &'static Row {
        match self {
            Self::Google => &GOOGLE,
            Self::Microsoft => &MICROSOFT,
            Self::Github => &GITHUB,
            Self::Gitlab => &GITLAB,
            Self::Bitbucket => &BITBUCKET,
            Self::Slack => &SLACK,
            Self::Salesforce => &SALESFORCE,
            Self::LinkedIn => &LINKEDIN,
            Self::Dropbox => &DROPBOX,
            Self::Box => &BOX,
            Self::Zoom => &ZOOM,
            Self::Spotify => &SPOTIFY,
            Self::Okta => &OKTA,
            Self::Atlassian => &ATLASSIAN,
            Self::Hubspot => &HUBSPOT,
            Self::Xero => &XERO,
            Self::QuickBooks => &QUICKBOOKS,
            Self::OAuth2 => &OAUTH2,
        }
    }
}

struct Row {
    name: &'static str,
    host: &'static str,
    path: &'static str,
    auth: ClientAuth,
    /// Rotation, and the lifetime of access tokens in seconds; 0 if answers state none.
    tokens: (Rotation, u64),
    prefixes: (&'static str, &'static str),
    scopes: &'static [&'static str],
}

const GOOGLE: Row = Row {
    name: "google",
    host: "oauth2.googleapis.com",
    path: "/token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::None, 3_599),
    prefixes: ("ya29.", "1//"),
    scopes: &["https://www.googleapis.com/auth/calendar.readonly", "openid", "email"],
};

const MICROSOFT: Row = Row {
    name: "microsoft",
    host: "login.microsoftonline.com",
    path: "/demo-tenant/oauth2/v2.0/token",
    auth: ClientAuth::Any,
    tokens: (Rotation::KeepOld, 3_599),
    prefixes: ("", "0.A"),
    scopes: &["User.Read", "Calendars.Read", "openid"],
};

const GITHUB: Row = Row {
    name: "github",
    host: "github.com",
    path: "/login/oauth/access_token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::Single, 28_800),
    prefixes: ("ghu_", "ghr_"),
    scopes: &[],
};

const GITLAB: Row = Row {
    name: "gitlab",
    host: "gitlab.com",
    path: "/oauth/token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::Single, 7_200),
    prefixes: ("", ""),
    scopes: &["read_user", "read_api"],
};

const BITBUCKET: Row = Row {
    name: "bitbucket",
    host: "bitbucket.org",
    path: "/site/oauth2/access_token",
    auth: ClientAuth::SecretBasic,
    tokens: (Rotation::Single, 7_200),
    prefixes: ("", ""),
    scopes: &["account", "repository"],
};

const SLACK: Row = Row {
    name: "slack",
    host: "slack.com",
    path: "/api/oauth.v2.access",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::Single, 43_200),
    prefixes: ("xoxe.xoxp-1-", "xoxe-1-"),
    scopes: &["chat:write", "users:read"],
};

const SALESFORCE: Row = Row {
    name: "salesforce",
    host: "login.salesforce.com",
    path: "/services/oauth2/token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::None, 0),
    prefixes: ("00Ddemo!", "5Aep"),
    scopes: &["api", "refresh_token"],
};

const LINKEDIN: Row = Row {
    name: "linkedin",
    host: "www.linkedin.com",
    path: "/oauth/v2/accessToken",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::None, 5_184_000),
    prefixes: ("AQV", "AQW"),
    scopes: &["r_basicprofile"],
};

const DROPBOX: Row = Row {
    name: "dropbox",
    host: "api.dropboxapi.com",
    path: "/oauth2/token",
    auth: ClientAuth::Any,
    tokens: (Rotation::None, 14_400),
    prefixes: ("sl.", ""),
    scopes: &["account_info.read", "files.content.read"],
};

const BOX: Row = Row {
    name: "box",
    host: "api.box.com",
    path: "/oauth2/token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::Single, 3_600),
    prefixes: ("", ""),
    scopes: &[],
};

const ZOOM: Row = Row {
    name: "zoom",
    host: "zoom.us",
    path: "/oauth/token",
    auth: ClientAuth::SecretBasic,
    tokens: (Rotation::Single, 3_599),
    prefixes: ("", ""),
    scopes: &["user:read", "meeting:read"],
};

const SPOTIFY: Row = Row {
    name: "spotify",
    host: "accounts.spotify.com",
    path: "/api/token",
    auth: ClientAuth::SecretBasic,
    tokens: (Rotation::None, 3_600),
    prefixes: ("BQ", "AQ"),
    scopes: &["user-read-private", "playlist-read-private"],
};

const OKTA: Row = Row {
    name: "okta",
    host: "demo.okta.com",
    path: "/oauth2/default/v1/token",
    auth: ClientAuth::Any,
    tokens: (Rotation::Single, 3_600),
    prefixes: ("", ""),
    scopes: &["openid", "offline_access"],
};

const ATLASSIAN: Row = Row {
    name: "atlassian",
    host: "auth.atlassian.com",
    path: "/oauth/token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::Single, 3_600),
    prefixes: ("", ""),
    scopes: &["read:jira-work", "offline_access"],
};

const HUBSPOT: Row = Row {
    name: "hubspot",
    host: "api.hubapi.com",
    path: "/oauth/v1/token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::None, 1_800),
    prefixes: ("C", "na1-"),
    scopes: &[],
};

const XERO: Row = Row {
    name: "xero",
    host: "identity.xero.com",
    path: "/connect/token",
    auth: ClientAuth::SecretBasic,
    tokens: (Rotation::Single, 1_800),
    prefixes: ("", ""),
    scopes: &["accounting.contacts.read", "offline_access"],
};

const QUICKBOOKS: Row = Row {
    name: "quickbooks",
    host: "oauth.platform.intuit.com",
    path: "/oauth2/v1/tokens/bearer",
    auth: ClientAuth::SecretBasic,
    tokens: (Rotation::Single, 3_600),
    prefixes: ("", "RT1-"),
    scopes: &[],
};

const OAUTH2: Row = Row {
    name: "oauth2",
    host: "idp.example",
    path: "/oauth/token",
    auth: ClientAuth::SecretPost,
    tokens: (Rotation::Single, 3_600),
    prefixes: ("", ""),
    scopes: &["profile", "documents"],
};
