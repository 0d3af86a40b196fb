//! Lines of Markdown within the width of the pages.

/// The width of generated lines.
const WIDTH: usize = 118;

/// `text` in lines, the first of which begins with `first` and the others with `rest`.
pub fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let (mut lines, mut line) = (String::new(), first.to_owned());
    let mut is_empty = true;
    for word in words(text) {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = rest.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(&word);
        is_empty = false;
    }
    lines + line.trim_end() + "\n"
}

/// The anchor of a heading, as GitHub makes it.
pub fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The words of `text`. What stands between backticks is one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for part in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if is_open => last.extend([" ", part]),
            _ => words.push(part.to_owned()),
        }
        is_open ^= part.matches('`').count() % 2 == 1;
    }
    words
}

#[test]
fn lines_are_broken_between_words_and_not_within_code() {
    let text = format!("{} `a b` c", "x".repeat(111));
    assert_eq!(wrapped(&text, "- ", "  "), format!("- {}\n  `a b` c\n", "x".repeat(111)));
    assert_eq!(wrapped("", "- ", "  "), "-\n");
}
