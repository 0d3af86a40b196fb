//! Log lines, on stderr: text for a person at a terminal, JSON for machines.
//!
//! Only our own events follow `log.level`. Libraries are held to warnings whatever the level, because what an
//! HTTP or TLS library writes at TRACE contains the very bytes this program must not show.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// The process has one log, and so one level.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

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

/// Installs the process's log. A second call changes nothing, so that tests may share a process.
pub fn init(settings: &Log) {
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let stderr = std::io::stderr;
    let layer = match settings.format {
        LogFormat::Json => json(stderr),
        LogFormat::Auto if !stderr().is_terminal() => json(stderr),
        LogFormat::Auto | LogFormat::Text => {
            let layer = fmt::layer().with_ansi(stderr().is_terminal()).with_target(false);
            layer.with_writer(stderr).log_internal_errors(false).boxed()
        }
    };
    // Another subscriber is there already: then that one stays.
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_err() {
        tracing::debug!("The log was set up before");
    } else {
        LEVEL.get_or_init(|| handle);
    }
}

fn json<S>(stderr: fn() -> std::io::Stderr) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(stderr)
        // They would go to the same output, by a macro that panics where it cannot be written.
        .log_internal_errors(false)
        .boxed()
}
