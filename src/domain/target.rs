//! The target of a proxied call: path and query, judged as they stand and sent byte for byte.
//!
//! Nothing is normalised, because APIs give meaning to what normalising removes: GitHub tells `%2F` from `/`, and a
//! trailing slash from none. What a server on the way could read as another path is refused instead, so that the path
//! that a rule allowed is the path that is served.

/// The limit on a path, in bytes. The query is limited by that of a request's head alone.
pub const MAX_PATH: usize = 4096;

/// Headers that replace a request's method or path at some APIs, which would make a rule meaningless: the first at
/// Google and LinkedIn (<https://docs.cloud.google.com/apis/docs/system-parameters>), the others in frameworks and
/// servers that APIs are built with.
pub const OVERRIDE_HEADERS: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];

/// Query parameters that replace the method: `method` at Facebook, `_method` in Rails and Laravel, `_HttpMethod` at
/// Salesforce.
const METHOD_OVERRIDES: [&str; 3] = ["method", "_method", "_httpmethod"];

/// Query parameters that are read as a credential, and would beat the one that is added: `access_token` (RFC 6750 §2.3),
/// `oauth_token`, `key` and `api_key` (Google's system parameters, RFC 5849 §3.5.3), `authorization` (Dropbox, for
/// requests of browsers), `private_token` and `job_token` (<https://docs.gitlab.com/api/rest/authentication>).
///
/// `token`, which Slack still reads for apps older than 2021, is not among them: it is a position in Microsoft Graph's
/// delta queries.
const CREDENTIALS: [&str; 7] =
    ["access_token", "oauth_token", "key", "api_key", "authorization", "private_token", "job_token"];

/// How often a path is decoded on its way: once by a gateway, and once more by the service behind it.
const DECODINGS: usize = 2;

/// A path, perhaps with a query, that every server reads alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    raw: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

/// Why a target is refused. The texts state the cause and the fix, and repeat nothing of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Servers could disagree about the path.
    #[error("{0}")]
    AmbiguousPath(PathFault),
    /// A query parameter replaces the method.
    #[error(
        "the query has a parameter that replaces the method (method, _method, _HttpMethod), which rules decide about; send \
         the request with that method instead"
    )]
    MethodOverride,
    /// A query parameter is a credential.
    #[error(
        "the query has a parameter that APIs read as a credential (access_token, oauth_token, key, api_key, authorization, \
         private_token, job_token); remove it, because the token is added in Authorization"
    )]
    CredentialInQuery,
}

/// What makes a path ambiguous, or is never part of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// The path is empty or does not begin with a slash.
    #[error("the path is empty or does not begin with /; is a part of it missing, such as an id?")]
    NoSlash,
    /// More than [`MAX_PATH`] bytes.
    #[error("the path is longer than 4096 bytes")]
    TooLong,
    /// A segment is `.` or `..`, perhaps encoded or with parameters behind a `;`.
    #[error(
        "the path has a segment that is . or .., as it is or encoded, which servers resolve; send the path that is meant, \
         and no id of that form"
    )]
    DotSegment,
    /// Two slashes follow each other, or only a `;` and its parameters stand between them.
    #[error(
        "the path has an empty segment, as between two slashes, which servers remove; is a part of it missing?"
    )]
    EmptySegment,
    /// A backslash, perhaps encoded.
    #[error("the path has a backslash, as it is or as %5C, which servers read as a slash")]
    Backslash,
    /// An encoded control character.
    #[error("the path has an encoded control character (%00 to %1F, %7F)")]
    Control,
    /// Escapes whose bytes are not UTF-8, which overlong forms of `.` and `/` are.
    #[error("the path has percent-encoded bytes that are not UTF-8")]
    NotUtf8,
    /// A `%` without two hexadecimal digits, in the path or the query.
    #[error("the target has a % without two hexadecimal digits; write a % itself as %25")]
    BrokenEscape,
    /// A raw control character or a space, in the path or the query.
    #[error("the target has a control character or a space that is not percent-encoded")]
    RawControl,
    /// A raw byte beyond ASCII, in the path or the query.
    #[error("the target has characters beyond ASCII that are not percent-encoded")]
    NotAscii,
    /// A `#`, which programs cut off with all that follows.
    #[error("the target has a #; write it as %23")]
    Fragment,
}

impl From<PathFault> for TargetFault {
    fn from(fault: PathFault) -> Self {
        Self::AmbiguousPath(fault)
    }
}

