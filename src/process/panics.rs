//! A panic says where, and never what: its message may quote the very value that it is about.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::thread;

/// From now on panics say no more than [`text`], in the log if there is one.
pub fn say_no_values() {
    panic::set_hook(Box::new(|info| {
        let text = text(info);
        if tracing::dispatcher::has_been_set() {
            tracing::error!("{text}");
        } else {
            // If even this cannot be written there is nobody to tell.
            writeln!(io::stderr(), "error: {text}").ok();
        }
    }));
}

/// What is said of a panic: the thread and the place in the source.
pub fn text(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    // There always is one today; the type leaves it open.
    let place = info.location().map_or_else(|| "a place unknown".to_owned(), ToString::to_string);
    format!("A fault of this program: thread {thread:?} panicked at {place}; please report it with this line")
}
