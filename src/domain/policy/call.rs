//! Calls of provider APIs and of the Management API, and the patterns by which rules allow them.
//!
//! A pattern is a method and a path: `GET gmail/gmail/v1/users/me/messages/**` allows calls of the API that a `[[proxy]]`
//! names `gmail`, `GET /users/*` calls of the Management API. `*` stands for one segment, and `**`, which is the last,
//! for any number of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::domain::target::{PathFault, Target, TargetFault};

/// The longest name of an API, in bytes.
const MAX_NAME: usize = 63;

/// Methods that are never sent on: the first echo a request with its credential, the last opens a tunnel.
const NEVER: [&str; 3] = ["TRACE", "TRACK", "CONNECT"];

/// A call that a client wants to make.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The request's method, as it was sent.
    pub method: &'a str,
    /// The name of the `[[proxy]]`; `None` for the Management API.
    pub name: Option<&'a str>,
    /// What is called: the rest of the path behind that name, or behind `/api/v2`, and the query.
    pub target: &'a Target<'a>,
}

/// One element of a rule's `calls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPattern {
    text: Arc<str>,
    method: Box<str>,
    name: Option<Box<str>>,
    segments: Box<[Segment]>,
    /// Whether further segments may follow, because the last one is `**`.
    is_open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `*`: any segment that is not empty.
    Any,
    /// This segment, in its [`comparable`] form.
    Literal(Box<str>),
}

/// Why a text is not a pattern, or one that could never match. The texts state the fix, and repeat nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    /// There is no method, or nothing behind it.
    #[error(
        "needs a method, a space and a path, such as \"GET gmail/gmail/v1/users/me/**\" or \"GET /users/*\""
    )]
    Form,
    /// The method is not written as requests have it.
    #[error("has a method in lower case; methods are in upper case, such as GET")]
    LowerCaseMethod,
    /// A word for all methods.
    #[error("needs one method; write a pattern for each method")]
    AnyMethod,
    /// The method is not a method.
    #[error("has no valid method; methods are upper-case words such as GET, POST, PUT, PATCH and DELETE")]
    InvalidMethod,
    /// TRACE, TRACK or CONNECT.
    #[error("can never match: TRACE, TRACK and CONNECT are never sent on")]
    NeverSent,
    /// A scheme and a host instead of a name.
    #[error("must not have a scheme or a host; write the name of the [[proxy]] before the path")]
    Url,
    /// The name cannot be one of a `[[proxy]]`.
    #[error(
        "has no valid name before its path; the name of a [[proxy]] has lower-case letters, digits and hyphens, and a \
         pattern for the Management API begins with /"
    )]
    InvalidName,
    /// Nothing follows the name.
    #[error("needs a path behind the name; /** stands for every path")]
    NoPath,
    /// The path repeats where the Management API is.
    #[error("can never match: leave /api/v2 out, because patterns for the Management API begin behind it")]
    Prefix,
    /// A segment is a parameter as documentation writes one.
    #[error("has a segment in braces, which is compared as it is; * stands for any one segment")]
    Braces,
    /// The pattern has a query.
    #[error("can never match: a pattern is about the path alone, without ? and what follows")]
    Query,
    /// `**` before the last segment.
    #[error("can have ** as its last segment only; * stands for one segment")]
    OpenInside,
    /// A star is a part of a segment.
    #[error("has a star that is part of a segment; * stands for one whole segment, and ** for the rest")]
    PartialStar,
    /// The path is one that is always refused.
    #[error("can never match, because such a path is always refused: {0}")]
    Path(PathFault),
}

