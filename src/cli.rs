//! The command line: the commands, their arguments, and their dispatch.
//!
//! Each command has a file with its `Args` and its `run`. A command writes its data to `out`, which is standard output.
//! It returns an error as a [`CommandError`], which `main` prints and turns into the exit code. No argument is a
//! secret, because other users of the machine can read arguments.

mod answer_format;
pub mod check;
pub mod client;
pub mod completions;
mod configuration;
pub mod demo;
mod exit;
pub mod explain;
pub mod healthcheck;
pub mod identities;
pub mod man;
mod problem_text;
pub mod purge;
pub mod reload;
mod runtime;
pub mod serve;
mod socket;
mod socket_permissions;
pub mod status;
mod text;
pub mod token;
mod values;
pub mod wait;

use std::future::Future;
use std::io;

use clap::{CommandFactory, Parser, Subcommand};

use crate::process::panics;

pub use answer_format::AnswerFormat;
pub use configuration::Environment;
pub use exit::{CommandError, Exit};
pub use socket::{DEFAULT_SOCKET, SocketArgs};

use configuration::configuration;
use runtime::block_on;
use values::user_id;

/// For `--help`: what each exit code means, and where output goes.
fn exit_codes() -> String {
    let codes = Exit::ALL.map(|exit| format!("  {:>2}  {}\n", exit.code(), exit.meaning())).concat();
    format!("Exit codes:\n{codes}\nData goes to standard output, everything else to standard error.")
}

/// Caches your users' identity-provider access tokens, so that services need not ask Auth0 for them
///
/// cloakroom is a daemon. It keeps one Auth0 Management API token fresh, caches the access tokens that your users'
/// identity providers issued, and answers lookups from services on the same machine as HTTP/1.1 over a Unix socket.
/// Where the configuration says so, it also sends their requests on to providers' APIs and to the Management API, with a
/// token that they do not hold. The client secret never leaves it, and the Management API token only where a rule names
/// the operation `management_token`.
///
/// `cloakroom serve` is the daemon; `cloakroom demo` shows it without an Auth0 account; the other commands
/// talk to a running daemon.
#[derive(Debug, Parser)]
#[command(name = "cloakroom", version, after_help = exit_codes(), max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    #[command(long_about = serve::ABOUT)]
    Serve(serve::Args),
    /// Try a daemon with a simulated Auth0 tenant: no account, no file, no root
    #[command(long_about = demo::ABOUT)]
    Demo(demo::Args),
    /// Print a user's identity-provider access token
    #[command(long_about = token::ABOUT, after_long_help = exit_codes())]
    Token(token::Args),
    /// List a user's identities, without tokens
    #[command(long_about = identities::ABOUT, after_long_help = exit_codes())]
    Identities(identities::Args),
    /// Remove one user, or all, from the cache
    #[command(long_about = purge::ABOUT, after_long_help = exit_codes())]
    Purge(purge::Args),
    /// Make a running daemon reread its configuration
    #[command(long_about = reload::ABOUT, after_long_help = exit_codes())]
    Reload(reload::Args),
    /// Show how a running daemon is doing
    #[command(long_about = status::ABOUT, after_long_help = exit_codes())]
    Status(status::Args),
    /// Read the configuration as `serve` would, and name everything wrong with it
    #[command(long_about = check::ABOUT)]
    Check(check::Args),
    /// Say which rule decides about a request
    #[command(long_about = explain::ABOUT)]
    Explain(explain::Args),
    /// Probe a running daemon: exit code 0 or 1, and one line that says why
    #[command(long_about = healthcheck::ABOUT)]
    Healthcheck(healthcheck::Args),
    /// Wait until the daemon is ready
    #[command(long_about = wait::ABOUT)]
    Wait(wait::Args),
    /// Print a completion script for a shell
    #[command(long_about = completions::ABOUT)]
    Completions(completions::Args),
    /// Print the manual page
    #[command(long_about = man::ABOUT)]
    Man,
}

/// Runs the command. Each makes its own runtime, because the daemon has work to do before threads start.
pub fn run(cli: Cli, environment: Environment, out: &mut impl io::Write) -> Result<(), CommandError> {
    panics::hide_messages();
    match cli.command {
        Command::Serve(args) => serve::run(&args, environment),
        Command::Demo(args) => demo::run(&args, out),
        Command::Check(args) => check::run(&args, environment, out),
        Command::Explain(args) => explain::run(&args, environment, out),
        Command::Token(args) => wait_for(token::run(&args, out)),
        Command::Identities(args) => wait_for(identities::run(&args, out)),
        Command::Purge(args) => wait_for(purge::run(&args, out)),
        Command::Reload(args) => wait_for(reload::run(&args, out)),
        Command::Status(args) => wait_for(status::run(&args, out)),
        Command::Healthcheck(args) => wait_for(healthcheck::run(&args, out)),
        Command::Wait(args) => wait_for(wait::run(&args, out)),
        Command::Completions(args) => completions::run(&args, Cli::command(), out),
        Command::Man => man::run(Cli::command(), out),
    }?;
    Ok(out.flush()?)
}

/// Runs a client command to its end on the calling thread.
fn wait_for(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    block_on(1, command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn purge_wants_exactly_one_target() {
        let parses = |args: &[&str]| Cli::try_parse_from(args).is_ok();
        assert!(parses(&["cloakroom", "purge", "--all"]));
        assert!(parses(&["cloakroom", "purge", "auth0|1"]));
        assert!(!parses(&["cloakroom", "purge"]));
        assert!(!parses(&["cloakroom", "purge", "auth0|1", "--all"]));
    }
}
