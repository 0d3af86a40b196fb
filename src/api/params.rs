//! Parameters of a request: parsed as a whole, or refused with the name of the wrong part.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::cache::LookupOptions;
use crate::domain::claims::InvalidUserToken;
use crate::domain::duration_text;
use crate::domain::scope;
use crate::domain::user::{Selector, UserId};
use crate::json;
use crate::secret::{Secret, Tag};

use super::error::ApiError;
use super::route::{PURGE_QUERY, Parameter, TOKEN_QUERY};
use super::types::Report;

/// The user id that a segment of the path contains.
pub fn user(segment: &str) -> Result<UserId, ApiError> {
    UserId::from_path_segment(segment).map_err(|why| ApiError::InvalidRequest {
        parameter: "user_id".into(),
        detail: format!("{why}; send it percent-encoded exactly once, as one segment: google-oauth2%7C1234"),
    })
}

/// The token in `Authorization: Bearer …`. The scheme is case-insensitive (RFC 9110 §11.1).
pub fn bearer(headers: &HeaderMap) -> Result<Secret, InvalidUserToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(InvalidUserToken::Missing)?;
    if values.next().is_some() {
        return Err(InvalidUserToken::Several);
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(InvalidUserToken::NotBearer)?;
    let token = token.trim_matches(' ');
    match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains([' ', '\t', ',']) {
        true => Ok(Secret::new(token)),
        false => Err(InvalidUserToken::NotBearer),
    }
}

/// The query of a token lookup.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TokenQuery {
    /// Selects the identity.
    pub selector: Selector,
    /// The client's other conditions.
    pub options: LookupOptions,
    /// The scopes that the token has to have, separated by spaces.
    pub scope: Option<String>,
}

/// Parses the query of a token lookup.
pub fn token_query(query: &str) -> Result<TokenQuery, ApiError> {
    if query.is_empty() {
        return Ok(TokenQuery::default());
    }
    let mut parameters = QueryParameters::parse(query, TOKEN_QUERY)?;
    let [connection, provider, identity_user_id] =
        ["connection", "provider", "identity_user_id"].map(|name| parameters.take(name));
    let selector = Selector { connection, provider, identity_user_id, within: None };
    let wrong = |parameter: &str, detail: &str| ApiError::InvalidRequest {
        parameter: parameter.into(),
        detail: detail.into(),
    };
    let min_ttl = match parameters.take("min_ttl") {
        None => Duration::ZERO,
        Some(text) => duration_text::parse_seconds_or_units(&text).ok_or_else(|| {
            wrong("min_ttl", "give whole seconds or a duration: min_ttl=60 or min_ttl=1m30s")
        })?,
    };
    let fresh = parameters.flag("fresh")?;
    let scope = match parameters.take("scope") {
        None => None,
        Some(text) => Some(scope::normalized([text.as_str()]).ok_or_else(|| {
            wrong("scope", "give the scopes that the token has to have, separated by spaces: scope=a%20b")
        })?),
    };
    Ok(TokenQuery { selector, options: LookupOptions { min_ttl, fresh }, scope })
}

/// Whether the query of a purge asks to forget what refreshes need as well.
pub fn purge_query(query: &str) -> Result<bool, ApiError> {
    let mut parameters = QueryParameters::parse(query, PURGE_QUERY)?;
    parameters.flag("credentials")
}

/// The connection that a query names, even if the query is invalid otherwise.
pub fn connection(query: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "connection").map(|(_, value)| value)
}

/// The fingerprint in the body `{"fingerprint":"…"}`, as the answer with the token had it.
pub fn fingerprint(body: &[u8]) -> Result<Tag, ApiError> {
    let report = json::object::<Report>(body).ok();
    report.and_then(|report| Tag::parse(&report.fingerprint)).ok_or_else(|| ApiError::InvalidRequest {
        parameter: "fingerprint".into(),
        detail: "send {\"fingerprint\":\"…\"} with the fingerprint of the answer that held the refused token"
            .into(),
    })
}

/// A query in which every parameter is known, and given once, with a value.
struct QueryParameters(Vec<(String, String)>);

impl QueryParameters {
    fn parse(query: &str, known: &[Parameter]) -> Result<Self, ApiError> {
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |detail: String| ApiError::InvalidRequest { parameter: name.to_string(), detail };
            if known.iter().all(|parameter| parameter.name != name) {
                let names: Vec<_> = known.iter().map(|parameter| parameter.name).collect();
                let known = if names.is_empty() { "none".into() } else { names.join(", ") };
                return Err(wrong(format!(
                    "this route does not know this query parameter; it knows: {known}"
                )));
            }
            if value.is_empty() {
                return Err(wrong("the parameter has no value; leave it out, or give it one".into()));
            }
            if found.iter().any(|(before, _)| *before == name) {
                return Err(wrong("the parameter is given more than once".into()));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(found))
    }

    /// A boolean, in the spellings of JavaScript, Python and PHP libraries; false if it is absent.
    fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name).as_deref() {
            None | Some("false" | "False" | "FALSE" | "0") => Ok(false),
            Some("true" | "True" | "TRUE" | "1") => Ok(true),
            Some(_) => Err(ApiError::InvalidRequest {
                parameter: name.into(),
                detail: format!("give {name}=true or {name}=1, or leave it out"),
            }),
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let position = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(position).1)
    }
}

/// Checks that the query of a route without parameters is empty.
pub fn nothing(query: &str) -> Result<(), ApiError> {
    QueryParameters::parse(query, &[]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_parsed_as_a_whole_or_refused() {
        assert_eq!(token_query("").unwrap(), TokenQuery::default());
        assert_eq!(token_query("connection=a%20b").unwrap().selector.connection.as_deref(), Some("a b"));
        assert_eq!(token_query("scope=a+b,a").unwrap().scope.as_deref(), Some("a b"));
        let one = token_query("identity_user_id=a%7C1&provider=p").unwrap().selector;
        assert_eq!((one.identity_user_id.as_deref(), one.provider.as_deref()), (Some("a|1"), Some("p")));
        let options = token_query("fresh=true&min_ttl=60").unwrap().options;
        assert_eq!(options, LookupOptions { min_ttl: Duration::from_secs(60), fresh: true });
        for query in [
            "conection=x",
            "connection=",
            "connection",
            "connection=a&connection=b",
            "fresh=yes",
            "scope=+",
            "fresh",
            "min_ttl=-1",
            "min_ttl=60x",
            "min_ttl=99999999999",
        ] {
            assert!(matches!(token_query(query), Err(ApiError::InvalidRequest { .. })), "{query}");
        }
    }
}
