//! `cloakroom completions`: generated from the definitions, so never out of date.

use std::io;

use clap::{CommandFactory, ValueEnum};

use super::{Cli, CommandError};

/// For `--help`.
pub const ABOUT: &str = "\
Print a completion script for a shell.

Examples:
  cloakroom completions bash > /usr/share/bash-completion/completions/cloakroom
  cloakroom completions zsh > /usr/share/zsh/site-functions/_cloakroom
  cloakroom completions fish > /usr/share/fish/vendor_completions.d/cloakroom.fish";

/// What `completions` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// The shells there are scripts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "their names say it all, and a doc comment would be a help text")]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Prints the script.
pub fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    // The generator panics where it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cloakroom", &mut script);
    Ok(out.write_all(&script)?)
}
