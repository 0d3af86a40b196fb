//! The program: parses the command line, runs the command and returns the exit code. Only this file reads the process's
//! environment.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use cloakroom::cli::{self, Cli, CommandError, Environment};
use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// The allocator: jemalloc, wrapped so that freed memory is overwritten.
///
/// jemalloc separates entries from short-lived allocations. With glibc's allocator, a cache that many callers fill at
/// once takes twice the memory of its contents. Freed memory is overwritten because tokens pass through buffers of
/// hyper, rustls and serde, which overwrite nothing themselves. This is not in the library because a program has only
/// one allocator.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => return no_command(&message),
    };
    // Standard output is not locked, because a daemon's other threads log to it.
    match cli::run(cli, environment(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Prints clap's message: help and version to standard output, errors to standard error.
fn no_command(message: &clap::Error) -> ExitCode {
    // A failure to write this cannot be reported anywhere.
    message.print().ok();
    if message.use_stderr() { cli::Exit::Usage.into() } else { cli::Exit::Done.into() }
}

fn failed(error: &CommandError) -> ExitCode {
    if !error.text.is_empty() {
        report(format!("error: {error}\n"));
    }
    error.exit.into()
}

/// Writes to standard error, for at most a second, so that a reader that does not read cannot keep the process from
/// ending. Not with `eprintln!`, which panics where standard error is closed.
fn report(text: String) {
    let (done, finished) = mpsc::sync_channel(0);
    let copy = text.clone();
    let write = move || {
        io::stderr().write_all(copy.as_bytes()).ok();
        drop(done);
    };
    match thread::Builder::new().spawn(write) {
        Ok(_) => finished.recv_timeout(Duration::from_secs(1)).unwrap_or(()),
        // The text may be about a lack of threads, so it is written without one.
        Err(_) => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// The process's environment as text, read once.
///
/// A variable whose name is not UTF-8 is ignored. A value that is not UTF-8 is kept with U+FFFD in it, so that the code
/// that needs the variable rejects it by name. If it were left out, it would seem unset.
#[expect(clippy::disallowed_methods, reason = "the only reading, passed on as a value")]
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}
