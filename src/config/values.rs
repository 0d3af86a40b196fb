//! From what a source holds to what a key means: durations, sizes, numbers, choices. Pure.
//!
//! Each function gives the value, or what would be right; none repeats what it was given.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::layer::Value;
use bytesize::ByteSize;
use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

use crate::domain::invisible;
use crate::domain::span::{self, NotADuration, is_bare_number};

use super::schema::Kind;

/// A value, or why it is none.
pub(super) type Parsed<T> = Result<T, String>;

/// Text, whatever it says.
pub(super) fn text(value: &Value) -> Parsed<&str> {
    match value {
        Value::Text(text) => Ok(text),
        other => wrong_type(Kind::Text, other),
    }
}

/// Text that is not empty, all on one line, all of it visible, and without blanks around it.
pub(super) fn line(value: &Value) -> Parsed<&str> {
    visible_line(text(value)?)
}

fn visible_line(text: &str) -> Parsed<&str> {
    match invisible::first(text) {
        Some(found) => Err(format!("must not hold an invisible {found}, which comes along with pasted text")),
        None => printed_line(text),
    }
}

/// Text as [`line`] gives it, but with whatever joiners and spaces a user's id may be written with.
fn printed_line(text: &str) -> Parsed<&str> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters or line breaks".to_owned());
    }
    if text.trim() != text {
        return Err("must not begin or end with a space".to_owned());
    }
    Ok(text)
}

/// The absolute path of a file or a socket.
pub(super) fn absolute_path(value: &Value) -> Parsed<&str> {
    let path = line(value)?;
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err("must be an absolute path, beginning with /".to_owned())
    }
}

/// A list of lines, not empty, each of them once.
pub(super) fn lines(value: &Value) -> Parsed<Vec<String>> {
    list(value, visible_line)
}

/// Such a list of users, whose ids are the operator's own names and may be in any script.
pub(super) fn users(value: &Value) -> Parsed<Vec<String>> {
    list(value, printed_line)
}

fn list(value: &Value, line: impl Fn(&str) -> Parsed<&str>) -> Parsed<Vec<String>> {
    let Value::Texts(list) = value else { return wrong_type(Kind::Texts, value) };
    let mut lines: Vec<String> = Vec::new();
    for (at, element) in list.iter().enumerate() {
        let element = line(element).map_err(|text| format!("element {at} {text}"))?;
        if lines.iter().any(|before| before == element) {
            return Err(format!("element {at} is there twice"));
        }
        lines.push(element.to_owned());
    }
    if lines.is_empty() {
        return Err("must not be empty: leave the key out for the default".to_owned());
    }
    Ok(lines)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&'static str, T)]) -> impl FnOnce(&Value) -> Parsed<T> {
    move |value| {
        let text = text(value)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("must be {}", one_of(&words))
        })
    }
}

/// `"a", "b" or "c"`.
fn one_of(words: &[String]) -> String {
    match words {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        _ => words.concat(),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Parsed<bool> {
    match value {
        Value::Boolean(value) => Ok(*value),
        other => wrong_type(Kind::Boolean, other),
    }
}

/// A whole number.
pub(super) fn integer(value: &Value) -> Parsed<i64> {
    match value {
        Value::Integer(number) => Ok(*number),
        other => wrong_type(Kind::Integer, other),
    }
}

/// Any number. The whole ones that make sense as fractions are 0 and 1, so that nothing is lost here.
pub(super) fn number(value: &Value) -> Parsed<f64> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::Integer(number) => {
            i32::try_from(*number).map(f64::from).map_err(|_| "is too large".to_owned())
        }
        other => wrong_type(Kind::Number, other),
    }
}

/// `"90s"`, `"1h30m"`, `"500ms"`: hours, minutes, seconds and below, and never without a unit.
pub(super) fn duration(value: &Value) -> Parsed<Duration> {
    let Value::Text(text) = value else { return wrong_type(Kind::Duration, value) };
    let example = r#"write "90s", "10m", "1h" or "1h30m""#;
    span::parse(text).map_err(|why| match why {
        NotADuration::NoUnit => format!("a duration needs a unit: {example}"),
        NotADuration::Iso8601 => format!("durations are not written as in ISO 8601 here: {example}"),
        NotADuration::Malformed => format!("is no duration, which is made of h, m, s and ms: {example}"),
        NotADuration::Negative => "must not be negative".to_owned(),
    })
}

