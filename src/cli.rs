//! The command line: what may be typed, and where it leads.
//!
//! One file per command, each with its arguments and its `run`. A command writes its data to `out`, which is
//! standard output, and returns everything else as a [`CommandError`], which `main` prints and turns into the
//! exit code. Nothing here takes a secret as an argument: other users of the machine can read those.

mod access;
pub mod check;
pub mod client;
pub mod completions;
pub mod demo;
mod exit;
pub mod healthcheck;
pub mod identities;
pub mod man;
pub mod purge;
pub mod reload;
pub mod serve;
pub mod status;
mod text;
pub mod token;
pub mod wait;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::de::DeserializeOwned;
use tokio::runtime::Builder;

use crate::clock::Clock;
use crate::config::{self, Env, Loaded, Problems};
use crate::domain::freshness::Timestamp;
use crate::domain::user::UserId;
use crate::process::panics;

use client::Answer;
pub use exit::{CommandError, Exit};

/// The process's environment, which `main` hands in.
pub type Environment = BTreeMap<String, String>;

/// Where client commands look for the daemon unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/cloakroom/cloakroom.sock";

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed
   2  the command line is wrong, or an option is needed to choose between identities
   3  not found: the user, the identity or the token
   4  the user must log in again
   5  forbidden: the daemon or the socket's permissions do not let this user in
  69  unavailable: no daemon, or Auth0 cannot be asked; trying again later may help
  75  the configuration names a user or group that is not known yet; trying again later may help
  78  the configuration is wrong

Data goes to standard output, everything else to standard error.";

/// Keeps your users' identity-provider access tokens at hand, so that services need not ask Auth0 for them
///
/// cloakroom is a daemon. It keeps one Auth0 Management API token fresh, caches the access tokens that your users'
/// identity providers issued, and answers lookups from services on the same machine as HTTP/1.1 over a Unix socket.
/// The Management API token and the client secret never leave it.
///
/// `cloakroom serve` is the daemon; `cloakroom demo` shows it at work without an Auth0 account; the other commands
/// talk to a running daemon.
#[derive(Debug, Parser)]
#[command(name = "cloakroom", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    #[command(long_about = serve::ABOUT)]
    Serve(serve::Args),
    /// See a daemon at work against a simulated Auth0 tenant: no account, no file, no root
    #[command(long_about = demo::ABOUT)]
    Demo(demo::Args),
    /// Print a user's identity-provider access token
    #[command(long_about = token::ABOUT, after_long_help = EXIT_CODES)]
    Token(token::Args),
    /// List a user's identities, without tokens
    #[command(long_about = identities::ABOUT, after_long_help = EXIT_CODES)]
    Identities(identities::Args),
    /// Forget what is cached of one user, or of all
    #[command(long_about = purge::ABOUT, after_long_help = EXIT_CODES)]
    Purge(purge::Args),
    /// Have a running daemon read its configuration again
    #[command(long_about = reload::ABOUT, after_long_help = EXIT_CODES)]
    Reload(reload::Args),
    /// Show how a running daemon is doing
    #[command(long_about = status::ABOUT, after_long_help = EXIT_CODES)]
    Status(status::Args),
    /// Read the configuration as `serve` would, and name everything wrong with it
    #[command(long_about = check::ABOUT)]
    Check(check::Args),
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

/// Where the daemon is.
#[derive(Args, Debug)]
pub struct Socket {
    /// The daemon's socket
    #[arg(
        long = "socket",
        value_name = "PATH",
        env = "CLOAKROOM_SOCKET",
        hide_env_values = true,
        default_value = DEFAULT_SOCKET
    )]
    pub path: PathBuf,
}

/// For whom a command prints what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// The whole answer, for programs
    Json,
}

impl Output {
    /// Prints `answer`, for people as `render` puts it; that is told the time, to which it relates dates.
    fn write<T: DeserializeOwned>(
        self,
        answer: &Answer,
        render: impl FnOnce(&T, Timestamp) -> String,
        out: &mut impl io::Write,
    ) -> Result<(), CommandError> {
        match self {
            Self::Json => writeln!(out, "{}", text::json(&answer.json()?))?,
            Self::Text => write!(out, "{}", render(&answer.json()?, Clock::system().now().wall))?,
        }
        Ok(())
    }
}

