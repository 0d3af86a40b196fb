//! What an API's refusal of a proxied call means: a dead token, a missing scope, a step-up, or a limit.
//!
//! [`judge`] reads the status, a few headers and the beginning of the body of an answer, in the [`Dialect`] of its
//! provider. A verdict is a hint beside the answer, which is passed on unchanged. Input that a dialect does not know
//! falls back to what status and `WWW-Authenticate` say, and where those say nothing there is no verdict: policies,
//! switched-off APIs and rights of the user itself are refusals that neither another token nor a login cures.

mod auth0;
mod bitbucket;
mod box_com;
mod challenge;
mod dialect;
mod dropbox;
mod facebook;
mod github;
mod google;
mod limits;
mod linkedin;
mod meaning;
mod microsoft;
mod remedy;
mod salesforce;
mod sample;
mod scopes;
mod slack;
mod spotify;
mod standard;

pub use dialect::Dialect;
pub use meaning::Verdict;
pub use remedy::remedy;
pub use sample::{MOST_READ, Sample};
pub use scopes::Scopes;

/// What the answer means, read as an answer of the provider `dialect`; `None` if it is no refusal, or one that says
/// nothing about the token or a limit.
pub fn judge(dialect: Dialect, sample: &Sample<'_>) -> Option<Verdict> {
    match sample.status {
        200 if dialect == Dialect::Slack => return slack::judge(sample),
        // RFC 6585 §4. Every dialect has it besides its own signs of a limit.
        429 => return Some(limits::rate_limited(sample)),
        400 | 401 | 403 | 404 => {}
        _ => return None,
    }
    match dialect {
        Dialect::Auth0 => auth0::judge(sample),
        Dialect::Google => google::judge(sample),
        Dialect::Microsoft => microsoft::judge(sample),
        Dialect::GitHub => github::judge(sample),
        Dialect::Salesforce => salesforce::judge(sample),
        Dialect::LinkedIn => linkedin::judge(sample),
        Dialect::Facebook => facebook::judge(sample),
        Dialect::Bitbucket => bitbucket::judge(sample),
        Dialect::Dropbox => dropbox::judge(sample),
        Dialect::Box => box_com::judge(sample),
        Dialect::Spotify => spotify::judge(sample),
        Dialect::Slack | Dialect::Standard => standard::judge(sample),
    }
}

/// Whether the body of an answer is read for its verdict: the beginning of a refusal, up to [`MOST_READ`] bytes, or a
/// whole answer of Slack, which refuses with status 200. A body that is compressed is not read.
///
/// `content_type` and `length` are the answer's `Content-Type` and `Content-Length`, where it has them.
pub fn reads_body(
    dialect: Dialect,
    status: u16,
    content_type: Option<&str>,
    is_encoded: bool,
    length: Option<u64>,
) -> bool {
    if is_encoded || length == Some(0) {
        return false;
    }
    match (dialect, status) {
        (Dialect::Standard, _) => false,
        (Dialect::Slack, 200) => {
            // Larger answers are no refusals, which are small.
            let is_small = length.is_none_or(|length| usize::try_from(length).is_ok_and(|n| n <= MOST_READ));
            is_small && content_type.is_some_and(is_json)
        }
        (_, 400 | 401 | 403) => true,
        _ => false,
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests;