/// Whether `name` can be the name of a `[[proxy]]`: 1 to 63 lower-case letters, digits and hyphens, with no hyphen at
/// either end. Such a name is the same in a path however that is encoded, and never a dot segment.
pub fn is_api_name(name: &str) -> bool {
    let is_of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(is_of_a_name)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

impl CallPattern {
    /// Parses `text`.
    ///
    /// # Errors
    /// `text` is not a pattern, or one that could never match.
    pub fn parse(text: &str) -> Result<Self, CallFault> {
        let (method, place) = text.split_once(' ').ok_or(CallFault::Form)?;
        judge_method(method)?;
        if place.contains("://") {
            return Err(CallFault::Url);
        }
        let (name, path) =
            place.split_at_checked(place.find('/').unwrap_or(place.len())).unwrap_or((place, ""));
        let name = match name {
            "" if path.is_empty() => return Err(CallFault::Form),
            "" => None,
            name if is_api_name(name) => Some(name.into()),
            _ => return Err(CallFault::InvalidName),
        };
        if path.is_empty() {
            return Err(CallFault::NoPath);
        }
        match Target::judge(path) {
            Err(TargetFault::AmbiguousPath(fault)) => return Err(CallFault::Path(fault)),
            Err(TargetFault::MethodOverride | TargetFault::CredentialInQuery) => {
                return Err(CallFault::Query);
            }
            Ok(target) if target.query().is_some() => return Err(CallFault::Query),
            Ok(_) => {}
        }
        if name.is_none() && (path == "/api/v2" || path.starts_with("/api/v2/")) {
            return Err(CallFault::Prefix);
        }
        let closed = path.strip_suffix("/**");
        let segments = match closed.unwrap_or(path).strip_prefix('/') {
            Some(segments) => segments.split('/').map(segment).collect::<Result<_, _>>()?,
            None => Box::default(),
        };
        Ok(Self { text: text.into(), method: method.into(), name, segments, is_open: closed.is_some() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern as it was written, shared.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The method that it allows. `GET` allows `HEAD` as well.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The name of the `[[proxy]]` that it is about; `None` for the Management API.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The path with its stars, beginning with `/`.
    pub fn path(&self) -> &str {
        self.text.find('/').and_then(|slash| self.text.get(slash..)).unwrap_or_default()
    }

    /// Whether any path that it allows has this first segment.
    pub fn can_begin_with(&self, first: &str) -> bool {
        self.segments.first().map_or(self.is_open, |segment| match segment {
            Segment::Any => true,
            Segment::Literal(literal) => **literal == *first,
        })
    }

    /// Whether any path that it allows begins with `/users/` and an id, as in the Management API.
    pub fn can_concern_a_user(&self) -> bool {
        let is_id = |second: &Segment| !matches!(second, Segment::Literal(literal) if literal.is_empty());
        self.can_begin_with("users") && self.segments.get(1).map_or(self.is_open, is_id)
    }

    /// Whether it allows `call`.
    pub fn matches(&self, call: &Call<'_>) -> bool {
        let is_method = *self.method == *call.method || (&*self.method, call.method) == ("GET", "HEAD");
        is_method && self.name() == call.name && self.matches_path(call.target.path())
    }

    /// Whether it allows a call of this path, which begins with `/`, whatever the method.
    pub fn matches_path(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut given = path.split('/');
        for segment in &self.segments {
            let is_met = given.next().is_some_and(|given| match segment {
                Segment::Any => !given.is_empty(),
                Segment::Literal(literal) => **literal == *comparable(given),
            });
            if !is_met {
                return false;
            }
        }
        self.is_open || given.next().is_none()
    }
}

impl fmt::Display for CallPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn judge_method(method: &str) -> Result<(), CallFault> {
    let upper = method.to_ascii_uppercase();
    let is_word = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    match method {
        "*" => Err(CallFault::AnyMethod),
        _ if !is_word => Err(if method.contains('/') { CallFault::Form } else { CallFault::InvalidMethod }),
        _ if NEVER.contains(&&*upper) => Err(CallFault::NeverSent),
        _ if ["ANY", "ALL"].contains(&&*upper) => Err(CallFault::AnyMethod),
        _ if upper != method => Err(CallFault::LowerCaseMethod),
        _ => Ok(()),
    }
}

fn segment(text: &str) -> Result<Segment, CallFault> {
    match text {
        "*" => Ok(Segment::Any),
        "**" => Err(CallFault::OpenInside),
        _ if text.contains('*') => Err(CallFault::PartialStar),
        _ if text.starts_with('{') && text.ends_with('}') => Err(CallFault::Braces),
        _ => Ok(Segment::Literal(comparable(text).into())),
    }
}

/// A segment in the form in which equal ones are the same: with unreserved characters decoded and other escapes in
/// upper case (RFC 3986 §6.2.2). An encoded slash stays encoded, so it never separates segments.
pub(crate) fn comparable(segment: &str) -> Cow<'_, str> {
    let mut parts = segment.split('%');
    let mut form = parts.next().unwrap_or_default().to_owned();
    let mut is_changed = false;
    for part in parts {
        is_changed = true;
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => form.push(c),
            _ => form.extend(["%", &digits.to_ascii_uppercase()]),
        }
        form.push_str(rest);
    }
    if is_changed { Cow::Owned(form) } else { Cow::Borrowed(segment) }
}

#[cfg(test)]
mod tests;
