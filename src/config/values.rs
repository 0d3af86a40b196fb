//! Parses values of sources into durations, sizes, numbers, choices and texts.
//!
//! Each function returns the value, or a text that says what would be right and does not repeat the input.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

use super::problem::Wrong;
use super::schema::Type;
use super::source_values::Value;
use crate::domain::duration_text::{self, NotADuration, is_bare_number};
use crate::domain::invisible_characters;

/// A value, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, String>;

/// A type that a key's value becomes within the bounds of its row, and that may be shown.
pub(super) trait Typed: Sized {
    /// Parses a value within the bounds of `takes`, which is from the key's row.
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong>;

    /// The value as it would be written in the file.
    fn shown(&self) -> String;
}

/// Converts the text of a variable, or of a default in the schema, into a value for a key of this type.
pub(super) fn from_text(takes: Type, text: &str) -> Option<Value> {
    match takes {
        Type::Integer { .. } => text.parse().ok().map(Value::Integer),
        Type::Number { .. } => text.parse().ok().map(Value::Number),
        Type::Boolean => text.parse().ok().map(Value::Boolean),
        Type::Texts { .. } | Type::Words(_) => {
            Some(Value::Texts(text.split(',').map(|text| text.trim().to_owned()).collect()))
        }
        Type::Text(_)
        | Type::Secret(_)
        | Type::Path
        | Type::Choice(_)
        | Type::ChoiceOrPath(_)
        | Type::Mode
        | Type::Address
        | Type::User
        | Type::Group
        | Type::Duration { .. }
        | Type::Size { .. } => Some(text.into()),
    }
}

impl Typed for bool {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Boolean(value) => Ok(*value),
            other => Ok(wrong_type(takes, other)?),
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Typed for i64 {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        match (takes, value) {
            (Type::Integer { min, max }, Value::Integer(number)) => Ok(within(*number, min, max)?),
            (takes, other) => Ok(wrong_type(takes, other)?),
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Typed for u32 {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        Ok(Self::try_from(i64::parse(takes, value)?).map_err(|_| "is too large")?)
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Typed for usize {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        Ok(Self::try_from(i64::parse(takes, value)?).map_err(|_| "is too large")?)
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Typed for f64 {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        let Type::Number { min, max, zero_is_off } = takes else { return Ok(wrong_type(takes, value)?) };
        match number(takes, value)? {
            0.0 if zero_is_off => Ok(0.0),
            number => Ok(within(number, min, max)
                .map_err(|text| if zero_is_off { format!("{text}, or 0 to turn it off") } else { text })?),
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Typed for Duration {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        match (takes, value) {
            (Type::Duration { min, max }, Value::Text(text)) => Ok(within(duration(text)?, min, max)?),
            (takes, other) => Ok(wrong_type(takes, other)?),
        }
    }

    fn shown(&self) -> String {
        let printer = SpanPrinter::new().spacing(Spacing::None);
        SignedDuration::try_from(*self)
            .map_or_else(|_| "forever".to_owned(), |span| printer.duration_to_string(&span))
    }
}

impl Typed for ByteSize {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        match (takes, value) {
            (Type::Size { min, max }, Value::Text(text)) => Ok(within(size(text)?, min, max)?),
            (takes, other) => Ok(wrong_type(takes, other)?),
        }
    }

    fn shown(&self) -> String {
        self.to_string().replace(".0 ", "")
    }
}

/// Any text.
pub(super) fn text(takes: Type, value: &Value) -> Parsed<&str> {
    match value {
        Value::Text(text) => Ok(text),
        other => wrong_type(takes, other),
    }
}

/// Text that is not empty, all on one line, all of it visible, and without spaces around it.
pub(super) fn line(takes: Type, value: &Value) -> Parsed<&str> {
    visible_line(text(takes, value)?)
}

/// The absolute path of a file or a socket.
pub(super) fn absolute_path(takes: Type, value: &Value) -> Parsed<&str> {
    let path = line(takes, value)?;
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err("must be an absolute path, beginning with /".to_owned())
    }
}

/// A list of lines, not empty, each of them once.
pub(super) fn lines(takes: Type, value: &Value) -> Parsed<Vec<String>> {
    list(takes, value, visible_line)
}

/// A list of user ids or of patterns. They may contain joiners and spaces of any script.
pub(super) fn users(takes: Type, value: &Value) -> Parsed<Vec<String>> {
    list(takes, value, printed_line)
}

fn list(takes: Type, value: &Value, line: impl Fn(&str) -> Parsed<&str>) -> Parsed<Vec<String>> {
    let Value::Texts(list) = value else { return wrong_type(takes, value) };
    let mut lines: Vec<String> = Vec::new();
    for (at, element) in list.iter().enumerate() {
        let element = line(element).map_err(|text| format!("element {at} {text}"))?;
        if lines.iter().any(|before| before == element) {
            return Err(format!("element {at} repeats an earlier one"));
        }
        lines.push(element.to_owned());
    }
    if lines.is_empty() && !matches!(takes, Type::Texts { may_be_empty: true, .. }) {
        return Err("must not be empty; remove the key to get the default".to_owned());
    }
    Ok(lines)
}

fn visible_line(text: &str) -> Parsed<&str> {
    match invisible_characters::first(text) {
        Some(found) => {
            Err(format!("contains the invisible character {found}, probably from pasted text; remove it"))
        }
        None => printed_line(text),
    }
}

fn printed_line(text: &str) -> Parsed<&str> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters or line breaks".to_owned());
    }
    if text.trim() != text {
        return Err("must not begin or end with a space".to_owned());
    }
    Ok(text)
}

/// One of the words of the key's row. `meaning` maps a word to the value.
pub(super) fn choice<T>(takes: Type, value: &Value, meaning: impl FnOnce(&str) -> Option<T>) -> Parsed<T> {
    let (text, Type::Choice(words)) = (text(takes, value)?, takes) else { return wrong_type(takes, value) };
    let word = words.iter().find(|word| **word == text);
    word.and_then(|word| meaning(word)).ok_or_else(|| format!("must be {}", one_of(words)))
}

/// `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    match &*words {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        _ => words.concat(),
    }
}