/// Does what was asked for, on a runtime of the command's own choosing: a daemon has things to do before there
/// are any threads.
pub fn run(cli: Cli, environment: Environment, out: &mut impl io::Write) -> Result<(), CommandError> {
    panics::hide_messages();
    match cli.command {
        Command::Serve(args) => serve::run(&args, environment),
        Command::Demo(args) => demo::run(&args, out),
        Command::Check(args) => check::run(&args, environment, out),
        Command::Token(args) => wait_for(token::run(&args, out)),
        Command::Identities(args) => wait_for(identities::run(&args, out)),
        Command::Purge(args) => wait_for(purge::run(&args, out)),
        Command::Reload(args) => wait_for(reload::run(&args, out)),
        Command::Status(args) => wait_for(status::run(&args, out)),
        Command::Healthcheck(args) => wait_for(healthcheck::run(&args, out)),
        Command::Wait(args) => wait_for(wait::run(&args, out)),
        Command::Completions(args) => completions::run(&args, out),
        Command::Man => man::run(out),
    }?;
    Ok(out.flush()?)
}

/// Runs a client command to its end on this thread.
fn wait_for(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    block_on(1, command)
}

/// How many steps of tasks the runtime takes before it looks whether anything has come, also while there is more to do.
/// tokio's own 61 are for steps that are short and connections that are equal; here one caller may have a hundred steps
/// waiting, and another's request is seen only at the next look, which costs about a microsecond.
const STEPS_PER_LOOK: u32 = 8;

/// How many threads there are at most for what blocks: names that are resolved, and files. What finds all of them busy
/// waits for one.
const BLOCKING_THREADS: usize = 32;

/// Such a thread is never given back, because it may not be had again: where no thread can be made and none is there,
/// tokio panics. `serve` makes the first at its start. An idle one takes a few pages.
const KEPT: Duration = Duration::from_secs(u32::MAX as u64);

/// Runs `command` to its end on this many threads; a single one is this thread.
///
/// What is still under way then is left behind: a name that is being resolved cannot be given up on, and would keep
/// a command that is done from ending for as long as the resolver likes.
fn block_on<T>(
    threads: usize,
    command: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let mut builder = match threads {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(threads.max(1))
        .event_interval(STEPS_PER_LOOK)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(KEPT)
        .enable_all()
        .build()
        .map_err(|cause| CommandError::failed(format!("the runtime cannot be started: {cause}")))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

/// The configuration, or every problem of it and exit code 75 or 78. Takes the environment away: there may be a secret in
/// it, of which nothing but the configuration should be left.
fn configuration(file: Option<&Path>, environment: Environment) -> Result<Loaded, CommandError> {
    let env: Env = environment.into_iter().collect();
    config::load(file, &env).map_err(|problems| wrong(&problems))
}

fn wrong(problems: &Problems) -> CommandError {
    let exit = if problems.may_pass() { Exit::UnknownAccount } else { Exit::Configuration };
    CommandError::new(exit, format!("the configuration is wrong\n{problems}"))
}

/// A user id from the command line, as Auth0 writes it.
fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|reason| reason.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::{Cli, block_on};

    #[test]
    fn the_definitions_hold_together() {
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

    #[test]
    fn a_command_that_is_done_does_not_wait_for_what_cannot_be_stopped() {
        for threads in [1, 2] {
            let ((hold, held), (done, told)) = (mpsc::channel::<()>(), mpsc::channel());
            std::thread::spawn(move || {
                let outcome = block_on(threads, async {
                    // As name resolution does.
                    tokio::task::spawn_blocking(move || held.recv());
                    Ok(())
                });
                done.send(outcome)
            });
            // Generous: it fails only where there is no end at all.
            assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(Ok(())), "{threads}");
            drop(hold);
        }
    }
}
