//! The panic hook: reports the place of a panic without its message, which may quote a secret.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::thread;

/// Installs the hook. From now on a panic prints [`text`] only, in the log if there is one.
pub fn hide_messages() {
    panic::set_hook(Box::new(|info| {
        let text = text(info);
        if tracing::dispatcher::has_been_set() {
            tracing::error!("{text}");
        } else {
            // An error of standard error cannot be reported anywhere.
            writeln!(io::stderr(), "error: {text}").ok();
        }
    }));
}

/// The text for a panic: the thread and the place in the source.
pub fn text(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    // Currently always `Some`, as the standard library documents.
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    format!("A fault of this program: thread {thread:?} panicked at {place}; please report it with this line")
}
