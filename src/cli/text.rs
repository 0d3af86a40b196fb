//! Formats text for people: relative times and aligned columns, with control characters escaped.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;

use crate::domain::freshness::Timestamp;
use crate::domain::invisible_characters;

/// Escapes every invisible character in `text`, so that a name from a provider can neither move the cursor nor hide or
/// reverse the text beside it.
pub fn visible(text: &str) -> Cow<'_, str> {
    invisible_characters::escaped(text, |c, all| all.extend(c.escape_default()))
}

/// Escapes `text` like [`visible`], except its line ends.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    invisible_characters::escaped(
        text,
        |c, all| if c == '\n' { all.push(c) } else { all.extend(c.escape_default()) },
    )
}

/// Formats JSON for people and programs: every invisible character is escaped in JSON's way, so that the value stays
/// the same. Such characters occur within texts only.
pub fn json(value: &Value) -> String {
    let written = format!("{value:#}");
    let escaped = invisible_characters::escaped(&written, |c, all| match c {
        '\n' => all.push(c),
        // Writing to a String cannot fail.
        _ => c
            .encode_utf16(&mut [0; 2])
            .iter()
            .for_each(|unit| write!(all, "\\u{unit:04x}").unwrap_or_default()),
    });
    escaped.into_owned()
}

/// Formats a date relative to `now`: `in 42 min (2026-11-22T10:15:30Z)`.
pub fn date(text: &str, now: Timestamp) -> String {
    match Timestamp::parse(text) {
        Some(at) => format!("{} ({})", relative(at, now), visible(text)),
        None => visible(text).into_owned(),
    }
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    match (at.since(now).as_secs(), now.since(at).as_secs()) {
        (0, 0) => "now".into(),
        (0, ago) => format!("{} ago", span(ago)),
        (ahead, _) => format!("in {}", span(ahead)),
    }
}

/// Formats a number of seconds in one or two units: `42 min`, `3 h 5 min`, `2 d 1 h`.
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, subunit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {subunit}"),
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..3_600 => format!("{minutes} min"),
        3_600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// Formats a number with its noun: `1 user`, `2 users`.
pub fn count(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// Formats rows with aligned columns, two spaces apart. Escapes control characters, and removes spaces at line ends.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[Cow<'_, str>; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| visible(cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            write!(line, "{cell:width$}  ").ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_units_that_matter() {
        let spans = [0, 119, 120, 2_520, 3_600, 11_100, 86_399, 86_400, 180_000].map(span);
        let expected =
            ["0 s", "119 s", "2 min", "42 min", "1 h", "3 h 5 min", "23 h 59 min", "1 d", "2 d 2 h"];
        assert_eq!(spans, expected);
    }

    #[test]
    fn dates_are_shown_relative_and_in_full() {
        let now = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        assert_eq!(date("2026-11-22T10:42:00Z", now), "in 42 min (2026-11-22T10:42:00Z)");
        assert_eq!(date("2026-11-22T07:00:00Z", now), "3 h ago (2026-11-22T07:00:00Z)");
        assert_eq!(date("2026-11-22T10:00:00Z", now), "now (2026-11-22T10:00:00Z)");
        assert_eq!(date("some\u{1b}day", now), "some\\u{1b}day");
    }

    #[test]
    fn columns_are_aligned_and_cannot_drive_a_terminal() {
        let rows = [["a".into(), "bcd".into()], ["\u{e9}\u{e9}\u{e9}\n".into(), String::new()]];
        assert_eq!(table(&rows), "a      bcd\n\u{e9}\u{e9}\u{e9}\\n\n");
    }
}
