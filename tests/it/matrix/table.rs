//! The cells as Markdown, and the page that holds a copy of them.

use std::path::PathBuf;

use super::faults::Row;
use super::states::State;

const PAGE: &str = "docs/reference/faults.md";
const BEGIN: &str = "<!-- from here on: written by tests/it/matrix -->";

/// One table for each group of rows.
pub fn tables(rows: &[Row], texts: &[[String; State::ALL.len()]]) -> String {
    let mut tables = String::new();
    let mut group = "";
    for (row, texts) in rows.iter().zip(texts) {
        if row.group != group {
            group = row.group;
            let states = State::ALL.map(State::name).join(" | ");
            let rule = "---|".repeat(State::ALL.len() + 1);
            tables.push_str(&format!("\n## {group}\n\n| fault | {states} |\n|{rule}\n"));
        }
        tables.push_str(&format!("| {} | {} |\n", row.name, texts.join(" | ")));
    }
    tables
}

/// Compares `tables` with those of the page, or writes them there.
#[expect(clippy::disallowed_methods, reason = "asked of the person who runs the tests, not of the program")]
pub fn compare_with_the_page(tables: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, shown) =
        page.split_once(&format!("{BEGIN}\n")).expect("a line that says where the tables begin");
    if std::env::var_os("CLOAKROOM_WRITE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}\n{tables}")).unwrap();
        return;
    }
    let differing: Vec<_> =
        shown.lines().filter(|line| !tables.lines().any(|other| other == *line)).collect();
    assert!(
        shown == tables,
        "{PAGE} does not say what was measured: CLOAKROOM_WRITE_DOCS=1 cargo test --test it matrix writes it anew. \
         Lines that are no longer true:\n{}",
        differing.join("\n")
    );
}
