//! `cloakroom man`: generated from the definitions, so never out of date.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, CommandError};

/// For `--help`.
pub const ABOUT: &str = "\
Print the manual page: one page for cloakroom and all its commands.

Examples:
  cloakroom man > /usr/local/share/man/man1/cloakroom.1
  cloakroom man | man -l -";

/// Prints the page.
pub fn run(out: &mut impl io::Write) -> Result<(), CommandError> {
    let page = page().map_err(|cause| CommandError::failed(format!("no page could be made: {cause}")))?;
    Ok(out.write_all(page.as_bytes())?)
}

/// The generator makes a page for each command; this puts them into one, where a reader finds them.
fn page() -> io::Result<String> {
    // That every command takes --help needs no saying eleven times.
    let bare = |subcommand: Command| subcommand.disable_help_flag(true);
    let mut command = Cli::command().disable_help_subcommand(true).mut_subcommands(bare);
    command.build();
    let whole = Man::new(command.clone());

    let (mut head, mut exit_codes) = (Vec::new(), Vec::new());
    whole.render_title(&mut head)?;
    whole.render_name_section(&mut head)?;
    whole.render_synopsis_section(&mut head)?;
    whole.render_description_section(&mut head)?;
    whole.render_extra_section(&mut exit_codes)?;

    let mut page = String::from_utf8_lossy(&head).into_owned();
    page.push_str(".SH COMMANDS\n");
    for subcommand in command.get_subcommands() {
        page.push_str(&part(subcommand)?);
    }
    page.push_str(&body(&exit_codes, ".SH \"EXIT STATUS\""));
    Ok(page)
}

/// What the page says of one command.
fn part(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    let (mut synopsis, mut rest) = (Vec::new(), Vec::new());
    man.render_synopsis_section(&mut synopsis)?;
    man.render_description_section(&mut rest)?;
    man.render_options_section(&mut rest)?;
    let heading = format!(".SS \"cloakroom {}\"", command.get_name());
    Ok(body(&synopsis, &heading) + &body(&rest, ".PP"))
}

/// A section under another heading, and without the generator's preamble, which a page needs once.
fn body(section: &[u8], heading: &str) -> String {
    let section = String::from_utf8_lossy(section);
    let lines = section.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    lines.flat_map(|line| [if line.starts_with(".SH ") { heading } else { line }, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_has_every_command_once() {
        let page = page().unwrap();
        assert_eq!(page.matches(".TH ").count(), 1);
        assert!(page.is_ascii(), "older formatters know nothing else");
        for command in Cli::command().get_subcommands() {
            let heading = format!(".SS \"cloakroom {}\"\n", command.get_name());
            assert_eq!(page.matches(&heading).count(), 1, "{heading}");
        }
        assert_eq!(page.matches(".SH ").count(), 5, "name, synopsis, description, commands, exit status");
    }
}