/// `"64MiB"`, and never without a unit.
pub(super) fn size(value: &Value) -> Parsed<ByteSize> {
    let Value::Text(text) = value else { return wrong_type(Kind::Size, value) };
    let text = text.trim();
    if is_bare_number(text) {
        return Err(r#"a size needs a unit: write "64MiB" or "1GiB""#.to_owned());
    }
    text.parse().map_err(|_| r#"is no size, which is a number and KiB, MiB or GiB: write "64MiB""#.to_owned())
}

/// What `parse` gives, if it lies in `range`.
pub(super) fn within<T: PartialOrd + Shown>(
    range: RangeInclusive<T>,
    parse: impl FnOnce(&Value) -> Parsed<T>,
) -> impl FnOnce(&Value) -> Parsed<T> {
    move |value| {
        let value = parse(value)?;
        // `contains` is false for a NaN, as it should be.
        if range.contains(&value) {
            return Ok(value);
        }
        Err(format!("must be between {} and {}", range.start().shown(), range.end().shown()))
    }
}

/// What can stand in a problem's text: bounds, defaults, and values that have been understood.
pub(super) trait Shown {
    /// As it would be written in the file.
    fn shown(&self) -> String;
}

impl Shown for Duration {
    fn shown(&self) -> String {
        let printer = SpanPrinter::new().spacing(Spacing::None);
        SignedDuration::try_from(*self)
            .map_or_else(|_| "forever".to_owned(), |span| printer.duration_to_string(&span))
    }
}

impl Shown for ByteSize {
    fn shown(&self) -> String {
        self.to_string().replace(".0 ", "")
    }
}

impl Shown for f64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for i64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

/// What a value must be and is not.
pub(super) fn wrong_type<T>(kind: Kind, value: &Value) -> Parsed<T> {
    let found = match value {
        Value::Boolean(_) => "true or false",
        Value::Text(_) => "text in quotes",
        Value::Integer(_) => "a whole number",
        Value::Number(_) => "a number with a fraction",
        Value::Texts(_) => "a list",
    };
    Err(format!("must be {}, not {found}", kind.expected()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Value {
        text.into()
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in [
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("0s", 0),
            ("1.5s", 1_500),
        ] {
            assert_eq!(duration(&of(text)), Ok(Duration::from_millis(millis)), "{text}");
        }
        let refused = |text: &str| duration(&of(text)).unwrap_err();
        for text in ["30", "1.5", "-3", "1e3"] {
            assert!(refused(text).contains("needs a unit"), "{text}");
        }
        for text in ["PT1H", "-PT1H", "pt5s"] {
            assert!(refused(text).contains("ISO 8601"), "{text}");
        }
        for text in ["-5s", "5s ago"] {
            assert!(refused(text).contains("negative"), "{text}");
        }
        for text in ["", "s", "5 parsecs", "1d", "1w", "ten minutes", "99999999999999999999h"] {
            assert!(refused(text).contains("is no duration"), "{text}");
        }
        assert!(duration(&Value::Integer(30)).unwrap_err().contains("not a whole number"));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(&of("64MiB")), Ok(ByteSize::mib(64)));
        assert_eq!(size(&of("1.5 GiB")), Ok(ByteSize::mib(1536)));
        assert!(size(&of("67108864")).unwrap_err().contains("needs a unit"));
        for text in ["", "MiB", "64 parsecs", "-64MiB"] {
            assert!(size(&of(text)).unwrap_err().contains("is no size"), "{text}");
        }
    }

    #[test]
    fn bounds_are_named_as_they_would_be_written() {
        let hour = within(Duration::from_millis(1)..=Duration::from_secs(5400), duration);
        assert_eq!(hour(&of("2h")), Err("must be between 1ms and 1h30m".to_owned()));
        let sizes = within(ByteSize::mib(1)..=ByteSize::tib(1), size);
        assert_eq!(sizes(&of("1KiB")), Err("must be between 1MiB and 1TiB".to_owned()));
        let fraction = || within(0.1..=0.95, number);
        assert_eq!(fraction()(&Value::Number(f64::NAN)), Err("must be between 0.1 and 0.95".to_owned()));
        assert_eq!(fraction()(&Value::Number(0.8)), Ok(0.8));
        assert_eq!(Duration::ZERO.shown(), "0s");
    }

    #[test]
    fn choices_are_listed() {
        let pick = || choice(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(pick()(&of("b")), Ok(2));
        assert_eq!(pick()(&of("B")), Err(r#"must be "a", "b" or "c""#.to_owned()));
    }
}
