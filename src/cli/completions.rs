//! `cloakroom completions`: prints completion scripts, which are generated from the definitions of the commands.

use std::io;

use clap::{Command, ValueEnum};

use super::CommandError;

/// For `--help`.
pub const ABOUT: &str = "\
Print a completion script for a shell.

Examples:
  cloakroom completions bash > /usr/share/bash-completion/completions/cloakroom
  cloakroom completions zsh > /usr/share/zsh/site-functions/_cloakroom
  cloakroom completions fish > /usr/share/fish/vendor_completions.d/cloakroom.fish";

/// The arguments of `completions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// A shell that scripts can be generated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names suffice, and a doc comment would appear in the help")]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Prints the script for `cli`.
pub fn run(args: &Args, mut cli: Command, out: &mut impl io::Write) -> Result<(), CommandError> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "cloakroom", &mut script);
    Ok(out.write_all(&script)?)
}
