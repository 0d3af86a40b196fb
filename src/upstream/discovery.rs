//! The tenant's discovery document, as far as the daemon reads it: the token endpoint for clients with a certificate.
//! No I/O and no clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{StatusCode, Uri};
use serde::Deserialize;

use crate::domain::error::Failure;
use crate::domain::freshness::Moment;
use crate::json::Object;
use crate::json::lenient::Text;
use crate::transport::response::Answer;

/// The path of the discovery document on each of a tenant's domains (OpenID Connect Discovery 1.0 §4).
pub(super) const PATH: &str = "/.well-known/openid-configuration";

/// The longest URL of an endpoint, in bytes.
const LONGEST_URL: usize = 1024;

/// The cause in the failure of a document about another issuer.
const ANOTHER_ISSUER: &str = "a discovery document about another issuer; check tenant.domain";

/// The cause in the failure of a document whose endpoint cannot be used.
const UNUSABLE: &str = "a discovery document whose mTLS token endpoint is not an https URL";

/// How long an endpoint is used after it was read, although requests to it fail. Exchanges fail by the hundred in an
/// outage, in which the document says nothing new.
const BETWEEN_READS: Duration = Duration::from_secs(60);

/// The token endpoint that was read from the discovery document.
#[derive(Debug, Default)]
pub(super) struct KnownEndpoint(Mutex<Reading>);

#[derive(Debug, Default)]
struct Reading {
    url: Option<Arc<str>>,
    /// When the document was last asked for.
    asked: Option<Moment>,
    is_doubted: bool,
}

impl KnownEndpoint {
    /// The URL; `None` if the document has to be read. That is so for one caller where the endpoint is doubted: others
    /// use what is known meanwhile.
    pub(super) fn get(&self, now: Moment) -> Option<Arc<str>> {
        let mut reading = self.reading();
        let is_old = reading.asked.is_none_or(|asked| asked.age(now) >= BETWEEN_READS);
        if reading.is_doubted && is_old {
            (reading.asked, reading.is_doubted) = (Some(now), false);
            return None;
        }
        reading.url.clone()
    }

    /// The URL that was read last, whether or not the document has to be read again.
    pub(super) fn last(&self) -> Option<Arc<str>> {
        self.reading().url.clone()
    }

    /// Remembers the URL, for which the document was asked at `asked`.
    pub(super) fn set(&self, url: Arc<str>, asked: Moment) {
        *self.reading() = Reading { url: Some(url), asked: Some(asked), is_doubted: false };
    }

    /// Has the document read again before the next request.
    pub(super) fn forget(&self) {
        *self.reading() = Reading::default();
    }

    /// Has the document read again some time after the last time.
    pub(super) fn doubt(&self) {
        self.reading().is_doubted = true;
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a discovery document. It has to be about `issuer` (§4.3), and the endpoint is an https URL with a host and a
/// path and nothing else, because the certificate is presented to whichever host stands there.
pub fn parse(answer: &Answer, issuer: &str) -> Result<Option<Arc<str>>, Failure> {
    if answer.status != StatusCode::OK {
        return Err(answer.unexpected_status());
    }
    let document: Document = answer.parse()?;
    if document.issuer.as_str() != issuer {
        return Err(Failure::Malformed { what: ANOTHER_ISSUER });
    }
    let Some(Object(aliases)) = document.mtls_endpoint_aliases else { return Ok(None) };
    let Some(url) = aliases.token_endpoint.given() else { return Ok(None) };
    match is_endpoint(url) {
        true => Ok(Some(url.into())),
        false => Err(Failure::Malformed { what: UNUSABLE }),
    }
}

fn is_endpoint(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let is_host = uri.authority().is_some_and(|authority| {
        !authority.host().is_empty()
            && !authority.as_str().contains('@')
            && !authority.as_str().ends_with(':')
    });
    url.len() <= LONGEST_URL
        && url.starts_with("https://")
        && is_host
        && uri.path().len() > 1
        && uri.query().is_none()
        && !url.contains('#')
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    issuer: Text,
    mtls_endpoint_aliases: Option<Object<Aliases>>,
}

#[derive(Deserialize)]
struct Aliases {
    #[serde(default)]
    token_endpoint: Text,
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://login.acme.example/";

    fn read(status: u16, body: &str) -> Result<Option<String>, Failure> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        parse(&answer, ISSUER).map(|url| url.map(|url| url.to_string()))
    }

    fn with(aliases: Value) -> Result<Option<String>, Failure> {
        read(200, &json!({ "issuer": ISSUER, "mtls_endpoint_aliases": aliases, "more": [1] }).to_string())
    }

    #[test]
    fn an_alias_is_taken_if_there_is_one() {
        let url = "https://mtls.login.acme.example/oauth/token";
        assert_eq!(
            with(json!({ "token_endpoint": url, "userinfo_endpoint": "x" })),
            Ok(Some(url.to_owned()))
        );
        assert_eq!(with(json!({ "token_endpoint": null })), Ok(None));
        assert_eq!(with(json!({})), Ok(None));
        assert_eq!(with(Value::Null), Ok(None));
        assert_eq!(read(200, &json!({ "issuer": ISSUER }).to_string()), Ok(None));
    }

    #[test]
    fn anything_but_an_https_url_is_refused() {
        for url in [
            "",
            "mtls.login.acme.example",
            "/oauth/token",
            "http://mtls.login.acme.example/oauth/token",
            "HTTP://mtls.login.acme.example/oauth/token",
            "https://mtls.login.acme.example",
            "https://mtls.login.acme.example/",
            "https:///oauth/token",
            "https://:8443/oauth/token",
            "https://user@mtls.login.acme.example/oauth/token",
            "https://user:password@mtls.login.acme.example/oauth/token",
            "https://mtls.login.acme.example:/oauth/token",
            "https://mtls.login.acme.example/oauth/token?x",
            "https://mtls.login.acme.example/oauth/token#x",
            "https://mtls.login.acme.example/oauth/token\r\nx: y",
            "https://mtls login.acme.example/oauth/token",
            &format!("https://mtls.login.acme.example/{}", "x".repeat(1024)),
        ] {
            let outcome = with(json!({ "token_endpoint": url }));
            assert_eq!(outcome, Err(Failure::Malformed { what: UNUSABLE }), "{url}");
        }
    }

    #[test]
    fn a_document_about_another_issuer_is_refused() {
        for issuer in ["https://evil.example/", "https://login.acme.example", ""] {
            let outcome = read(200, &json!({ "issuer": issuer }).to_string());
            assert_eq!(outcome, Err(Failure::Malformed { what: ANOTHER_ISSUER }), "{issuer}");
        }
        assert!(read(200, "[]").is_err() && read(200, "").is_err() && read(200, "<html>").is_err());
        assert!(read(302, "").is_err() && read(404, "{}").is_err());
        assert!(with(json!([])).is_err() && with(json!("x")).is_err());
    }
}
