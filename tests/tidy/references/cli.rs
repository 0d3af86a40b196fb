//! The reference of the command line, from the definitions that parse it.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};
use cloakroom::cli::{Cli, Exit};

use super::generated_below_marker;
use super::markdown::{anchor, wrapped};

#[test]
fn the_reference_has_a_section_for_each_command() {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let mut page = String::from("## Commands\n\n");
    for command in cli.get_subcommands() {
        let link = format!("[`cloakroom {0}`](#{1})", command.get_name(), anchor(&heading(command)));
        page.push_str(&wrapped(&format!("{link}: {}", command.get_about().unwrap()), "- ", "  "));
    }
    page.push_str("\nEvery command takes `--help`; `-h` prints a summary.\n");
    cli.get_subcommands().for_each(|command| page.push_str(&section(command)));
    page.push_str("\n## Exit codes\n\n");
    for exit in Exit::ALL {
        page.push_str(&wrapped(&format!("{}: {}", exit.code(), exit.meaning()), "- ", "  "));
    }
    generated_below_marker("docs/reference/cli.md", &page);
}

fn heading(command: &Command) -> String {
    format!("cloakroom {}", command.get_name())
}

/// What the page says of a command.
fn section(command: &Command) -> String {
    let mut section =
        format!("\n## {}\n\n{}", heading(command), about(&command.get_long_about().unwrap().to_string()));
    let usage = command.clone().render_usage().to_string();
    write!(section, "\n```text\n{}\n```\n\n", usage.trim_start_matches("Usage: ").trim()).unwrap();
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        section.push_str(&item(argument));
    }
    section.trim_end().to_owned() + "\n"
}

/// The text of `--help`, with its examples as a block of code.
fn about(text: &str) -> String {
    let (text, examples) = text.split_once("\n\nExamples:\n").unwrap_or((text, ""));
    let paragraphs: Vec<_> = text.split("\n\n").map(|paragraph| wrapped(paragraph, "", "")).collect();
    let examples: String = examples.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let block = if examples.is_empty() { String::new() } else { format!("\n```sh\n{examples}```\n") };
    paragraphs.join("\n") + &block
}

/// What the page says of an argument or an option.
fn item(argument: &Arg) -> String {
    let values: Vec<_> = argument.get_value_names().into_iter().flatten().map(ToString::to_string).collect();
    let takes_value = argument.get_action().takes_values();
    let name = match argument.get_long() {
        Some(long) if takes_value => format!("--{long} {}", values.join(" ")),
        Some(long) => format!("--{long}"),
        None => values.join(" "),
    };
    let help = argument.get_help().unwrap().to_string();
    let end = if help.ends_with('?') { "" } else { "." };
    let mut text = format!("`{name}`: {help}{end}");
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() {
        write!(text, " Default: `{}`.", defaults.join(" ")).unwrap();
    }
    if let Some(variable) = argument.get_env() {
        write!(text, " Variable: `{}`.", variable.to_string_lossy()).unwrap();
    }
    let values = if takes_value { argument.get_possible_values() } else { Vec::new() };
    let bare: Vec<_> = values.iter().filter(|value| value.get_help().is_none()).collect();
    if !bare.is_empty() {
        let names: Vec<_> = bare.iter().map(|value| format!("`{}`", value.get_name())).collect();
        write!(text, " One of {}.", names.join(", ")).unwrap();
    }
    let explained = values.iter().filter_map(|value| Some((value.get_name(), value.get_help()?)));
    let explained = explained.map(|(name, help)| wrapped(&format!("`{name}`: {help}."), "  - ", "    "));
    wrapped(&text, "- ", "  ") + &explained.collect::<String>()
}