impl<'a> Target<'a> {
    /// Judges `raw`, which begins with the slash of its path.
    ///
    /// A path is judged as it is, decoded once and decoded twice. In the decoded forms an encoded slash separates
    /// segments, so that `..%2Fb` is refused. Empty segments are judged in the path as it is: `/%2F` has none, because
    /// ids that are URLs (`sites/https%3A%2F%2Fexample.com`) contain two encoded slashes in a row.
    ///
    /// A query may contain anything that is percent-encoded ASCII, dots and slashes included; only the names of its
    /// parameters are judged.
    ///
    /// # Errors
    /// The first fault that is found.
    pub fn judge(raw: &'a str) -> Result<Self, TargetFault> {
        let (path, query) = raw.split_once('?').map_or((raw, None), |(path, query)| (path, Some(query)));
        if !path.starts_with('/') {
            return Err(PathFault::NoSlash.into());
        }
        if path.len() > MAX_PATH {
            return Err(PathFault::TooLong.into());
        }
        judge_bytes(raw)?;
        judge_path(path)?;
        judge_query(query.unwrap_or_default())?;
        Ok(Self { raw, path, query })
    }

    /// The path as it was given, beginning with `/`.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The query as it was given, without its `?`; `None` if there is no `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The target as it was given, byte for byte.
    pub fn as_str(&self) -> &'a str {
        self.raw
    }
}

/// Refuses bytes that never stand in a request's target (RFC 9112 §3.2), and broken escapes. Decoders disagree about
/// those, in the names of query parameters as in paths.
fn judge_bytes(raw: &str) -> Result<(), PathFault> {
    for byte in raw.bytes() {
        match byte {
            b'#' => return Err(PathFault::Fragment),
            ..=b' ' | 0x7F => return Err(PathFault::RawControl),
            0x80.. => return Err(PathFault::NotAscii),
            _ => {}
        }
    }
    let is_whole = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if raw.split('%').skip(1).all(is_whole) { Ok(()) } else { Err(PathFault::BrokenEscape) }
}

fn judge_path(path: &str) -> Result<(), PathFault> {
    let segments = path.strip_prefix('/').unwrap_or(path);
    // A path may end with a slash.
    let before_the_last = segments.rsplit_once('/').map_or("", |(before, _)| before);
    if segments.starts_with('/') || before_the_last.split('/').skip(1).any(str::is_empty) {
        return Err(PathFault::EmptySegment);
    }
    judge_segments(segments)?;
    let mut bytes = segments.as_bytes().to_vec();
    for _ in 0..DECODINGS {
        if !bytes.contains(&b'%') {
            break;
        }
        bytes = decode(&bytes);
        judge_segments(str::from_utf8(&bytes).map_err(|_| PathFault::NotUtf8)?)?;
    }
    Ok(())
}

fn judge_segments(segments: &str) -> Result<(), PathFault> {
    if segments.contains('\\') {
        return Err(PathFault::Backslash);
    }
    if segments.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(PathFault::Control);
    }
    for segment in segments.split('/') {
        // Java servers cut off `;` and what follows before they resolve dots: https://www.rfc-editor.org/rfc/rfc3986#section-3.3
        // A server that parses a decoded path once more ends it at `?` or `#`, and Windows drops spaces at a name's end.
        let name = segment.split([';', '?', '#']).next().unwrap_or_default().trim_end_matches(' ');
        if matches!(name, "." | "..") {
            return Err(PathFault::DotSegment);
        }
        if segment.starts_with(';') {
            return Err(PathFault::EmptySegment);
        }
    }
    Ok(())
}

fn judge_query(query: &str) -> Result<(), TargetFault> {
    // Some servers separate parameters by `;` as well, as HTML 4 recommended.
    for parameter in query.split(['&', ';']) {
        let names = parameter_names(parameter);
        let is_one_of = |known: &[&str]| names.iter().any(|name| known.contains(&name.as_str()));
        if is_one_of(&METHOD_OVERRIDES) {
            return Err(TargetFault::MethodOverride);
        }
        if is_one_of(&CREDENTIALS) {
            return Err(TargetFault::CredentialInQuery);
        }
    }
    Ok(())
}

/// The name of a parameter as the most lenient servers read it: in lower case, and with the spaces and dots that PHP
/// changes. A bracket begins an index such as `[]`, or, where none closes it, is changed by PHP as well
/// (<https://www.php.net/manual/en/language.variables.external.php>).
fn parameter_names(parameter: &str) -> [String; 2] {
    let name = parameter.split('=').next().unwrap_or_default().replace('+', " ");
    let name = String::from_utf8_lossy(&decode(name.as_bytes())).to_ascii_lowercase();
    let name = name.split('\0').next().unwrap_or_default();
    let is_around = |c: char| c.is_whitespace() || c.is_control();
    let trimmed = |name: &str| name.trim_matches(is_around).replace([' ', '.', '['], "_");
    [trimmed(name.split('[').next().unwrap_or_default()), trimmed(name)]
}

/// Decodes each escape once. A `%` without two digits, which decoding can bring about, stays.
fn decode(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

#[cfg(test)]
mod tests;
