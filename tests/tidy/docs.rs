//! Holds README, the lookup guide, the change log and `openapi.json` to the program that they describe.

mod configuration;
mod interface;

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;
use cloakroom::cli::{Cli, DEFAULT_SOCKET};
use serde_json::Value;

use crate::repository::read;

// README's commands.

#[test]
fn the_commands_and_their_options_are_those_there_are() {
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(&part("README.md", "## Running it")) {
        for command in row[0].split('`').filter_map(|text| text.strip_prefix("cloakroom ")) {
            let mut words = command.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
            let options = listed.entry(words.next().unwrap().to_owned()).or_default();
            options.extend(words.filter_map(|word| word.strip_prefix("--")).map(str::to_owned));
        }
    }
    let mut defined = BTreeMap::new();
    for command in Cli::command().get_subcommands() {
        let is_client = command.get_arguments().any(|argument| argument.get_id() == "path");
        let long = command.get_arguments().filter_map(|argument| argument.get_long());
        // That client commands take --socket is said once, below the table.
        let options: BTreeSet<_> = long
            .filter(|option| *option != "help" && !(is_client && *option == "socket"))
            .map(str::to_owned)
            .collect();
        defined.insert(command.get_name().to_owned(), options);
    }
    assert_eq!(listed, defined, "README's commands (left) and the program's (right)");
    assert!(read("README.md").contains(&format!("`CLOAKROOM_SOCKET`, then `{DEFAULT_SOCKET}`")));
}

fn description() -> Value {
    serde_json::from_str(&read("src/api/openapi.json")).unwrap()
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(description()["info"]["version"], version);
    let log = read("CHANGELOG.md");
    let (unreleased, rest) = log.split_once("## [Unreleased]").expect("a place for what comes next");
    assert!(!unreleased.contains("## ["), "what is unreleased comes first");
    // Either it has been released, or it says that it is the one being built.
    let released = rest.split("\n## [").nth(1).map(|rest| rest.split(']').next().unwrap());
    assert_eq!(released.unwrap_or(version), version);
    assert!(
        released.is_some() || rest.contains(&format!(" {version},")),
        "the change log does not know {version}"
    );
}

/// The first block of code in a language.
fn block(page: &str, language: &str) -> String {
    let page = read(page);
    let (_, rest) = page.split_once(&format!("\n```{language}\n")).unwrap_or_else(|| panic!("no {language}"));
    rest.split("\n```").next().unwrap().to_owned()
}

/// The part of a page under a heading of the second level.
fn part(page: &str, heading: &str) -> String {
    let page = read(page);
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The cells of every row of every table, heads left out.
fn rows(part: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{1}");
        line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    };
    let lines: Vec<_> = part.lines().collect();
    let is_rule = |line: &&str| line.starts_with("|--");
    let is_row = |index: usize| {
        lines[index].starts_with('|') && !is_rule(&lines[index]) && !lines.get(index + 1).is_some_and(is_rule)
    };
    (0..lines.len()).filter(|index| is_row(*index)).map(|index| cells(lines[index])).collect()
}
