//! The log, on standard error: text on a terminal, JSON otherwise.
//!
//! `log.level` applies to the events of this crate. Libraries log warnings and errors only, whatever the level, because
//! the TRACE events of HTTP and TLS libraries contain the bytes of tokens and secrets.
//!
//! A dedicated thread writes the lines, so that a reader that does not read delays no request. Lines that do not fit
//! into its queue or cannot be written are lost and counted. A log line reports them once lines can be written again.

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

use super::writer::{self, LineWriter, Queue, Receiving, Work};
use crate::config::{self, LogFormat};

/// Capacity of the queue, in lines: about 300 KiB.
const QUEUE: usize = 1024;

/// Timeout for the last lines at the end, in case their reader does not read.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Changes the level of the process's log.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Number of lines that were lost.
static LOST: AtomicU64 = AtomicU64::new(0);

type LogLine = Box<[u8]>;

/// Keeps the process's log open. Dropping it writes the queued lines, for at most half a second.
#[must_use = "the log ends when it is dropped"]
pub struct LogGuard {
    queue: Arc<Queue<LogLine>>,
    /// The queue's other end and the output, until the thread is started.
    idle: Option<(Receiving<LogLine>, File)>,
}

impl LogGuard {
    /// Starts the thread that writes. Lines that were logged before are in the queue, and are written as well.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(&mut self) -> io::Result<()> {
        match self.idle.take() {
            Some((lines, stderr)) => {
                lines.start("log", LogWriter { output: LineWriter::new(stderr), reported: 0, is_well: true })
            }
            None => Ok(()),
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // If the process ends before the thread was started, it is started now for the queued lines. If that fails,
        // they are lost.
        if self.start().is_ok() {
            self.queue.close(LAST_LINES);
        }
    }
}

/// Number of log lines that were lost.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Changes the log's level.
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

/// Installs the process's log. Its lines are queued until [`LogGuard::start`]. A second call changes nothing, so that
/// tests may share a process.
///
/// # Errors
/// Standard error's descriptor cannot be duplicated.
pub fn init(settings: &config::Log) -> io::Result<LogGuard> {
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    // A descriptor of its own: the standard library's handle has a lock, which other threads would wait for.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let is_terminal = stderr.is_terminal();
    let (queue, receiving) = writer::queue(QUEUE);
    let log = LogGuard { queue: Arc::new(queue), idle: Some((receiving, stderr)) };
    let to_queue = QueueSink(Arc::clone(&log.queue));
    let sink = move || to_queue.clone();
    let lines = fmt::layer().log_internal_errors(false).with_writer(sink);
    let layer = match settings.format {
        LogFormat::Auto if is_terminal => lines.with_ansi(true).with_target(false).boxed(),
        LogFormat::Text => lines.with_ansi(is_terminal).with_target(false).boxed(),
        LogFormat::Json | LogFormat::Auto => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    // An earlier subscriber stays in place.
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_err() {
        tracing::debug!("The log was set up before");
    } else {
        LEVEL.get_or_init(|| handle);
    }
    Ok(log)
}

/// Puts each line that is written into the queue. Does not block.
#[derive(Clone)]
struct QueueSink(Arc<Queue<LogLine>>);

impl Write for QueueSink {
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

/// Takes lines from the queue and writes them.
struct LogWriter {
    output: LineWriter,
    /// How many lost lines were reported by log lines.
    reported: u64,
    /// Whether the last batch was written.
    is_well: bool,
}

impl Work<LogLine> for LogWriter {
    fn write(&mut self, batch: &[LogLine]) {
        let lines = batch.iter().map(|line| |buffer: &mut Vec<u8>| buffer.extend_from_slice(line));
        let (written, outcome) = self.output.write(lines);
        LOST.fetch_add(batch.len().saturating_sub(written) as u64, Ordering::Relaxed);
        self.is_well = outcome.is_ok();
    }

    fn emptied(&mut self) {
        let total = lost();
        if self.is_well && total > self.reported {
            // This line goes through the queue, which is empty now.
            tracing::warn!(lost = total.saturating_sub(self.reported), "Lines of the log were lost");
            self.reported = total;
        }
    }
}
