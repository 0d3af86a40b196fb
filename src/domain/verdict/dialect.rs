//! Whose form of refusals an API's answers have, and which hosts are known to have it.

/// The provider whose documentation says what the refusals of an API mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// <https://docs.cloud.google.com/apis/design/errors>
    Google,
    /// <https://learn.microsoft.com/en-us/graph/errors>
    Microsoft,
    /// <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api>
    GitHub,
    /// <https://docs.slack.dev/apis/web-api/#responses>
    Slack,
    /// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
    Salesforce,
    /// <https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/error-handling>
    LinkedIn,
    /// <https://developers.facebook.com/docs/graph-api/guides/error-handling>
    Facebook,
    /// <https://developer.atlassian.com/cloud/bitbucket/rest/intro/>
    Bitbucket,
    /// <https://www.dropbox.com/developers/documentation/http/documentation#error-handling>
    Dropbox,
    /// <https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/>
    Box,
    /// <https://developer.spotify.com/documentation/web-api/concepts/api-calls#response-status-codes>
    Spotify,
    /// Status and headers alone, as RFC 6750 §3 and RFC 9110 define them.
    Standard,
    /// Auth0's Management API, which no `[[proxy]]` is about.
    Auth0,
}

impl Dialect {
    /// Every dialect that a `[[proxy]]` may have, in the order in which references name them.
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

    /// The dialect with this name in the configuration.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == name)
    }

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
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
            Self::Auth0 => "auth0",
        }
    }

    /// The dialect of the API at `authority`, a host in any case, with or without a port. Hosts that no provider
    /// documents, such as those of self-managed installations, have [`Dialect::Standard`].
    pub fn of_host(authority: &str) -> Self {
        let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let is_host_of = |dialect: &Self| dialect.hosts().iter().any(|known| is_host(&host, known));
        Self::ALL.into_iter().find(is_host_of).unwrap_or(Self::Standard)
    }

    /// The documented hosts; one that begins with a dot stands for every host below it.
    const fn hosts(self) -> &'static [&'static str] {
        match self {
            Self::Google => &[".googleapis.com"],
            // https://learn.microsoft.com/en-us/graph/deployments
            Self::Microsoft => &[
                "graph.microsoft.com",
                "graph.microsoft.us",
                "dod-graph.microsoft.us",
                "microsoftgraph.chinacloudapi.cn",
            ],
            // `.ghe.com` is the cloud with data residency, where the API is at `api.SUBDOMAIN.ghe.com`.
            Self::GitHub => &["api.github.com", "uploads.github.com", ".ghe.com"],
            Self::Slack => &["slack.com", ".slack.com", "slack-gov.com", ".slack-gov.com"],
            Self::Salesforce => &[".salesforce.com"],
            Self::LinkedIn => &["api.linkedin.com"],
            Self::Facebook => &["graph.facebook.com", "graph-video.facebook.com"],
            Self::Bitbucket => &["api.bitbucket.org"],
            Self::Dropbox => &["api.dropboxapi.com", "content.dropboxapi.com"],
            Self::Box => &["api.box.com", "upload.box.com"],
            Self::Spotify => &["api.spotify.com"],
            Self::Standard | Self::Auth0 => &[],
        }
    }
}

fn is_host(host: &str, known: &str) -> bool {
    if known.starts_with('.') {
        return host.len() > known.len() && host.ends_with(known);
    }
    host == known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_is_found_by_its_name_alone() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::parse(dialect.as_str()), Some(dialect));
        }
        assert_eq!(Dialect::parse("Google"), None);
        assert_eq!(Dialect::parse(""), None);
    }

    #[test]
    fn documented_hosts_have_a_dialect_in_any_case_and_with_any_port() {
        for (host, dialect) in [
            ("gmail.googleapis.com", Dialect::Google),
            ("www.googleapis.com", Dialect::Google),
            ("Graph.Microsoft.com:443", Dialect::Microsoft),
            ("microsoftgraph.chinacloudapi.cn", Dialect::Microsoft),
            ("uploads.github.com", Dialect::GitHub),
            ("api.octocorp.ghe.com", Dialect::GitHub),
            ("slack.com", Dialect::Slack),
            ("files.slack.com", Dialect::Slack),
            ("example.my.salesforce.com", Dialect::Salesforce),
            ("example--sandbox.sandbox.my.salesforce.com", Dialect::Salesforce),
            ("api.linkedin.com", Dialect::LinkedIn),
            ("graph.facebook.com", Dialect::Facebook),
            ("api.bitbucket.org", Dialect::Bitbucket),
            ("content.dropboxapi.com", Dialect::Dropbox),
            ("upload.box.com", Dialect::Box),
            ("api.spotify.com", Dialect::Spotify),
        ] {
            assert_eq!(Dialect::of_host(host), dialect, "{host}");
        }
    }

    #[test]
    fn a_host_that_only_looks_like_a_documented_one_has_the_standard_dialect() {
        for host in [
            "",
            "api.example.com",
            "googleapis.com",
            ".googleapis.com",
            "evilgoogleapis.com",
            "graph.microsoft.com.example.com",
            "myslack.com",
            "api.github.com.",
        ] {
            assert_eq!(Dialect::of_host(host), Dialect::Standard, "{host}");
        }
    }
}
