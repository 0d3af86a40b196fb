//! `cloakroom man`: prints the manual page, which is generated from the definitions of the commands.

use std::io;

use clap::Command;
use clap_mangen::Man;

use super::CommandError;

/// For `--help`.
pub const ABOUT: &str = "\
Print the manual page: one page for cloakroom and all its commands.

Examples:
  cloakroom man > /usr/local/share/man/man1/cloakroom.1
  cloakroom man | man -l -";

/// Prints the page of `cli`.
pub fn run(cli: Command, out: &mut impl io::Write) -> Result<(), CommandError> {
    let page = page(cli).map_err(|cause| CommandError::failed(format!("no page could be made: {cause}")))?;
    Ok(out.write_all(page.as_bytes())?)
}

/// Combines the generator's pages, one for each command, into one.
fn page(cli: Command) -> io::Result<String> {
    // Every command has --help, which the page need not list each time.
    let bare = |subcommand: Command| subcommand.disable_help_flag(true);
    let mut command = cli.disable_help_subcommand(true).mut_subcommands(bare);
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

/// Makes the part of one command.
fn part(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    let (mut synopsis, mut rest) = (Vec::new(), Vec::new());
    man.render_synopsis_section(&mut synopsis)?;
    man.render_description_section(&mut rest)?;
    man.render_options_section(&mut rest)?;
    let heading = format!(".SS \"cloakroom {}\"", command.get_name());
    Ok(body(&synopsis, &heading) + &body(&rest, ".PP"))
}

/// Replaces a section's heading, and removes the generator's preamble, which a page has once.
fn body(section: &[u8], heading: &str) -> String {
    let section = String::from_utf8_lossy(section);
    let lines = section.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    lines.flat_map(|line| [if line.starts_with(".SH ") { heading } else { line }, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn one_page_has_every_command_once() {
        let page = page(Cli::command()).unwrap();
        assert_eq!(page.matches(".TH ").count(), 1);
        assert!(page.is_ascii(), "older formatters support ASCII only");
        for command in Cli::command().get_subcommands() {
            let heading = format!(".SS \"cloakroom {}\"\n", command.get_name());
            assert_eq!(page.matches(&heading).count(), 1, "{heading}");
        }
        assert_eq!(page.matches(".SH ").count(), 5, "name, synopsis, description, commands, exit status");
    }
}
