//! What a provider's API, or a host in its place, may answer to a proxied call.

use cloakroom::domain::verdict::{Dialect, MOST_READ, Sample, Scopes, Verdict, judge, remedy};
use hyper::header::HeaderValue;

use crate::holds;
use crate::upstream::Input;

/// An answer to a proxied call. In the input's first line the dialect's name follows the status.
pub fn answer(data: &[u8]) {
    let Input { asked, answer } = Input::read(data);
    let of_configuration = Dialect::parse(asked).unwrap_or(Dialect::Standard);
    let dialect = if asked == Dialect::Auth0.as_str() { Dialect::Auth0 } else { of_configuration };
    let status = answer.status.as_u16();
    let headers =
        |name: &str| answer.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let read = answer.body.get(..MOST_READ).unwrap_or(&answer.body);
    // Unread, cut off in the middle, and whole.
    for body in [None, Some(&read[..read.len() / 2]), Some(read)] {
        let verdict = judge(dialect, &Sample { status, headers: &headers, body });
        let Some(verdict) = verdict else {
            assert_ne!(status, 429);
            continue;
        };
        let refuses = matches!(status, 400 | 401 | 403 | 404 | 429);
        assert!(refuses || (status == 200 && dialect == Dialect::Slack), "{status} {verdict:?}");
        assert!(status != 429 || is_limit(&verdict), "{verdict:?}");
        if let Verdict::TokenDead { is_named } = verdict {
            assert!(is_named || matches!(status, 400 | 401), "{status}");
            assert!(!is_named || names_a_reason(dialect, data), "{dialect:?}");
            // A 401 of these alone can be about a token that lives.
            let may_live = matches!(dialect, Dialect::Auth0 | Dialect::Dropbox | Dialect::Salesforce);
            let is_live = may_live && body.is_none();
            assert!(!is_live || headers("www-authenticate").iter().any(|text| !text.is_empty()));
        }
        assert_eq!(verdict.condemns_token(), matches!(verdict, Verdict::TokenDead { .. }));
        assert!(verdict.condemns_token() || !verdict.permits_retry("GET"));
        is_well_formed(&verdict, dialect, data);
    }
}

fn is_limit(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::RateLimited { .. })
}

/// Holds the values of both headers to their form, and the scopes to what was sent.
fn is_well_formed(verdict: &Verdict, dialect: Dialect, data: &[u8]) {
    let value = verdict.header_value();
    assert!(value.len() <= 3 * 1024 && HeaderValue::from_str(&value).is_ok(), "{value:?}");
    assert!(value.starts_with(verdict.as_str()) && Verdict::NAMES.contains(&verdict.as_str()));
    if let Verdict::MissingScope { needed, held, any_of, .. } = verdict {
        assert!(!any_of || needed.len() > 1);
        for scope in needed.iter().chain(held.iter().flat_map(Scopes::iter)) {
            let is_clean = |byte: u8| byte.is_ascii_graphic() && !b"\"\\;,".contains(&byte);
            assert!(!scope.is_empty() && scope.bytes().all(is_clean), "{scope:?}");
            // An escape may stand for any letter.
            let is_sent = holds(data, scope.as_bytes()) || data.contains(&b'\\');
            assert!(is_sent || (dialect == Dialect::Salesforce && scope == "api"), "{scope:?}");
        }
        let quotes = value.bytes().filter(|byte| *byte == b'"').count();
        let lists = usize::from(!needed.is_empty()) + usize::from(held.is_some());
        assert_eq!(quotes, 2 * lists, "{value:?}");
    } else {
        assert!(!value.contains('"'));
    }
    if let Some(query) = remedy("google-oauth2", verdict) {
        assert!(query.len() <= 8 * 1024 && query.bytes().all(|byte| byte.is_ascii_graphic()), "{query:?}");
        assert!(query.starts_with("connection=google-oauth2&") && !is_limit(verdict));
    }
}

/// Whether the answer has a word by which a provider names a dead token, written out here once more.
fn names_a_reason(dialect: Dialect, data: &[u8]) -> bool {
    let words: &[&str] = match dialect {
        Dialect::Google => &["authError", "ACCESS_TOKEN_EXPIRED", "UNAUTHENTICATED"],
        Dialect::Microsoft => {
            &["InvalidAuthenticationToken", "Authentication_ExpiredToken", "unauthenticated"]
        }
        Dialect::GitHub => &["Bad credentials"],
        Dialect::Slack => &["account_inactive", "invalid_auth", "token_expired", "token_revoked"],
        Dialect::Salesforce => &["INVALID_SESSION_ID", "InvalidSessionId", "Bad_OAuth_Token"],
        Dialect::LinkedIn => &["65600", "65601", "65602"],
        Dialect::Facebook => &["190", "102"],
        Dialect::Bitbucket => &["Access token expired"],
        Dialect::Dropbox => &["expired_access_token", "invalid_access_token"],
        Dialect::Spotify => &["The access token expired", "Invalid access token"],
        Dialect::Auth0 => &["Expired token received", "Invalid signature received", "Invalid token"],
        Dialect::Box | Dialect::Standard => &[],
    };
    let of_the_standard = ["invalid_token"];
    let is_escaped = data.contains(&b'\\');
    words.iter().chain(&of_the_standard).any(|word| holds(data, word.as_bytes())) || is_escaped
}
