//! From the command line to an exit code: the only place that ends the process or reads its environment.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use cloakroom::cli::{self, Cli, CommandError, Environment};
use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// jemalloc, because entries and what comes and goes around them do not get into each other's way there: with glibc's,
/// a cache that many callers fill at once takes twice what it holds. And whatever is freed is overwritten: a token passes
/// through buffers of hyper, rustls and serde that are none of ours, and this reaches them all. Here and not in the
/// library, because a program has one allocator.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => return no_command(&message),
    };
    // Not locked: a daemon logs to standard output from its own threads.
    match cli::run(cli, environment(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Help and version were asked for and go to standard output; anything else is a mistake and goes to standard error.
fn no_command(message: &clap::Error) -> ExitCode {
    // If even this cannot be written there is nobody to tell.
    message.print().ok();
    if message.use_stderr() { cli::Exit::Usage.into() } else { cli::Exit::Done.into() }
}

fn failed(error: &CommandError) -> ExitCode {
    if !error.text.is_empty() {
        tell(format!("error: {error}\n"));
    }
    error.exit.into()
}

/// Writes to standard error, and waits a second at the most for a reader: one that does not read must not keep the
/// process from ending. Not `eprintln!`, which panics where standard error is closed.
fn tell(text: String) {
    let (done, told) = mpsc::sync_channel(0);
    let copy = text.clone();
    let write = move || {
        io::stderr().write_all(copy.as_bytes()).ok();
        drop(done);
    };
    match thread::Builder::new().spawn(write) {
        Ok(_) => told.recv_timeout(Duration::from_secs(1)).unwrap_or(()),
        // What is to be told may well be that there are no threads.
        Err(_) => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// The process's environment as text, read once.
///
/// A variable whose name is not UTF-8 is none of ours. A value that is not becomes one that holds U+FFFD: whoever
/// needs it then refuses it by name, where leaving it out would look as if it had never been set.
#[expect(clippy::disallowed_methods, reason = "the one reading, to be handed on as a value")]
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}
