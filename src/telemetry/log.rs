//! Log lines, on stderr: text for a person at a terminal, JSON for machines.
//!
//! Only our own events follow `log.level`. Libraries are held to warnings whatever the level, because what an
//! HTTP or TLS library writes at TRACE contains the very bytes this program must not show.
//!
//! A thread of its own writes the lines, so that a reader that does not read delays nothing. Lines that do not fit into
//! its queue or cannot be written are lost, counted, and told by a line of the log as soon as one can be written again.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::writer::{self, Lines, Queue, Receiving, Work};
use crate::config::{self, LogFormat};

/// Lines that may wait to be written: some 300 KiB of them.
const QUEUE: usize = 1024;

/// At the end: time for the last lines, which a reader that does not read would take for ever.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The process has one log, and so one level.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Lines of it that were not written.
static LOST: AtomicU64 = AtomicU64::new(0);

type Line = Box<[u8]>;

/// The process's log. Dropping it has what waits written, for at most half a second.
#[must_use = "the log ends when it is dropped"]
pub struct Log {
    queue: Arc<Queue<Line>>,
    /// Until the thread has been started: what it writes.
    idle: Option<(Receiving<Line>, File)>,
}

impl Log {
    /// Starts the thread that writes, also what was logged before.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub fn start(&mut self) -> io::Result<()> {
        match self.idle.take() {
            Some((lines, stderr)) => {
                lines.start("log", Writer { output: Lines::new(stderr), told: 0, is_well: true })
            }
            None => Ok(()),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // An end before the thread was needed: then it is started for the last lines alone. Without, they are lost.
        if self.start().is_ok() {
            self.queue.close(LAST_LINES);
        }
    }
}

/// Lines that were not written.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Logs from this level on.
pub fn set_level(level: tracing::Level) {
    if let Some(handle) = LEVEL.get()
        && handle.reload(filter(level)).is_err()
    {
        tracing::warn!("The log's level cannot be changed");
    }
}

fn filter(level: tracing::Level) -> Targets {
    Targets::new().with_default(LevelFilter::WARN).with_target("cloakroom", LevelFilter::from_level(level))
}

/// Installs the process's log, whose lines wait until it is started. A second call changes nothing, so that tests may
/// share a process.
///
/// # Errors
/// There is no descriptor to spare.
pub fn init(settings: &config::Log) -> io::Result<Log> {
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    // A descriptor of its own, for the standard library's handle has a lock, which others would wait for.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let is_terminal = stderr.is_terminal();
    let (queue, receiving) = writer::queue(QUEUE);
    let log = Log { queue: Arc::new(queue), idle: Some((receiving, stderr)) };
    let to_queue = Sink(Arc::clone(&log.queue));
    let sink = move || to_queue.clone();
    let lines = fmt::layer().log_internal_errors(false).with_writer(sink);
    let layer = match settings.format {
        LogFormat::Auto if is_terminal => lines.with_ansi(true).with_target(false).boxed(),
        LogFormat::Text => lines.with_ansi(is_terminal).with_target(false).boxed(),
        LogFormat::Json | LogFormat::Auto => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    // Another subscriber is there already: then that one stays.
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_err() {
        tracing::debug!("The log was set up before");
    } else {
        LEVEL.get_or_init(|| handle);
    }
    Ok(log)
}

/// Takes lines, each by one call, and waits for nothing.
#[derive(Clone)]
struct Sink(Arc<Queue<Line>>);

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.put(line.into()).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The other end of the queue.
struct Writer {
    output: Lines,
    /// How many lost lines a line has told of.
    told: u64,
    /// The last lines could be written.
    is_well: bool,
}

impl Work<Line> for Writer {
    fn write(&mut self, batch: &[Line]) {
        let lines = batch.iter().map(|line| |buffer: &mut Vec<u8>| buffer.extend_from_slice(line));
        let (written, outcome) = self.output.write(lines);
        LOST.fetch_add(batch.len().saturating_sub(written) as u64, Ordering::Relaxed);
        self.is_well = outcome.is_ok();
    }

    fn emptied(&mut self) {
        let total = lost();
        if self.is_well && total > self.told {
            // Goes through the queue, which has room now.
            tracing::warn!(lost = total.saturating_sub(self.told), "Lines of the log were lost");
            self.told = total;
        }
    }
}
