//! Writes the references that are derived from the program, and fails where a file in the repository is out of date.
//!
//! `CLOAKROOM_WRITE_DOCS=1 cargo test --test tidy references` writes them. Each reference has a module in
//! `tests/tidy/references/` that renders it from tables of the library; no program reads a rendered page.

mod cli;
mod configuration;
mod errors;
mod examples;
mod http;
mod markdown;
mod metrics;
mod openapi;
mod openapi_3_0;

use std::fs;
use std::path::PathBuf;

use crate::repository::root;

/// The line of a page below which everything is generated. What stands above it is written by hand.
const MARKER: &str =
    "<!-- generated below this line: CLOAKROOM_WRITE_DOCS=1 cargo test --test tidy references -->";

/// Compares a generated file with `text`, or writes it under `CLOAKROOM_WRITE_DOCS=1`. `path` is relative to the root
/// of the repository.
fn generated(path: &str, text: &str) {
    let file = root().join(path);
    if let Err(difference) = written_or_equal(&file, text, writes()) {
        panic!(
            "{path} is out of date: CLOAKROOM_WRITE_DOCS=1 cargo test --test tidy references writes it.\n{difference}"
        );
    }
}

/// Does the same for the part of a page below [`MARKER`], and leaves the part above it as it is.
fn generated_below_marker(path: &str, text: &str) {
    let page = fs::read_to_string(root().join(path)).unwrap_or_default();
    let Some((above, _)) = page.split_once(MARKER) else { panic!("{path} has no line {MARKER:?}") };
    generated(path, &format!("{above}{MARKER}\n\n{text}"));
}

/// Whether files are written instead of compared. Never under CI, where the test would then show nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for the person who runs the tests, not for the program"
)]
fn writes() -> bool {
    std::env::var_os("CLOAKROOM_WRITE_DOCS").is_some_and(|value| value == "1")
        && std::env::var_os("CI").is_none()
}

/// Writes `text` to `file` if `write` is set; otherwise gives the first line that differs.
fn written_or_equal(file: &PathBuf, text: &str, write: bool) -> Result<(), String> {
    if write {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let found = fs::read_to_string(file).map_err(|error| error.to_string())?;
    if found == text {
        return Ok(());
    }
    let same = found.lines().zip(text.lines()).take_while(|(found, wanted)| found == wanted).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(the end)").to_owned();
    Err(format!("line {}:\n  found     {}\n  generated {}", same + 1, line(&found), line(text)))
}

#[test]
fn a_file_that_is_out_of_date_is_noticed_and_written_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("reference/page.md");
    assert!(written_or_equal(&file, "a\nb\n", false).is_err(), "the file does not exist");
    assert_eq!(written_or_equal(&file, "a\nb\n", true), Ok(()));
    assert_eq!(written_or_equal(&file, "a\nb\n", false), Ok(()));
    let difference = written_or_equal(&file, "a\nc\n", false).unwrap_err();
    assert_eq!(difference, "line 2:\n  found     b\n  generated c");
    assert!(written_or_equal(&file, "a\nb\nc\n", false).unwrap_err().contains("found     (the end)"));
}
