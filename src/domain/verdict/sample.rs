//! The part of an answer that verdicts are read from.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::domain::freshness::Timestamp;

/// How much of a body is read for a verdict, in bytes. Refusals of APIs are a few hundred.
pub const MOST_READ: usize = 8 * 1024;

/// How much of one header is read, in bytes.
const MOST_OF_A_HEADER: usize = 8 * 1024;

/// What is known of an answer when its verdict is due.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// The status code.
    pub status: u16,
    /// Every value of the header with this name, which is in lower case.
    pub headers: &'a dyn Fn(&str) -> Vec<&'a [u8]>,
    /// The beginning of the body, at most [`MOST_READ`] bytes of it, cut off anywhere; `None` if it was not read.
    pub body: Option<&'a [u8]>,
}

impl Sample<'_> {
    /// Every value of a header. Bytes that are no UTF-8 are replaced, and what is too long is cut off.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let begin = |value: &[u8]| {
            let value = value.get(..MOST_OF_A_HEADER).unwrap_or(value);
            String::from_utf8_lossy(value).trim().to_owned()
        };
        (self.headers)(name).into_iter().map(begin).collect()
    }

    /// The first value of a header.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    /// The value of a header that is a whole number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// When the answer was written, by its own clock.
    pub(super) fn date(&self) -> Option<Timestamp> {
        http_date(&self.text("date")?)
    }

    /// The body, if it was read and is JSON as a whole.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body?.get(..MOST_READ).or(self.body)?).ok()
    }
}

/// A date as HTTP has them (RFC 9110 §5.6.7).
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    let since_epoch: Duration = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(0).after(since_epoch))
}

/// The text at `path`, a pointer as in RFC 6901; empty if there is none.
pub(super) fn text_at<'a>(body: &'a Value, path: &str) -> &'a str {
    body.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of the list at `path`.
pub(super) fn texts_at<'a>(body: &'a Value, path: &str) -> Vec<&'a str> {
    let list = body.pointer(path).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}
