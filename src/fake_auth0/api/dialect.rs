//! The providers whose refusals a simulated API sends.

/// The provider that an API imitates when it refuses a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ApiDialect {
    /// Google's APIs (cloud.google.com/apis/design/errors).
    Google,
    /// Microsoft Graph (learn.microsoft.com/graph/errors).
    Microsoft,
    /// GitHub's REST API (docs.github.com/rest, "Troubleshooting the REST API").
    GitHub,
    /// Slack's Web API (docs.slack.dev, "Using the Slack Web API").
    Slack,
    /// Salesforce's REST API (developer.salesforce.com, "Status Codes and Error Responses").
    Salesforce,
    /// LinkedIn (learn.microsoft.com/linkedin, "API Error Handling").
    LinkedIn,
    /// Facebook's Graph API (developers.facebook.com, "Handle Errors").
    Facebook,
    /// Bitbucket Cloud (developer.atlassian.com, "REST API intro").
    Bitbucket,
    /// Dropbox (dropbox.com/developers, "Error Handling Guide").
    Dropbox,
    /// Box (developer.box.com, "Common errors").
    Box,
    /// Spotify (developer.spotify.com, "API calls").
    Spotify,
    /// A resource server that keeps to RFC 6750.
    #[default]
    Standard,
}

impl ApiDialect {
    /// Every dialect.
    pub const ALL: [Self; 12] = [
        Self::Google,
        Self::Microsoft,
        Self::GitHub,
        Self::Slack,
        Self::Salesforce,
        Self::LinkedIn,
        Self::Facebook,
        Self::Bitbucket,
        Self::Dropbox,
        Self::Box,
        Self::Spotify,
        Self::Standard,
    ];

    /// The name with which its kinds of refusals begin, as in `/refuse/google-scope`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::GitHub => "github",
            Self::Slack => "slack",
            Self::Salesforce => "salesforce",
            Self::LinkedIn => "linkedin",
            Self::Facebook => "facebook",
            Self::Bitbucket => "bitbucket",
            Self::Dropbox => "dropbox",
            Self::Box => "box",
            Self::Spotify => "spotify",
            Self::Standard => "standard",
        }
    }
}
