//! The words of the source and of the pages, and the length of the pages' lines.
//!
//! Each directory or file in `COVERED` is held to all of it.

use std::collections::BTreeSet;

use crate::repository::{files, read};

/// Directories (with a slash at the end) and files whose text is held to `BANNED` and `OPENINGS`.
const COVERED: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "benches/README.md",
    "deploy/",
    "docs/",
    "fuzz/README.md",
    "src/",
    "systemd/",
    "tests/model/README.md",
];

/// The ends of the names of files that are read: sources, pages, units and manifests.
const READ: &[&str] = &[".rs", ".md", ".yml", ".yaml", ".conf", ".service", ".socket", ".sysusers"];

/// Words, in lower case, and what is written in their place.
const BANNED: &[(&str, &str)] = &[
    ("whoever", "name the actor: client, daemon, operator, user, process"),
    ("whomever", "name the actor"),
    ("nobody", "name the actor that is meant, or say what is"),
    ("somebody", "name the actor"),
    ("everybody", "name the actors"),
    ("anybody", "name the actors"),
    ("lest", "so that … not"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("mending", "fixing"),
    ("patience", "timeout"),
    ("wish", "option"),
    ("wishes", "options"),
    ("tally", "counter"),
    ("turnstile", "scheduler"),
    ("shelf", "store"),
    ("furnished", "store"),
    ("seldom", "rarely, or a rate"),
    ("door", "accept loop, or the way by which something leaves"),
    ("doors", "accept loops"),
    ("trail", "audit record"),
    ("upkeep", "service manager"),
    ("pulse", "watchdog"),
    ("guest", "accepted connection"),
    ("seat", "slot"),
];

/// How no doc comment begins: a hover shows its first sentence alone.
const OPENINGS: &[&str] = &["The same", "Whether that", "It ", "Likewise", "Ditto"];

/// The longest line of a page, tables included, in characters.
const LONGEST_LINE: usize = 120;

/// A line that begins with one of these begins the part of a page that a program writes, which may be as wide as it is.
const GENERATED: &[&str] = &["<!-- generated", "<!-- from here on: written by"];

#[test]
fn banned_words_stand_nowhere() {
    let mut wrong = Vec::new();
    for (name, text) in covered() {
        for (number, line) in lines(&text) {
            let lower = line.to_lowercase();
            for (word, instead) in BANNED.iter().filter(|(word, _)| has_word(&lower, word)) {
                wrong.push(format!("{name}:{number}: {word:?} ({instead}): {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} lines:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_first_sentence_of_a_doc_comment_stands_alone() {
    let mut wrong = Vec::new();
    for (name, text) in covered().into_iter().filter(|(name, _)| name.ends_with(".rs")) {
        let mut was_doc = false;
        for (number, line) in lines(&text) {
            let line = line.trim_start();
            let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let sentence = doc.filter(|_| !was_doc).unwrap_or_default().trim_start();
            if OPENINGS.iter().any(|opening| sentence.starts_with(opening)) {
                wrong.push(format!("{name}:{number}: {sentence}"));
            }
            was_doc = doc.is_some();
        }
    }
    assert!(wrong.is_empty(), "{} comments:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn lines_of_pages_fit() {
    let mut wrong = Vec::new();
    for (name, text) in covered().into_iter().filter(|(name, _)| name.ends_with(".md")) {
        let written = text.lines().position(|line| GENERATED.iter().any(|mark| line.starts_with(mark)));
        let by_hand = lines(&text).take(written.unwrap_or(usize::MAX));
        wrong.extend(by_hand.filter_map(|(number, line)| {
            let length = line.chars().count();
            (length > LONGEST_LINE).then(|| format!("{name}:{number}: {length} characters"))
        }));
    }
    assert!(wrong.is_empty(), "{LONGEST_LINE} are the most:\n{}", wrong.join("\n"));
}

/// What is covered, by name. What does not exist any more, or is covered twice, is an error.
fn covered() -> Vec<(String, String)> {
    let mut names = Vec::new();
    for part in COVERED {
        match part.strip_suffix('/') {
            Some(directory) => names.extend(files(directory)),
            None => names.push((*part).to_owned()),
        }
    }
    names.retain(|name| READ.iter().any(|end| name.ends_with(end)));
    let once: BTreeSet<_> = names.iter().collect();
    assert_eq!(once.len(), names.len(), "a file is covered twice");
    names
        .into_iter()
        .map(|name| {
            let text = read(&name);
            (name, text)
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Letters, digits and underscores belong to words: names of tests are no prose.
fn has_word(line: &str, word: &str) -> bool {
    let is_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_of_a_word);
        let after = line[at + word.len()..].chars().next().is_some_and(is_of_a_word);
        !before && !after
    })
}
