//! `[me]`: the users' tokens that `/v1/me` accepts.

use super::host::{self, HostPort};
use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;
use super::schema::Type;
use super::source_values::Value;
use super::values::{Parsed, lines};

/// `[me]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// The audiences of accepted user tokens. If empty, `/v1/me` is off.
    pub audiences: Vec<String>,
    /// Further issuers of accepted user tokens, besides the tenant itself: origins with a slash at their end.
    pub issuers: Vec<String>,
}

impl Reloadable for Me {}

/// Reads `[me]`. There is no default: only the operator knows which tokens to accept.
pub(super) fn read(reader: &mut Reader) -> Checked<Me> {
    let audiences = reader.parsed("me.audiences", lines)?;
    if let Some(audiences) = &audiences
        && audiences.value.iter().any(|audience| audience.ends_with("/userinfo"))
    {
        let text = "access tokens with the scope openid are valid for /userinfo as well, whichever API they are for; \
                    use the identifier of your API";
        reader.warn(audiences, text);
    }
    let audiences = audiences.map(|audiences| audiences.value).unwrap_or_default();
    let issuers = reader.parsed("me.issuers", issuers)?;
    if let Some(issuers) =
        issuers.as_ref().filter(|issuers| audiences.is_empty() && !issuers.value.is_empty())
    {
        reader.warn(issuers, "without me.audiences no token is accepted, from any issuer");
    }
    Ok(Me { audiences, issuers: issuers.map(|issuers| issuers.value).unwrap_or_default() })
}

/// Parses custom domains into the form that Auth0 writes into tokens: in lower case, with a slash at the end.
fn issuers(takes: Type, value: &Value) -> Parsed<Vec<String>> {
    let mut issuers: Vec<String> = Vec::new();
    for (at, element) in lines(takes, value)?.iter().enumerate() {
        let wrong = |text: &str| format!("element {at} {text}");
        let origin = element.strip_prefix("https://").ok_or_else(|| wrong("must begin with https://"))?;
        let authority = origin.strip_suffix('/').unwrap_or(origin);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(wrong("must be a domain of the tenant, as in \"https://login.acme.example/\""));
        }
        let HostPort { host, port, .. } =
            host::split(authority).map_err(|text| wrong(&format!("is not a domain: {text}")))?;
        let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
        let issuer = format!("https://{}{port}/", host.to_ascii_lowercase());
        if issuers.contains(&issuer) {
            return Err(wrong("is there twice"));
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}
