//! The source as tokens, as far as imports and test modules need them.

/// Leaves out test modules that stand in the file, and the declarations of those that do not.
pub fn without_tests(tokens: Vec<&str>) -> Vec<&str> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&MARK) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        at += tokens[at..].iter().position(|token| *token == "{" || *token == ";").unwrap();
        let mut depth = 0_usize;
        loop {
            depth = match tokens[at] {
                "{" => depth + 1,
                "}" => depth - 1,
                _ => depth,
            };
            at += 1;
            if depth == 0 {
                break;
            }
        }
    }
    kept
}

/// The words and signs of a source file. Comments, texts and lifetimes are left out.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest) {
            length
        } else if c == '"' || rest.starts_with("b\"") || rest.starts_with("c\"") {
            quoted(rest, '"')
        } else if c == '\'' || rest.starts_with("b'") {
            let inner = &rest[rest.find('\'').unwrap() + 1..];
            let is_char = inner.starts_with('\\') || inner.chars().nth(1) == Some('\'');
            if is_char { quoted(rest, '\'') } else { 1 + word(&rest[1..]) }
        } else if word(rest) > 0 {
            found.push(&rest[..word(rest)]);
            word(rest)
        } else if rest.starts_with("::") {
            found.push(&rest[..2]);
            2
        } else {
            if !c.is_whitespace() {
                found.push(&rest[..c.len_utf8()]);
            }
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    found
}

/// The length of `r"…"`, `r#"…"#` and `br"…"` at the start of a text.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let body = after.trim_start_matches('#');
    let hashes = "#".repeat(after.len() - body.len());
    let inner = body.strip_prefix('"')?;
    let end = format!("\"{hashes}");
    Some(rest.len() - inner.len() + inner.find(&end).unwrap() + end.len())
}

/// The length of a text in quotes at the start of `rest`, a letter before it included.
fn quoted(rest: &str, quote: char) -> usize {
    let start = rest.find(quote).unwrap() + 1;
    let mut is_escaped = false;
    for (at, c) in rest[start..].char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return start + at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

pub fn is_word(token: &str) -> bool {
    word(token) > 0
}
