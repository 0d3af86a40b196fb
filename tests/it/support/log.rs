//! What the code under test logs on a test's own thread.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use tracing::Level;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The log of this thread from now on, from `info` up. The subscriber is the whole process's: one for each test would
/// race with others for which events count.
pub struct Log;

impl Log {
    pub fn new() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(Level::INFO);
            tracing::subscriber::set_global_default(subscriber.with_writer(|| Lines).finish()).unwrap();
        });
        LINES.take();
        Self
    }

    /// The log of this thread at every level, as long as the guard lives.
    pub fn of_everything() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::new();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(Level::TRACE);
        (log, tracing::subscriber::set_default(subscriber.with_writer(|| Lines).finish()))
    }

    /// How many lines contain `text`.
    pub fn lines(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }

    pub fn text(&self) -> String {
        LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap())
    }
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