/// A number. A whole one is converted if it has 32 bits, so that none is rounded.
fn number(takes: Type, value: &Value) -> Parsed<f64> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::Integer(number) => {
            i32::try_from(*number).map(f64::from).map_err(|_| "is too large".to_owned())
        }
        other => wrong_type(takes, other),
    }
}

/// `"90s"`, `"1h30m"`, `"500ms"`: hours, minutes, seconds and smaller units. The unit is required.
fn duration(text: &str) -> Parsed<Duration> {
    let example = r#"h, m, s or ms, as in "90s" or "1h30m""#;
    duration_text::parse(text).map_err(|why| match why {
        NotADuration::NoUnit => format!("a duration needs a unit; use {example}"),
        NotADuration::Iso8601 => format!("ISO 8601 durations are not supported; use {example}"),
        NotADuration::Malformed => format!("invalid duration; use {example}"),
        NotADuration::Negative => "must not be negative".to_owned(),
    })
}

/// `"64MiB"`. The unit is required.
fn size(text: &str) -> Parsed<ByteSize> {
    let text = text.trim();
    if is_bare_number(text) {
        return Err(r#"a size needs a unit, as in "64MiB" or "1GiB""#.to_owned());
    }
    text.parse().map_err(|_| r#"invalid size; use a number with KiB, MiB or GiB, as in "64MiB""#.to_owned())
}

/// `value`, if it lies between `min` and `max`.
fn within<T: PartialOrd + Typed>(value: T, min: T, max: T) -> Parsed<T> {
    // Both comparisons are false for a NaN, which is refused.
    if min <= value && value <= max {
        return Ok(value);
    }
    Err(format!("must be between {} and {}", min.shown(), max.shown()))
}

/// The problem that a value has the wrong type.
pub(super) fn wrong_type<T>(takes: Type, value: &Value) -> Parsed<T> {
    let found = match value {
        Value::Boolean(_) => "true or false",
        Value::Text(_) => "text in quotes",
        Value::Integer(_) => "a whole number",
        Value::Number(_) => "a number with a fraction",
        Value::Texts(_) => "a list",
    };
    Err(format!("must be {}, not {found}", takes.expected()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types with wide bounds.
    const DURATION: Type = Type::Duration { min: Duration::ZERO, max: Duration::from_secs(5400) };
    const SIZE: Type = Type::Size { min: ByteSize::mib(1), max: ByteSize::tib(1) };

    fn wrong<T: Typed>(takes: Type, value: &Value) -> String {
        T::parse(takes, value).err().expect("a problem").text
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
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        let refused = |text: &str| duration(text).unwrap_err();
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
            assert!(refused(text).contains("invalid duration"), "{text}");
        }
        assert!(wrong::<Duration>(DURATION, &Value::Integer(30)).contains("not a whole number"));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("64MiB"), Ok(ByteSize::mib(64)));
        assert_eq!(size("1.5 GiB"), Ok(ByteSize::mib(1536)));
        assert!(size("67108864").unwrap_err().contains("needs a unit"));
        for text in ["", "MiB", "64 parsecs", "-64MiB"] {
            assert!(size(text).unwrap_err().contains("invalid size"), "{text}");
        }
    }

    #[test]
    fn bounds_are_named_as_they_would_be_written() {
        assert_eq!(wrong::<Duration>(DURATION, &"2h".into()), "must be between 0s and 1h30m");
        assert_eq!(wrong::<ByteSize>(SIZE, &"1KiB".into()), "must be between 1MiB and 1TiB");
        let fraction = Type::Number { min: 0.1, max: 0.95, zero_is_off: false };
        assert_eq!(wrong::<f64>(fraction, &Value::Number(f64::NAN)), "must be between 0.1 and 0.95");
        assert_eq!(f64::parse(fraction, &Value::Number(0.8)), Ok(0.8));
        assert_eq!(Duration::ZERO.shown(), "0s");
    }

    #[test]
    fn choices_are_listed() {
        let takes = Type::Choice(&["a", "b", "c"]);
        let pick = |text: &str| choice(takes, &text.into(), |word| Some(word.to_owned()));
        assert_eq!(pick("b"), Ok("b".to_owned()));
        assert_eq!(pick("B"), Err(r#"must be "a", "b" or "c""#.to_owned()));
    }

    #[test]
    fn text_takes_the_type_of_its_key() {
        let number = Type::Number { min: 0.0, max: 1.0, zero_is_off: false };
        assert_eq!(from_text(Type::Integer { min: 0, max: 9 }, "5"), Some(Value::Integer(5)));
        assert_eq!(from_text(number, "0"), Some(Value::Number(0.0)));
        assert_eq!(from_text(Type::Boolean, "false"), Some(Value::Boolean(false)));
        assert_eq!(from_text(Type::User, "5"), Some("5".into()));
        assert_eq!(from_text(Type::Integer { min: 0, max: 9 }, "five"), None);
        assert_eq!(from_text(Type::Boolean, "yes"), None);
        let texts = Value::Texts(vec!["a".to_owned(), "b c".to_owned()]);
        assert_eq!(from_text(Type::Texts { pattern: "", may_be_empty: false }, "a, b c"), Some(texts));
    }
}
